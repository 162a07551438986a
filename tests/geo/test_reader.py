"""The one door to rasters: what it refuses, and that it reads what is there and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelwise.errors import DataError, OptionError, UnreadableError
from pixelwise.geo.facts import RasterFacts
from pixelwise.geo.place import Place
from pixelwise.geo.reader import checked_path, open_raster
from pixelwise.ops.tiles import Box

rasterio = pytest.importorskip("rasterio")

SECRET = 201
NORTH_UP = rasterio.Affine(2.0, 0, 100, 0, -2.0, 900)


def write(path: Path, values: Any, **profile: Any) -> Path:
    """A GeoTIFF of [bands, H, W]."""
    values = np.asarray(values)
    given = {
        "count": len(values),
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype.name,
    }
    given |= {"crs": "EPSG:32631", "transform": NORTH_UP} | profile
    with rasterio.open(path, "w", driver="GTiff", **given) as target:
        target.write(values)
    return path


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A raster that nobody has asked for."""
    (tmp_path / "elsewhere").mkdir()
    return write(tmp_path / "elsewhere" / "secret.tif", np.full((1, 64, 64), SECRET, np.uint8))


SERVER = """
import http.server, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("HIT", self.path, flush=True); self.send_error(404)
    do_HEAD = do_GET
    def log_message(self, *a): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def canary(loopback: None) -> Iterator[tuple[int, Any]]:
    """A server in a process of its own, and a function that stops it and returns what it was asked for."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None

    def hits() -> str:
        return process.communicate(timeout=20)[0]

    yield int(process.stdout.readline()), hits
    if process.poll() is None:
        process.communicate(timeout=20)


def read_all(path: Path | str) -> Any:
    with open_raster(path) as reader:
        return reader.read(Box(0, 0, *reader.size))[0]


def programs(secret: Path, port: int, canary_file: Path) -> dict[str, str]:
    """Small texts that GDAL takes for rasters under any name."""
    source = "<SourceFilename>{}</SourceFilename><SourceBand>1</SourceBand>"
    vrt = (
        '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        "{}</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return {
        "file.vrt": vrt.format(source.format(secret)),
        "url.vrt": vrt.format(source.format(f"/vsicurl/http://127.0.0.1:{port}/x.tif")),
        "wms": f'<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:{port}/${{z}}</ServerUrl></Service>'
        "<DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>1</UpperLeftY><LowerRightX>1</LowerRightX>"
        "<LowerRightY>0</LowerRightY><SizeX>64</SizeX><SizeY>64</SizeY></DataWindow></GDAL_WMS>",
        "mrf": f'<MRF_META><Raster><Size x="64" y="64" c="1"/><PageSize x="64" y="64" c="1"/><Compression>NONE'
        f"</Compression><DataFile>{canary_file}</DataFile><IndexFile>{canary_file}.idx</IndexFile></Raster></MRF_META>",
        "gti": f"<GDALTileIndexDataset><IndexDataset>{secret}</IndexDataset></GDALTileIndexDataset>",
    }


def test_programs_are_not_run(secret: Path, canary: tuple[int, Any], tmp_path: Path) -> None:
    port, hits = canary
    written = tmp_path / "written"
    for name, text in programs(secret, port, written).items():
        for ending in (".tif", ".vrt", ".mrf"):
            file = tmp_path / f"{name}{ending}"
            file.write_text(text)
            with pytest.raises(UnreadableError, match="not a TIFF"):
                read_all(file)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("written")]
    assert "HIT" not in hits()


def test_a_raster_that_names_other_files_shows_its_own_pixels(
    secret: Path, canary: tuple[int, Any], tmp_path: Path
) -> None:
    """An ordinary GeoTIFF whose metadata sends GDAL elsewhere for overviews, and all its neighbours."""
    port, hits = canary
    own = np.full((1, 64, 64), 7, np.uint8)
    for index, elsewhere in enumerate((str(secret), f"/vsicurl/http://127.0.0.1:{port}/o.tif")):
        file = write(tmp_path / f"a{index}.tif", own)
        with rasterio.open(file, "r+") as target:
            target.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=elsewhere)
        (tmp_path / f"a{index}.tif.ovr").write_bytes(secret.read_bytes())
        (tmp_path / f"a{index}.tif.msk").write_bytes(secret.read_bytes())
        (tmp_path / f"a{index}.tfw").write_text("9\n0\n0\n-9\n0\n0\n")
        (tmp_path / f"a{index}.tif.aux.xml").write_text(
            "<PAMDataset><SRS>EPSG:4326</SRS><PAMRasterBand band='1'><NoDataValue>7</NoDataValue></PAMRasterBand>"
            f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{elsewhere}</MDI></Metadata></PAMDataset>'
        )
        with open_raster(file, handles=2) as reader:
            facts = reader.facts
            image, empty = reader.read(Box(0, 0, 64, 64))
            assert [handle.overviews(1) for handle in reader._every] == [[], []]
        assert (image == 7).all()
        assert empty is None
        assert facts.nodata == (None,)
        assert not facts.masked
        assert facts.place.transform == (2.0, 0.0, 100.0, 0.0, -2.0, 900.0)
        assert "32631" in facts.place.crs
    assert "HIT" not in hits()


