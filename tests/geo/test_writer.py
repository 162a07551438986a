"""Maps are written in memory that does not grow with them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pixelwise.geo.place import Place
from pixelwise.geo.writer import MapLayer, write_layer
from pixelwise.ops.tiles import Box

pytest.importorskip("rasterio")

WRITE = """
import pathlib, re, sys
import numpy as np
from pixelwise.geo.place import Place
from pixelwise.geo.writer import MapLayer, write_layer
from pixelwise.ops.tiles import Box

def peak():
    (kilobytes,) = re.findall(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())
    return int(kilobytes) // 1024

edge, folder = 1024, pathlib.Path(sys.argv[1])
def parts(count):
    labels = np.random.default_rng(0).integers(0, 6, (edge, edge), np.uint8)
    for top in range(0, edge * count, edge):
        for left in range(0, edge * count, edge):
            yield Box(top, left, top + edge, left + edge), labels // 3
for count in (2, 16):
    write_layer(folder / f"{count}.tif", MapLayer((edge * count,) * 2, Place()), parts(count), folder)
    print(peak())
"""


@pytest.mark.parametrize("left", [b"", b"II*\0\x08\0\0\0", b"II*\0\x08\0\0\0" + bytes(100)])
def test_what_a_killed_process_has_left_is_replaced(tmp_path: Path, left: bytes) -> None:
    import rasterio

    labels = np.random.default_rng(0).integers(0, 6, (600, 700), np.uint8)
    for name in ("plain.tif", "map.tif"):
        (tmp_path / name).write_bytes(left)
    write_layer(
        tmp_path / "map.tif", MapLayer(labels.shape, Place()), [(Box(0, 0, 600, 700), labels)], tmp_path
    )
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(tmp_path / "map.tif") as source:
        np.testing.assert_array_equal(source.read(1), labels)
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_the_map(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(tmp_path)], check=True, capture_output=True, text=True, timeout=300
    )
    small, large = map(int, done.stdout.split())
    assert large - small < 150  # MiB; the large map has 256
