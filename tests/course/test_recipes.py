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
    monkeypatch.setattr(course.stored, "RESULTS", tmp_path / "results")

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
    rows = course.stored.table().splitlines()
    assert any(row.startswith("| before@shapes | explained variance |") for row in rows)
    assert any(
        row.startswith(f"| before@shapes after after@shapes | explained variance {first['test']:.3f} before")
        for row in rows
    )

    # a finished run is judged again: other scores in the file, the same training
    path = tmp_path / "results" / "after@shapes-seed0.json"
    path.write_text(json.dumps(stored | {"test": 0.0, "scores": {}, "machine": "another"}))
    assert main("after@shapes", "--judge") == 0
    again = json.loads(path.read_text())
    assert again.pop("judged") and again == stored | {"machine": "another"}


def result(name, seed=0, **facts):
    return {"experiment": name, "measure": "mean_iou", "seconds": 60, "seed": seed} | facts


def test_the_table_lists_every_result_with_what_it_rests_on(course, tmp_path, monkeypatch):
    monkeypatch.setattr(course.stored, "RESULTS", tmp_path)
    bounds = {"mean_iou_interval": [0.3, 0.5], "interval_reliable": False}
    files = {
        "b@camvid-seed0": result("b@camvid", test=0.4, scores=bounds, machine="AMD"),
        # the first seed is the worse: sorted by the mean
        "a@camvid-seed0": result("a@camvid", test=0.3, scores=bounds, machine={"processor": "Intel(R) X"}),
        "a@camvid-seed1": result("a@camvid", 1, test=0.6, machine={"processor": "Intel(R) X", "threads": 2}),
        "box@camvid-seed0": result(
            "box@camvid", test=0.7, scores={"accuracy_interval": [0, 1]}, measure="mean_box_iou"
        ),
        "small-shift": {
            "experiment": "shift",
            "command": "x",
            "result": {"moved by": [0, 1], "net": [0.9, 0.5], "parameters of net": 3},
        },
        "small-regularise": {
            "experiment": "regularise",
            "command": "x",
            "result": {"net": {"validation": [0.1, 0.8]}},
        },
        "a-b+camvid": {
            "experiment": "a - b@camvid",
            "command": "x",
            "seeds": {"a": [0, 1], "b": [0]},
            "difference": 0.05,
            "interval": [0.01, 0.09],
            "p": 0.0095,
        },
        "cost": {"command": "python recipes/course/cost.py", "rows": [{"network": "patch"}]},
    }
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    lines = course.stored.table().splitlines()
    assert lines[2:5] == [
        "| b@camvid | mean iou | 0.400 [0.300, 0.500]* | 1 | 1.0 |  |  | AMD |",
        "| a@camvid | mean iou | 0.450 (0.300 to 0.600) | 2 | 1.0 |  |  | Intel, Intel, 2 threads |",
        "| box@camvid | mean box iou | 0.700 | 1 | 1.0 |  |  |  |",
    ]
    assert lines[6].startswith("\\* so few images")
    assert lines[10:] == [
        "| a - b@camvid | 0.050 [0.010, 0.090], p 0.0095; 2 and 1 seeds |  |",
        "| cost.py | 1 networks: patch |  |",
        "| regularise | net 0.1 to 0.8 |  |",
        "| shift | net 0.9 to 0.5 |  |",
    ]


def test_every_stored_result_is_in_the_table(course):
    files = [json.loads(path.read_text()) for path in course.stored.RESULTS.glob("*.json")]
    text = course.stored.table()
    assert len(files) > 60
    for one in files:
        assert f"| {one.get('experiment', 'cost.py')} |" in text
