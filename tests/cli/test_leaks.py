from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import pixelwise as pw
from pixelwise.cli.app import run
from pixelwise.data.groups import find_groups
from pixelwise.errors import DataError
from pixelwise.evaluation.comparison import compare_runs
from pixelwise.models.bundle import BundleFacts, save
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.review.leakcost import arranged, scattered
from pixelwise.training.fingerprints import fingerprint_of

NARROW = NetworkOptions(encoder_width=0.125)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight films of three frames each, scattered over the splits; a frame of the test split is a copy turned."""
    root = tmp_path_factory.mktemp("films")
    (root / "classes.yaml").write_text("[ground, roof]\n")
    rng = np.random.default_rng(0)
    for film in range(8):
        for frame in range(3):
            values = sum(ndimage.gaussian_filter(rng.normal(size=(64, 80)), s) * s for s in (1, 3, 8))
            image = np.repeat((128 + 40 * values / values.std()).clip(0, 255)[..., None], 3, 2).astype(
                np.uint8
            )
            split = ("train", "val", "test")[frame] if film < 3 else "train"
            for kind, array in (("images", image), ("masks", (values > 0).astype(np.uint8))):
                path = root / kind / split / f"film{film}_{frame}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    source = np.asarray(Image.open(root / "images" / "train" / "film7_0.png"))
    Image.fromarray(np.rot90(source)).save(root / "images" / "test" / "film0_2.png")
    Image.fromarray(np.zeros((80, 64), np.uint8)).save(root / "masks" / "test" / "film0_2.png")
    return root


def test_check_prints_leaks_and_writes_a_split_that_is_read(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "split.csv"
    assert run(["check", str(films), "--leaks", "--split-to", str(table), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["leaks"]
    assert told["pairs"]["near duplicate"] == 1 and told["pairs"]["same group"] > 4
    (twin,) = [leak for leak in told["leaks"] if leak["kind"] == "near duplicate"]
    assert {twin["first"], twin["second"]} == {"film7_0", "film0_2"} and twin["turn"] != 0
    assert run(["check", str(films), "--leaks", "--splits", str(table)]) == 0
    text = capsys.readouterr().out
    assert "near duplicate       0" in text and "same group           0" in text
    data = pw.open_dataset(films, split=str(table))
    homes = {name: split for split, names in data.split_names().items() for name in names}
    assert homes["film7_0"] == homes["film0_2"] == homes["film0_0"] == homes["film7_2"]


def test_the_page_and_the_file_of_a_check_hold_the_leaks(films: Path, tmp_path: Path) -> None:
    assert run(["check", str(films), "--leaks", "-o", str(tmp_path)]) == 0
    stored = json.loads((tmp_path / "check.json").read_text())["leaks"]
    assert stored["pairs"]["near duplicate"] == 1 and stored["proposed"].keys() == {"train", "val", "test"}
    page = (tmp_path / "check.html").read_text()
    assert "Leaks between the splits" in page and "near duplicate" in page and "Proposed split" in page
    assert re.search(r"film7_0 .*?\(train\).*? and film0_2 .*?\(test\).*?similarity", page, re.DOTALL)
    assert run(["check", str(films), "-o", str(tmp_path)]) == 0
    assert "Leaks between" not in (tmp_path / "check.html").read_text()
    assert "leaks" not in json.loads((tmp_path / "check.json").read_text())


def test_without_leaks_nothing_but_the_cheap_warning_is_told(
    films: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", str(films)]) == 0
    text = capsys.readouterr().out
    assert "1 pair of near duplicates in train and test: " in text and "proposed split" not in text


def test_leaks_wait_until_the_errors_are_mended(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, table = tmp_path / "broken", tmp_path / "split.csv"
    shutil.copytree(films, data)
    (data / "masks" / "train" / "film3_0.png").write_bytes(b"")
    assert run(["check", str(data), "--split-to", str(table)]) == 1
    assert "leaks are looked for once the errors are mended" in capsys.readouterr().err
    assert not table.exists()


def test_a_table_must_be_called_csv(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(films), "--split-to", "split.txt"]) == 2
    assert ".csv" in capsys.readouterr().err


def test_both_trainings_differ_only_in_neighbours_of_the_test_images(films: Path) -> None:
    names = [f"film{film}_{frame}" for film in range(8) for frame in range(3)]
    split = {"train": names[:15], "val": names[15:18], "test": names[18:]}
    both = arranged(pw.open_dataset(films, split=split))
    mixed, apart = both["mixed"], both["apart"]
    assert len(mixed.train) == len(apart.train) == 15 and mixed.test.names == apart.test.names
    gone, new = (
        set(apart.train.names) - set(mixed.train.names),
        set(mixed.train.names) - set(apart.train.names),
    )
    assert len(gone) == len(new) == 3 and new <= set(names[18:]) and not new & set(mixed.test.names)
    with pytest.raises(DataError, match="too few"):
        arranged(replace(mixed, test=replace(mixed.test, items=mixed.test.items[:1])))


def test_leakcost_trains_twice_and_scores_the_same_images(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "split.csv"
    rows = [
        f"film{k}_{n},{'train' if k < 5 else 'val' if k < 6 else 'test'}" for k in range(8) for n in range(3)
    ]
    table.write_text("\n".join(["name,split", *rows]) + "\n")
    out = tmp_path / "out"
    code = run(
        ["leakcost", str(films), "-o", str(out), "--splits", str(table), "--json"]
        + [
            f"--set={s}"
            for s in ("epochs=0.2", "encoder=unet", "network.encoder_width=0.125", "size=[32,32]", "batch=2")
        ]
    )
    printed = capsys.readouterr()
    assert code == 0, printed.err
    told = json.loads(printed.out)
    assert told == json.loads((out / "leakcost.json").read_text())
    assert told["gain"] == pytest.approx(told["mixed"] - told["apart"]) and told["exchanged"] == 3
    assert told["trained"] == 15 and len(told["images"]) == 3 and len(set(told["steps"])) == 1
    assert told["flattery"] == pytest.approx(told["by_chance"] - told["by_groups"])
    data = pw.open_dataset(films, split=str(table))
    scored = [
        pw.evaluate(pw.load(out / arm / "model.safetensors"), arranged(data)["apart"].test)
        for arm in ("apart", "mixed")
    ]
    judge = compare_runs(scored[:1], scored[1:], find_groups(arranged(data)["apart"].test))
    assert told["interval"] == pytest.approx(judge.mean_iou.interval)
    assert told["interval_units_origin"] == judge.units.origin and "groups" in judge.units.origin
    assert not told["interval_reliable"] and not told["flattery_interval_reliable"]
    assert "fewer than 50 independent images" in told["interval_notes"][0]
    for arm, key in (("chance", "by_chance"), ("apart", "by_groups")):
        model = pw.load(out / arm / "model.safetensors")
        here = scattered(data, 0).test if arm == "chance" else data.test
        assert pw.evaluate(model, here).mean_iou == pytest.approx(told[key])
    assert (out / "mixed" / "model.safetensors").exists()


def test_a_split_by_chance_has_the_same_sizes_and_other_images(films: Path) -> None:
    names = [f"film{film}_{frame}" for film in range(8) for frame in range(3)]
    data = pw.open_dataset(films, split={"train": names[:15], "val": names[15:18], "test": names[18:]})
    chance = scattered(data, 0)
    assert [len(split) for split in chance.splits] == [15, 3, 6]
    every = [name for split in chance.splits for name in split.names]
    assert sorted(every) == sorted(names) and set(chance.test.names) != set(data.test.names)
    torn = {name[:5] for name in chance.train.names} & {name[:5] for name in chance.test.names}
    assert torn, "films lie on both sides"


def test_predict_warns_of_swapped_bands(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = pw.build("unet", classes=2).eval()
    data = pw.open_dataset(films)
    net.facts = BundleFacts(dtype="uint8", fingerprint=fingerprint_of(net, data))
    model = save(net, tmp_path / "net.safetensors")
    Image.fromarray(np.full((64, 80, 3), (3, 0, 2), np.uint8)).save(tmp_path / "dark.png")
    call = ["predict", str(model), str(tmp_path / "dark.png"), "-o", str(tmp_path / "maps"), "--json"]
    assert run(call) == 0
    printed = capsys.readouterr()
    assert "warning: 1 of 1 inputs" in printed.err and "values up to 3" in printed.err
    assert json.loads(printed.out)["shift"]["unlike"][0]["signs"][0]["kind"] == "range"
    assert run([*call, "--no-shift-check"]) == 0
    printed = capsys.readouterr()
    assert "warning" not in printed.err and "shift" not in json.loads(printed.out)


def test_a_thorough_evaluation_has_its_sections_in_page_and_file(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = pw.build("unet", encoder="unet", classes=["ground", "roof"], options=NARROW).eval()
    net.facts = BundleFacts(dtype="uint8", fingerprint=fingerprint_of(net, pw.open_dataset(films)))
    model = save(net, tmp_path / "net.safetensors")
    call = ["evaluate", str(model), str(films), "-o", str(tmp_path / "out"), "--no-check"]
    assert run([*call, "--thorough"]) == 0, capsys.readouterr().err
    more = json.loads((tmp_path / "out" / "report.json").read_text())["more"]
    assert set(more) == {"flips", "shift", "leaks", "next"}  # label sets take a calibrated model
    assert more["leaks"]["pairs"]["near duplicate"] == 1 and more["shift"]["looked_at"] == 3
    page = (tmp_path / "out" / "report.html").read_text()
    for heading in (
        "Looked at twice",
        "Leaks between the splits",
        "Are these images like",
        "What to label next",
    ):
        assert f"<h2>{heading}" in page
    assert "Label sets" not in page and 'src="http' not in page
    assert run(call) == 0
    assert "Looked at twice" not in (tmp_path / "out" / "report.html").read_text()