@pytest.mark.parametrize(
    "name",
    [
        "/vsicurl/http://127.0.0.1:9/a.tif",
        "/vsizip/a.zip/a.tif",
        "/vsimem/a.tif",
        "//vsicurl/http://x/a.tif",
        "GTIFF_DIR:1:a.tif",
        "MEM:::DATAPOINTER=1,PIXELS=1,LINES=1",
        "file:///etc/hostname",
        "WMS:http://127.0.0.1:9/",
        "NETCDF:a.nc:b",
        "http://127.0.0.1:9/a.tif",
        "s3://bucket/a.tif",
    ],
)
def test_what_is_no_path_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match="not a local file") as caught, open_raster(name):
        pass
    assert ("--allow-remote" in caught.value.remedy) == name.startswith(("http", "s3"))


def test_remote_names_are_gdals_when_allowed() -> None:
    assert checked_path("https://a.b/c.tif", allow_remote=True) == ("/vsicurl/https://a.b/c.tif", True)
    assert checked_path("https:/a.b/c.tif", allow_remote=True) == ("/vsicurl/https://a.b/c.tif", True)
    assert checked_path("s3://a/c.tif", allow_remote=True) == ("/vsis3/a/c.tif", True)
    with pytest.raises(OptionError):
        checked_path("/vsicurl/https://a.b/c.tif", allow_remote=True)


def test_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    (tmp_path / "empty.tif").touch()
    (tmp_path / "torn.tif").write_bytes(b"II*\0\xff\xff\xff\x7f")
    for name in ("pipe.tif", "empty.tif", "torn.tif", "missing.tif", ".", "a\0b"):
        with pytest.raises(UnreadableError), open_raster(f"{tmp_path}/{name}"):
            pass


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    """A few bytes that claim a block of 400 MB, 3000 bands, or more pixels than there are."""
    claims: list[dict[str, Any]] = [
        {
            "height": 20_000,
            "width": 20_000,
            "count": 1,
            "tiled": True,
            "blockxsize": 20_000,
            "blockysize": 20_000,
        },
        {"height": 16, "width": 16, "count": 3000},
        {
            "height": 2**21,
            "width": 2**20,
            "count": 1,
            "tiled": True,
            "blockxsize": 2**14,
            "blockysize": 2**14,
        },
    ]
    for index, claim in enumerate(claims):
        file = tmp_path / f"{index}.tif"
        profile = {"driver": "GTiff", "dtype": "uint8", "compress": "deflate", "SPARSE_OK": "TRUE"} | claim
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rasterio.open(file, "w", **profile).close()
        with pytest.raises(DataError, match="more than can be read"), open_raster(file):
            pass


def test_windows_hold_what_rasterio_reads(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 60_000, (4, 90, 70)).astype(np.uint16)
    file = write(
        tmp_path / "a.tif", values, tiled=True, blockxsize=16, blockysize=16, photometric="minisblack"
    )
    with open_raster(file) as reader:
        assert reader.facts.size == (90, 70)
        assert (reader.facts.bands, reader.facts.dtype, reader.facts.block) == (4, "uint16", (16, 16))
        image, empty = reader.read(Box(5, 6, 77, 70))
        assert reader.facts.cache(32, 1000) == 48 * 80 * 4 * 2
    assert np.array_equal(image, np.moveaxis(values, 0, 2)[5:77, 6:70])
    assert empty is None


def test_nodata_of_every_kind(tmp_path: Path) -> None:
    values = np.ones((2, 3, 4), np.float32)
    values[:, 0, 0] = -1
    values[0, 1, 1] = -1
    values[1, 2, 2] = np.nan
    with open_raster(write(tmp_path / "a.tif", values, nodata=-1)) as reader:
        _, empty = reader.read(Box(0, 0, 3, 4))
    assert empty is not None
    assert [*zip(*np.nonzero(empty), strict=True)] == [(0, 0), (2, 2)]  # in all bands, or no number in one
    with open_raster(write(tmp_path / "b.tif", values, nodata=float("nan"))) as reader:
        _, empty = reader.read(Box(0, 0, 3, 4))
    assert empty is not None
    assert [*zip(*np.nonzero(empty), strict=True)] == [(2, 2)]
    values[values == -1] = -9999  # which no band measures: one is enough
    with open_raster(write(tmp_path / "c.tif", values, nodata=-9999)) as reader:
        _, empty = reader.read(Box(0, 0, 3, 4))
    assert empty is not None
    assert [*zip(*np.nonzero(empty), strict=True)] == [(0, 0), (1, 1), (2, 2)]


