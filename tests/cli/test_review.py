"""`pixelwise review` from end to end: folds, page, patch, corrected copies, and what to label next."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from pixelwise.cli.app import run

WIDTH = ["--set", "network.encoder_width=0.0625", "--set", "network.decoder_channels=[8, 8, 8, 8, 8]"]
TRAINING = ["--size", "32", "--batch", "2", "--set", "precision=float32", *WIDTH]


def write_halves(root: Path) -> Path:
    """Eight images, left dark and right bright; in one of them the labels of a quarter are exchanged."""
    rng = np.random.default_rng(0)
    for number in range(8):
        labels = np.zeros((48, 48), np.uint8)
        labels[:, 24:] = 1
        image = rng.integers(0, 40, (48, 48, 3)) + 180 * labels[..., None]
        if number == 5:
            labels[4:24, 28:48] = 0
        for kind, array in (("images", image.astype(np.uint8)), ("masks", labels)):
            path = root / kind / f"im{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(array).save(path)
    (root / "classes.yaml").write_text(
        "- {name: dark, color: '#222222'}\n- {name: light, color: '#eeee33'}\n"
    )
    return root


def digests(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def order(data: Path, out: Path) -> list[str]:
    given = ["review", "labels", str(data), "-o", str(out)]
    return [*given, "--epochs", "30", "--folds", "2", "--by", "blocks", *TRAINING]


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The data and what `review labels` wrote."""
    root = tmp_path_factory.mktemp("review")
    data, out = write_halves(root / "data"), root / "out"
    assert run([*order(data, out), "--json"]) == 0
    return data, out


def test_the_wrong_region_is_listed_first_and_corrected(
    reviewed: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = reviewed
    before = digests(data)
    patch = json.loads((out / "patch.json").read_text())
    first = patch["regions"][0]
    assert (first["image"], first["given"], first["suggested"]) == ("im5", "dark", "light")
    top, left, bottom, right = first["box"]
    assert abs(np.array([top, left, bottom, right]) - [4, 28, 24, 48]).max() <= 3
    assert not any(region["accept"] for region in patch["regions"])
    capsys.readouterr()
    given = [
        "review",
        "apply",
        str(out / "patch.json"),
        str(data),
        "-o",
        str(tmp_path / "new"),
        "--accept",
        "1",
    ]
    assert run([*given, "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["masks"], done["changed"], done["regions"]) == (8, 1, 1)
    corrected = np.array(PIL.Image.open(tmp_path / "new" / "masks" / "im5.png"))
    truth = np.zeros((48, 48), np.uint8)
    truth[:, 24:] = 1
    assert (corrected != truth).sum() < 150
    assert digests(data) == before


def test_the_page_is_complete_in_itself(reviewed: tuple[Path, Path]) -> None:
    page = (reviewed[1] / "report.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert policy is not None
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy[1]
    assert "default-src 'none'" in policy[1]
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert "im5" in page
    assert "--accept 1,2,5-9" in page  # what to do without the script


def test_the_same_command_again_trains_nothing(
    reviewed: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = reviewed
    before = (out / "patch.json").read_bytes()
    stamp = (out / "fold-1" / "model.safetensors").stat().st_mtime_ns
    assert run(order(data, out)) == 0
    assert (out / "patch.json").read_bytes() == before
    assert (out / "fold-1" / "model.safetensors").stat().st_mtime_ns == stamp
    assert "review apply" in capsys.readouterr().out


def test_what_to_label_next(
    reviewed: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = reviewed
    given = ["review", "next", str(out / "fold-1"), str(data / "images"), "-o", str(tmp_path / "next")]
    assert run([*given, "--count", "3", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["images"] == 8
    rows = (tmp_path / "next" / "next.csv").read_text().splitlines()
    assert rows[0] == "rank,image,uncertainty,distance"
    assert [row.split(",")[1] for row in rows[1:]] == [Path(one["image"]).name for one in said["choices"]]
    assert "<script" not in (tmp_path / "next" / "next.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["labels", "{data}", "-o", "{out}", "--by", "names"], "--by 'names'"),
        (["labels", "{data}", "-o", "{out}", "--folds", "1"], "1 folds"),
        (["labels", "{data}", "-o", "{out}", "--split", "dev"], "--split 'dev'"),
        (["labels", "{data}", "-o", "{out}", "--band", "99"], "--band 99"),
        (["apply", "{out}/none.json", "{data}", "-o", "{out}"], "no such patch"),
        (["next", "{data}/none", "{data}/images", "-o", "{out}"], "none"),
    ],
)
def test_errors_are_said_without_a_traceback(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_halves(tmp_path / "data")
    given = [word.format(data=data, out=tmp_path / "out") for word in arguments]
    assert run(["review", *given]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
