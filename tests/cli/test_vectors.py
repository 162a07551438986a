"""`vectorize` as a user types it."""

import json
import subprocess
import sys

import numpy as np
import PIL.Image
import pyogrio
import pytest
import rasterio

from pixelwise.cli.app import run

LABELS = np.repeat(np.repeat(np.array([[0, 1], [2, 255]], np.uint8), 10, axis=0), 10, axis=1)


@pytest.fixture
def files(tmp_path):
    PIL.Image.fromarray(LABELS).save(tmp_path / "map.png")
    place = rasterio.Affine(2, 0, 4e5, 0, -2, 5.2e6)
    size = {"height": 20, "width": 20, "count": 1}
    with rasterio.open(
        tmp_path / "map.tif", "w", dtype="uint8", crs="EPSG:32632", transform=place, **size
    ) as out:
        out.write(LABELS, 1)
    (tmp_path / "classes.yaml").write_text("[{name: field}, {name: wood}, {name: road}]")
    return tmp_path


def test_vectorize_with_names_and_areas(files, capsys):
    classes = ["--classes", str(files / "classes.yaml")]
    assert run(["vectorize", str(files / "map.tif"), "-o", str(files / "map.gpkg"), *classes, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in said["classes"]] == ["field", "wood", "road"]
    assert [row["area_m2"] for row in said["classes"]] == pytest.approx([400] * 3, rel=1e-3)
    assert pyogrio.read_info(files / "map.gpkg")["features"] == 3
    options = ["--skip", "field", "--min-area", "1", "--simplify", "1"]
    assert run(["vectorize", str(files / "map.tif"), "-o", str(files / "map.fgb"), *classes, *options]) == 0
    text = capsys.readouterr().out
    assert "field" not in text
    assert "hectares" in text
    assert "equal-area" in text


def test_a_png_is_measured_in_pixels_and_says_so(files, capsys):
    target = files / "map.geojson"
    assert run(["vectorize", str(files / "map.png"), "-o", str(target), "--min-area", "200"]) == 0
    text = capsys.readouterr().out
    assert "no coordinate system" in text
    assert "left out 3 polygons below 200: 300.0 px" in text
    assert json.loads(target.read_text())["features"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["map.tif", "-o", "map.shp"], "NAME.gpkg"),
        (["map.tif", "-o", "map.gpkg", "--skip", "wod", "--classes", "classes.yaml"], "did you mean 'wood'"),
        (["none.tif", "-o", "map.gpkg"], "no such file"),
        (["/vsizip/a.zip/map.tif", "-o", "map.gpkg"], "is not a local file"),
    ],
)
def test_what_goes_wrong_is_said(files, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(files)
    assert run(["vectorize", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(files.glob("map.gpkg*"))


def test_the_commands_are_listed_with_their_help():
    help_text = subprocess.run(
        [sys.executable, "-m", "pixelwise", "--help"], capture_output=True, text=True
    ).stdout
    assert "vectorize" in help_text


def test_areas_of_a_map_and_of_a_sample(files, capsys):
    classes = ["--classes", str(files / "classes.yaml")]
    assert run(["areas", str(files / "map.tif"), *classes]) == 0
    text = capsys.readouterr().out
    assert "0.0400" in text  # 400 square metres
    assert "33.33%" in text
    sample = files / "sample.csv"
    pairs = [(name, name) for name in ("field", "wood", "road") for _ in range(9)] + [("wood", "field")]
    sample.write_text("map,reference\n" + "\n".join(",".join(pair) for pair in pairs))
    assert run(["areas", str(files / "map.tif"), "--sample", str(sample), *classes]) == 0
    assert "95 % interval" in capsys.readouterr().out
    assert run(["areas", str(files / "map.tif"), "--sample", str(sample), *classes, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    field, wood, road = said["classes"]
    assert field["estimate"] == pytest.approx(field["area"] + wood["area"] / 10)
    assert field["interval"][0] < field["estimate"] < field["interval"][1]
    assert road["interval"] == [road["estimate"]] * 2


def test_a_sample_is_planned_looked_at_and_read(files, capsys):
    classes = ["--classes", str(files / "classes.yaml")]
    places = files / "places.csv"
    assert run(["areas", str(files / "map.tif"), *classes, "--plan", "60", "-o", str(places)]) == 0
    assert "field          20" in capsys.readouterr().out
    head, *lines = places.read_text().splitlines()
    assert run(["areas", str(files / "map.tif"), *classes, "--sample", str(places)]) == 2
    assert "60 of 60 places have no reference" in capsys.readouterr().err
    places.write_text("\n".join([head, *(f"{line}wood" for line in lines)]))
    assert run(["areas", str(files / "map.tif"), *classes, "--sample", str(places), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["estimate"] for row in said["classes"]] == pytest.approx([0, 1200, 0], rel=1e-3)
    for wrong, message in ((["--plan", "9"], "go together"), (["--plan", "9", "-o", "a.shp"], "NAME.gpkg")):
        assert run(["areas", str(files / "map.tif"), *wrong]) == 2
        assert message in capsys.readouterr().err


def test_areas_from_scores_have_no_interval(files, capsys):
    scores = files / "scores.json"
    names = ["class_0", "class_1", "class_2"]
    confusion = [[90, 10, 0], [0, 50, 0], [0, 0, 40]]
    scores.write_text(json.dumps({"classes": [{"name": name} for name in names], "confusion": confusion}))
    assert run(["areas", str(files / "map.png"), "--scores", str(scores), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["classes"][0]["estimate"] == pytest.approx(100 + 100 / 6)
    assert "interval" not in said["classes"][0]
    assert any("not places drawn at random" in note for note in said["notes"])
    assert run(["areas", str(files / "map.png"), "--scores", str(scores), "--sample", str(scores)]) == 2
    assert "both given" in capsys.readouterr().err


def test_the_names_that_predict_writes_into_a_map_are_used(files, capsys):
    with rasterio.open(files / "map.tif", "r+") as target:
        target.update_tags(PIXELWISE_CLASSES=json.dumps([{"name": name} for name in ("sea", "sand", "sky")]))
    assert run(["areas", str(files / "map.tif"), "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)["classes"]] == ["sea", "sand", "sky"]
    assert run(["vectorize", str(files / "map.tif"), "-o", str(files / "a.fgb"), "--skip", "sky"]) == 0
    assert "sand" in capsys.readouterr().out
