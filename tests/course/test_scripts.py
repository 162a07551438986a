"""Rows 20, 23, 27, 30, 32, 41 and 43 of the course: what the scripts of their experiments compute."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import scipy.stats
import torch
from torch import nn
from torch.nn import functional as F

import pixelwise as pw
from pixelwise.evaluation.units import units_of
from pixelwise.models.bundle import save
from pixelwise.models.interfaces import NetworkOptions

ROW_OF_LENET = 107_786


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_row_20_weight_decay_shrinks_weights_that_nothing_else_moves(script):
    """Weights behind pixels that are always 0 have no gradient: each step multiplies them by 1 - lr * decay."""
    small = script("small")
    torch.manual_seed(0)
    net = small.dense()
    before = net[1].weight.detach().clone()
    images = torch.zeros(128, 1, 28, 28)
    small.fit(net, images, torch.arange(128) % 10, epochs=3, decay=0.3)
    torch.testing.assert_close(net[1].weight, before * (1 - 1e-3 * 0.3) ** 6)


def test_row_20_dropout_and_batch_normalisation_act_in_training_alone(script):
    small = script("small")
    images = torch.randn(200, 1, 28, 28)
    dropping, normed = small.dense(dropout=0.5), small.dense(norm=True)
    hidden = dropping[:4](images)  # behind the first dropout
    kept = dropping[:3](images)
    assert torch.equal(hidden[hidden != 0], 2 * kept[hidden != 0])  # scaled by 1 / (1 - 0.5)
    assert 0.45 < float((hidden[kept > 0] == 0).float().mean()) < 0.55
    assert torch.equal(dropping.eval()(images), dropping(images))
    norm = normed[2]
    assert isinstance(norm, nn.BatchNorm1d)
    out = normed[:3](images)
    torch.testing.assert_close(out.mean(0), torch.zeros(256), rtol=0, atol=1e-4)
    torch.testing.assert_close(out.std(0, unbiased=False), torch.ones(256), rtol=0, atol=1e-2)


def test_row_23_both_contenders_and_the_shift(script):
    small = script("small")
    assert parameters(small.dense()) == 785 * 256 + 257 * 128 + 129 * 10
    assert parameters(small.Lenet()) == ROW_OF_LENET
    images = np.random.default_rng(0).random((3, 1, 28, 28))
    for pixels in (0, 2):
        expected = np.roll(images, (pixels, pixels), (2, 3))
        expected[:, :, :pixels], expected[..., :pixels] = 0, 0
        assert np.array_equal(small.moved(torch.from_numpy(images), pixels).numpy(), expected)


def test_row_23_the_net_without_weights_in_common_suffers_more(script):
    """One bright square per class at its own place; the classes are then looked for two pixels further on."""
    small = script("small")
    rng = np.random.default_rng(0)
    targets = torch.arange(320) % 10
    images = torch.from_numpy(rng.random((320, 1, 28, 28)).astype(np.float32) * 0.2)
    for image, target in zip(images, targets.tolist(), strict=True):
        image[0, 2 + target // 5 * 12 :, 2 + target % 5 * 5 :][:2, :2] = 1
    net = small.dense()
    torch.manual_seed(0)
    small.fit(net, images, targets, epochs=12)
    assert small.accuracy(net, images, targets) == 1
    assert small.accuracy(net, small.moved(images, 2), targets) < 0.5


def test_row_27_the_plain_net_is_the_residual_one_without_its_shortcuts(script):
    small = script("small")
    norms = small.gradients()
    assert {name: len(values) for name, values in norms.items()} == {
        "with shortcuts": 16,
        "without shortcuts": 16,
    }
    grown = {
        name: values[0] / values[-1] for name, values in norms.items()
    }  # from the last block to the first
    assert 3 < grown["with shortcuts"] < 30
    assert 60 < grown["without shortcuts"] < 600
    block = small.BasicBlock(4, 4, 1).eval()
    x = torch.randn(1, 4, 8, 8)
    with torch.inference_mode():
        body = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
        torch.testing.assert_close(small._plain(block)(x), F.relu(body))
        torch.testing.assert_close(block(x), F.relu(body + x))


@pytest.mark.parametrize("direction", range(9))
def test_row_30_histograms_of_a_ramp_hold_its_direction_alone(script, direction):
    pytest.importorskip("sklearn")
    classical = script("classical")
    angle = (direction + 0.5) * np.pi / 9
    rows, columns = np.mgrid[:32, :32]
    features = classical.hog(np.cos(angle) * columns + np.sin(angle) * rows, cell=8).reshape(9, 4, 9)
    expected = np.zeros((9, 4, 9))
    expected[..., direction] = 0.5  # four equal cells of a block, divided by their length
    np.testing.assert_allclose(features, expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_row_30_every_classifier_is_judged_over_patients(script, tmp_path, monkeypatch, capsys):
    """Stripes along and across, three noisy pictures of each patient; what is stored is judged by plain counts."""
    pytest.importorskip("sklearn")
    classical = script("classical")
    rng = np.random.default_rng(0)
    rows = ["path,patient"]
    for split, patients in (("train", 12), ("val", 2), ("test", 12)):
        for label, name in enumerate(("across", "along")):
            (tmp_path / "data" / "xray" / split / name).mkdir(parents=True)
            for index in range(3 * patients):
                stripes = np.add.outer(np.arange(32) * label, np.arange(32) * (1 - label)) % 8 * 20
                picture = np.clip(stripes + rng.normal(60, 25, (32, 32)), 0, 255).astype(np.uint8)
                path = f"{split}/{name}/{name}{index:02d}.png"
                PIL.Image.fromarray(picture).save(tmp_path / "data" / "xray" / path)
                rows.append(f"{path},{split}{name}{index // 3}")
    (tmp_path / "data" / "xray" / "patients.csv").write_text("\n".join(rows))
    monkeypatch.setattr(sys.modules["stored"], "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["classical.py", "xray", "--data", str(tmp_path / "data")])
    classical.main()
    found = {path.name: json.loads(path.read_text()) for path in tmp_path.glob("*+xray.json")}
    assert sorted(found) == [
        "dense_net+xray.json",
        "hog_and_dense_net+xray.json",
        "hog_and_nearest_neighbours+xray.json",
        "hog_and_support_vector_machine+xray.json",
        "nearest_neighbours+xray.json",
    ]
    printed = capsys.readouterr().out
    for result in found.values():
        assert (result["images"], result["units"]) == (72, 24)
        assert result["units_origin"] == "groups: patients.csv, column patient"
        assert result["machine"]["threads"] >= 1 and result["revision"]
        low, high = result["interval"]
        assert low < result["test"] <= high <= 1
        assert result["roc_area_interval"][0] < result["roc_area"]
        assert f"{result['test']:.4f}" in printed
    assert found["hog_and_support_vector_machine+xray.json"]["test"] > 0.9


def test_row_30_images_that_stand_for_themselves_get_wilsons_interval(script):
    pytest.importorskip("sklearn")
    classical = script("classical")
    right = np.arange(541) % 30 > 0
    found = classical.judged(right, units_of(list(map(str, range(541)))), None, None)
    judge = scipy.stats.binomtest(int(right.sum()), 541).proportion_ci(method="wilson")
    assert found["interval"] == pytest.approx((judge.low, judge.high))
    patients = classical.judged(right, units_of([str(k // 3) for k in range(541)]), None, None)
    assert patients["interval"] != found["interval"] and patients["test"] == found["test"]


def test_row_32_costs_and_seconds_until_a_score_are_in_one_table(script, tmp_path, monkeypatch, capsys):
    cost = script("cost")
    scores = {
        "patch": [[(60, 0.1), (120, 0.2), (180, 0.15)]],
        "fullres": [[(50, 0.1), (100, 0.3), (200, 0.28)], [(50, 0.2), (110, 0.25), (210, 0.32)]],
        "unet": [[(40, 0.14), (80, 0.35)], [(44, 0.31), (90, 0.4)]],
        "fcn8s": [[(30, 0.2), (60, 0.29)]],
    }
    for name, seeds in scores.items():
        for seed, curve in enumerate(seeds):
            folder = tmp_path / "runs" / f"{name}@camvid-seed{seed}"
            (folder / "test").mkdir(parents=True)
            rows = [{"step": 1, "seconds": 1.0, "loss": 2.0}]
            rows += [
                {"step": k, "seconds": seconds, "mean_iou": value} for k, (seconds, value) in enumerate(curve)
            ]
            (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "runs" / "segnet@camvid-seed0").mkdir()  # still in training
    equal = cost.equal_accuracy(tmp_path)
    # patch ends with 0.15, which it has had since 120 s; fullres with 0.28 and 0.32: 0.30
    assert equal["patch"] == {"score": 0.15, "patch": 120, "fullres": 75, "unet": 62, "fcn8s": 30}
    assert equal["fullres"] == {"score": 0.3, "patch": None, "fullres": 155, "unet": 62, "fcn8s": None}

    def alone(call, **options):
        assert call[-2] == "--one" and f"{call[-1].partition(',')[0]}@camvid" in cost.experiments()
        row = {"network": call[-1], "parameters": 12345, "training_step_seconds": 0.5}
        return SimpleNamespace(stdout="warm\n" + json.dumps(row))

    monkeypatch.setattr(cost.subprocess, "run", alone)
    monkeypatch.setattr(sys.modules["stored"], "revision", lambda: "r")
    monkeypatch.setattr(sys.modules["stored"], "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["cost.py", "--work", str(tmp_path)])
    cost.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("| s to 0.150 (patch) | s to 0.300 (fullres) |")
    assert lines[2] == "| patch | 12,345 | 0.5 | 120 | not reached |"
    assert lines[3] == "| patch, every 2 pixels | 12,345 | 0.5 | no run | no run |"
    assert (
        "| unet | 12,345 | 0.5 | 62 | 62 |" in lines
        and "| segnet | 12,345 | 0.5 | no run | no run |" in lines
    )
    stored = json.loads((tmp_path / "cost.json").read_text())
    assert stored["equal_accuracy"] == equal and stored["machine"]["processor"]


@pytest.mark.parametrize("name", ["patch, every 2 pixels", "fcn8s"])
def test_row_32_what_is_measured_is_the_network_of_the_experiment(script, monkeypatch, name):
    cost = script("cost")
    monkeypatch.setattr(cost, "SIZE", (8, 8))
    found = cost.measure(name)
    model, encoder = ("patch", "small_cnn") if "patch" in name else ("fcn8s", "resnet18")
    options = NetworkOptions(patch=(32, 2)) if "patch" in name else NetworkOptions()
    net = pw.build(model, encoder=encoder, classes=11, options=options)
    assert found["parameters"] == parameters(net)
    assert min(found["training_step_seconds"], found["prediction_seconds"]) >= 0
    assert found["million_multiply_adds_per_image"] == round(
        pw.describe(net, size=(8, 8)).multiply_adds / 1e6, 1
    )


def test_row_43_a_figure_shows_every_network_on_the_same_images(script, shapes, tmp_path, monkeypatch):
    figure = script("figure")
    runs = tmp_path / "runs"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "aerial_tiles").symlink_to(shapes)
    for name in ("fcn8s", "unet", "asymmetric_unet"):
        torch.manual_seed(0)
        net = pw.build(name, encoder="resnet18", classes=3, options=NetworkOptions(encoder_width=0.125))
        folder = runs / f"{name}@aerial_tiles-seed0"
        (folder / "test").mkdir(parents=True)
        save(net, folder / "model.safetensors")
        if name != "asymmetric_unet":  # still in training
            (folder / "test" / "scores.json").write_text(json.dumps({"mean_iou": 0.25}))
    shown = {}
    monkeypatch.setattr(figure, "grid", lambda cells, out, **options: shown.update(cells=cells, **options))
    figure.compare("aerial_tiles", tmp_path, tmp_path / "all.png", count=2)
    titles = [[title for title, _ in row] for row in shown["cells"]]
    assert titles == [["image", "truth", "fcn8s 0.250", "unet 0.250"]] * 2
    split = pw.open_dataset(shapes).test
    assert shown["classes"] == split.classes  # the legend
    train = pw.open_dataset(shapes).train
    counts = [len(set(sample.labels.flat)) for sample in train]
    firsts = [counts.index(max(counts[:3])), 3 + counts[3:].index(max(counts[3:]))]
    assert [sample.name for sample in figure.telling(train, 2)] == [train[index].name for index in firsts]
    for row, sample in zip(shown["cells"], split, strict=True):
        assert np.array_equal(row[0][1], sample.image)
        truth = np.array([spec.rgb for spec in split.classes], np.uint8)[sample.labels]
        assert np.array_equal(np.asarray(row[1][1])[..., :3], truth)
    with pytest.raises(SystemExit, match="no finished run on camvid"):
        figure.compare("camvid", tmp_path, tmp_path / "all.png")


def test_row_43_one_network_in_full(script, shapes, tmp_path, monkeypatch):
    figure = script("figure")
    torch.manual_seed(0)
    net = pw.build("unet", encoder="resnet18", classes=3, options=NetworkOptions(encoder_width=0.125)).eval()
    sample = pw.open_dataset(shapes).test[0]
    figure.look(net, sample, tmp_path / "look.png")
    with PIL.Image.open(tmp_path / "look.png") as picture:
        assert picture.width > picture.height > 300
    shown = {}
    monkeypatch.setattr(figure, "grid", lambda cells, out, **options: shown.update(cells=cells, **options))
    figure.look(net, sample, tmp_path / "look.png")
    pieces = [piece for row in shown["cells"] for piece in row]
    names = [spec.name for spec in net.classes]
    levels = [f"level {k}: {net.encoder.levels[k - 1].channels} x {64 >> k} x {64 >> k}" for k in range(1, 6)]
    titles = ["image", "truth", "prediction", "overlay", "wrong pixels in red", *names, *levels]
    assert [title for title, _ in pieces] == titles
    pixels = {title: np.asarray(picture) for title, picture in pieces}
    said, truth = pw.predict(net, sample.image), sample.labels
    palette = np.array([spec.rgb for spec in net.classes], np.uint8)
    assert np.array_equal(pixels["image"], sample.image)
    assert np.array_equal(pixels["truth"], palette[truth])
    assert np.array_equal(pixels["prediction"], palette[said])
    blend = (sample.image.astype(float) + palette[said]) / 2
    assert np.abs(pixels["overlay"] - blend).max() <= 1
    red = np.ptp(pixels["wrong pixels in red"], axis=2) > 50  # all others are grey
    assert np.array_equal(red, said != truth) and red.any()
    chances = np.stack([pixels[name] for name in names])
    np.testing.assert_allclose(chances.sum(0), 1, atol=1e-5)
    assert np.array_equal(chances.argmax(0), said)
    with torch.inference_mode():
        ready = net.prepare(torch.from_numpy(sample.image.copy()).permute(2, 0, 1)[None])
        deepest = net.encoder(ready)[-1][0].mean(0)
    np.testing.assert_allclose(pixels[titles[-1]], deepest, atol=1e-5)
    assert shown["classes"] == net.classes


def test_row_41_what_each_task_answers_on_one_image(script, shapes, tmp_path, monkeypatch):
    """A network that is right everywhere: its answers are those of the masks."""
    figure = script("figure")
    sample = pw.open_dataset(shapes).test[0]
    net = pw.build("unet", encoder="resnet18", classes=["ground", "car", "bicyclist"])
    monkeypatch.setattr(figure.pw, "predict", lambda model, image: sample.labels)
    figure.tasks(net, sample, tmp_path / "tasks.png")
    with PIL.Image.open(tmp_path / "tasks.png") as picture:
        assert picture.width > picture.height > 100
    shown = {}
    monkeypatch.setattr(figure, "grid", lambda cells, out, **options: shown.update(cells=cells, **options))
    figure.tasks(net, sample, tmp_path / "tasks.png")
    ((_, rgb), (first, one), (second, several), (_, single), (_, everywhere)) = shown["cells"][0]
    assert first == "one class, one box: ground"
    assert np.array_equal(rgb, sample.image)
    palette = np.array([spec.rgb for spec in net.classes], np.uint8)
    assert np.array_equal(everywhere, palette[sample.labels])
    assert second == "a class and a box each: 2 objects"
    for index in (1, 2):
        rows, columns = np.nonzero(sample.labels == index)
        corner = several[rows.min(), columns.min()], several[rows.max(), columns.max()]
        assert all(np.array_equal(pixel, palette[index]) for pixel in corner)
        colors = np.unique(single[rows, columns], axis=0)
        assert len(colors) == 1  # the pixels of one object
    assert np.array_equal(one[0, 0], palette[0]) and np.array_equal(one[-1, -1], palette[0])
