"""The experiments of the course: what they name exists, and they begin with the encoders that they name."""

import json
import sys

import pytest
import torch

import pixelwise as pw
from pixelwise.config import fill
from pixelwise.models.bundle import load_network


@pytest.fixture
def course(script):
    return script("run")


def test_every_experiment_can_be_read_and_begins_with_one_that_exists(course):
    known = course.experiments()
    for experiment in known.values():
        assert fill(pw.TrainOptions(), experiment.options).task
        named = experiment.options.get("transfer", {}).get("encoder_weights", "{mobilenet}")
        if named != "{mobilenet}":
            first = known[named.removeprefix("{run:").removesuffix("}")]
            assert first.options["encoder"] == experiment.options["encoder"]
    assert {"own_full@camvid_few", "other_full@camvid", "street_full@xray"} <= set(known)


def test_row_40_begins_with_the_encoder_of_another_experiment(
    course, script, shapes, tmp_path, monkeypatch, capsys
):
    every = {"encoder": "lenet", "epochs": 1, "batch": 2, "size": [32, 32], "precision": "float32"}
    runs = {
        "before": {"task": "reconstruct"},
        "after": {"transfer": {"encoder_weights": "{run:before@shapes}", "strategy": "last"}},
    }
    group = {"shows": "", "data": ["shapes"], "all": every, "runs": runs}
    document = {"data": {"shapes": {"from": shapes.name}}, "groups": {"one": group}}
    monkeypatch.setattr(course, "_document", lambda: document)
    monkeypatch.setattr(course, "RESULTS", tmp_path / "results")

    def main(*names, module=course):
        where = ["--data", str(shapes.parent), "--work", str(tmp_path / "work")]
        monkeypatch.setattr(sys, "argv", ["script", *names, *where])
        return module.main()

    assert main("after@shapes") == 2
    assert "run.py before@shapes --data DATA" in capsys.readouterr().err
    assert not (tmp_path / "work" / "runs" / "after@shapes-seed0").exists()
    assert (main("before@shapes"), main("after@shapes")) == (0, 0)
    before, after = (load_network(tmp_path / "work" / "runs" / f"{n}@shapes-seed0") for n in runs)
    assert (before.task, after.task) == ("reconstruct", "segment")
    state = after.encoder.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in before.encoder.state_dict().items())
    stored = json.loads((tmp_path / "results" / "after@shapes-seed0.json").read_text())
    assert stored["options"]["transfer"]["encoder_weights"] == "{run:before@shapes}"

    forget = script("forget")
    assert main("before@shapes", "nothing@shapes", module=forget) == 2
    assert main("before@shapes", "after@shapes", module=forget) == 0
    (path,) = (tmp_path / "results").glob("forgetting-*.json")
    found = json.loads(path.read_text())
    assert found["lost"] == 0  # it was frozen
    first = json.loads((tmp_path / "results" / "before@shapes-seed0.json").read_text())
    assert found["before"] == found["after"] == first["test"]
    assert "before@shapes" in course.table()