@pytest.mark.parametrize(
    ("crs", "transform", "metres"),
    [
        ("EPSG:32631", rasterio.Affine(0.3, 0.4, 0, 0.4, -0.3, 0), 0.5),
        ("EPSG:2263", rasterio.Affine(2, 0, 9, 0, -2, 0), 2400 / 3937),  # US survey feet
        ("EPSG:4326", rasterio.Affine(0.001, 0, 5, 0, -0.001, 60.01), 111.195 * 0.5**0.5),
        (None, rasterio.Affine(1.5, 0, 0, 0, -1, 0), None),
    ],
)
def test_pixel_size_in_metres(crs: str | None, transform: Any, metres: float | None, tmp_path: Path) -> None:
    file = write(tmp_path / "a.tif", np.zeros((1, 20, 20), np.uint8), crs=crs, transform=transform)
    with open_raster(file) as reader:
        found = reader.facts.place.pixel_size
    assert found == (None if metres is None else pytest.approx(metres, rel=1e-3))


def test_no_transform_is_no_transform(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = write(tmp_path / "a.tif", np.zeros((1, 20, 20), np.uint8), crs=None, transform=None)
    with open_raster(file) as reader:
        assert reader.facts.place.transform is None
        assert not reader.facts.place.known


def test_a_hole_in_the_file_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "a.tif", np.ones((1, 64, 64), np.uint8), tiled=True, blockxsize=16, blockysize=16)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) - 800])
    with open_raster(file) as reader:
        assert reader.read(Box(0, 0, 16, 16))[0].all()
        with pytest.raises(UnreadableError, match="rows 48 to 64, columns 0 to 64"):
            reader.read(Box(48, 0, 64, 64))


def test_scenes_as_people_have_them(shared_data: Any) -> None:
    """Real rasters, against rasterio on its own."""
    found = sorted(shared_data("geo").rglob("*.tif"))
    assert len(found) > 5
    for file in found:
        with rasterio.open(file) as source, open_raster(file) as reader:
            facts = reader.facts
            assert (facts.size, facts.bands) == ((source.height, source.width), source.count)
            assert facts.place.transform == tuple(source.transform)[:6]
            assert rasterio.crs.CRS.from_wkt(facts.place.crs) == source.crs
            box = Box(100, 150, 300, 400)
            window = rasterio.windows.Window(150, 100, 250, 200)
            image, empty = reader.read(box)
            assert np.array_equal(image, np.moveaxis(source.read(window=window), 0, 2))
            if source.nodata is not None:
                assert empty is not None
                assert np.array_equal(empty, source.dataset_mask(window=window) == 0)


def test_rasters_are_opened_nowhere_else() -> None:
    home = Path(__file__).parents[2] / "src" / "pixelwise"
    users = {file.parent.name for file in home.rglob("*.py") if "rasterio.open(" in file.read_text("utf-8")}
    assert users == {"geo"}


def test_closing_waits_for_windows_that_are_being_read(tmp_path: Path) -> None:
    """Whoever stops in the middle leaves threads that read: GDAL crashes or hangs when its file is closed then."""
    image = np.random.default_rng(0).integers(1, 256, (3, 1500, 1000), dtype=np.uint8)
    path = write(tmp_path / "a.tif", image, tiled=True, compress="deflate")
    boxes = [Box(0, 0, 1024, 700), Box(500, 300, 1500, 1000)]
    with ThreadPoolExecutor(len(boxes)) as pool:
        for turn in range(20):
            with open_raster(path, handles=2, cache=2**22) as reader:
                reading = [pool.submit(reader.read, box) for box in boxes]
                time.sleep(0.002 + 0.0005 * turn)
            for box, window in zip(boxes, reading, strict=True):
                if isinstance(window.exception(), ValueError):  # its thread came too late
                    continue
                whole = np.moveaxis(image[:, box.top : box.bottom, box.left : box.right], 0, 2)
                assert np.array_equal(window.result()[0], whole)
            with pytest.raises(ValueError, match="closed"):
                reader.read(boxes[0])


def test_a_reader_is_closed_once_and_waits_for_nobody_who_failed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.ones((1, 20, 30), np.uint8))
    with open_raster(path) as reader:
        with pytest.raises(ValueError, match="must be"):
            reader.read(Box(0, 0, -1, -1))
        reader.close()
        reader.close()


@pytest.mark.parametrize(
    ("dtype", "more", "expected"),
    [
        ("uint8", {}, 3),
        ("uint16", {}, 6),
        ("uint8", {"nodata": (0, 0, 0)}, 3 + 5),  # a mask for each band, one for all, and what it was before
        ("uint8", {"masked": True}, 3 + 5),
        ("uint8", {"bands": 4, "nodata": (None,) * 4, "alpha": True}, 4 + 6 + 3),
        ("float32", {}, 12 + 5),  # what is not a number is no data
        ("float64", {}, 36 + 5),
    ],
)
def test_bytes_of_a_window(dtype: str, more: dict[str, Any], expected: int) -> None:
    known: dict[str, Any] = {"bands": 3, "nodata": (None,) * 3, "alpha": False, "masked": False} | more
    facts = RasterFacts("a.tif", 9, 9, dtype=dtype, block=(9, 9), place=Place(), **known)
    assert facts.window == expected
