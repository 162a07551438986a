"""Engines against the network as it is: same labels, whatever computes them; and which one `auto` takes."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import pixelwise as pw
from pixelwise.errors import OptionError
from pixelwise.infer import engine as engines
from pixelwise.infer.engine import Auto, Running, fastest, open_engine
from pixelwise.infer.predictor import predict_with_confidence

# decoders that differ in what they ask of a backend: skips, pooled context, several strides, no padding, windows
NETWORKS = [
    ("unet", "resnet18", {}),
    ("deeplabv3plus", "resnet18", {}),
    ("fcn8s", "resnet18", {}),
    ("asymmetric_unet", "resnet18", {}),
    ("segnet", "vgg16_bn", {}),
    ("unet", "unet", {"padding": "valid"}),
    ("patch", "small_cnn", {}),
]


def network(model="unet", encoder="resnet18", classes=4, **options):
    torch.manual_seed(1)
    chosen = pw.NetworkOptions(encoder_width=0.125, **options)
    return pw.build(model, encoder=encoder, classes=classes, options=chosen).eval()


def picture(height=45, width=70, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def away_from_ties(model, image, least=1e-4):
    with torch.inference_mode():
        logits = model(model.prepare(torch.from_numpy(image).permute(2, 0, 1)[None]))[0]
    best = logits.topk(2, dim=0).values
    return (best[0] - best[1]).numpy() > least


@pytest.mark.parametrize(("model", "encoder", "options"), NETWORKS, ids=lambda value: str(value))
def test_openvino_gives_the_labels_of_the_network_at_any_size(model, encoder, options):
    pytest.importorskip("openvino")
    built = network(model, encoder, **options)
    running = open_engine(built, "openvino", precision="float32")
    for size in ((45, 70), (64, 33), (1, 1)):
        image = picture(*size)
        clear = away_from_ties(built, image)
        equal = running(image)[clear] == pw.predict(built, image)[clear]
        # where two values of a window differ by rounding alone, SegNet puts the maximum at the other one
        assert equal.mean() > 0.999 if model == "segnet" else equal.all()


def test_openvino_reports_to_nobody():
    code = (
        "import sys, pixelwise as pw\n"
        "from pixelwise.infer.engine import open_engine\n"
        "options = pw.NetworkOptions(encoder_width=0.125, decoder_channels=(8, 8))\n"
        "open_engine(pw.build('unet', encoder='resnet18', classes=2, options=options).eval(), 'openvino')\n"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_openvino_in_bfloat16_and_its_confidence():
    pytest.importorskip("openvino")
    built, image = network(), picture()
    labels, confidence = open_engine(built, "openvino", precision="bfloat16").with_confidence(image)
    expected, wanted = predict_with_confidence(built, image, precision="float32")
    assert (labels == expected).mean() > 0.98
    np.testing.assert_allclose(confidence, wanted, atol=0.03)


def test_images_together_get_the_labels_they_get_alone():
    pytest.importorskip("openvino")
    built, images = network(), [picture(seed=seed) for seed in range(3)]
    for name in ("eager", "openvino"):
        running = open_engine(built, name, precision="float32")
        together = running.batch(images)
        assert together.shape == (3, 45, 70)
        clear = np.stack([away_from_ties(built, image) for image in images])
        alone = np.stack([pw.predict(built, image) for image in images])
        np.testing.assert_array_equal(together[clear], alone[clear])


def test_an_engine_keeps_nothing_of_the_image_before():
    """OpenVINO hands out the memory of its answer: labels of one image must not change with the next."""
    pytest.importorskip("openvino")
    running = open_engine(network(), "openvino", precision="float32")
    first = running(picture(seed=0))
    copied = first.copy()
    running(picture(seed=1))
    np.testing.assert_array_equal(first, copied)


def test_onnx_runtime_gives_the_labels_of_the_network():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    built, image = network(), picture()
    clear = away_from_ties(built, image)
    found = open_engine(built, "onnxruntime", precision="float32")(image)
    np.testing.assert_array_equal(found[clear], pw.predict(built, image)[clear])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_torch_compile_gives_the_labels_of_the_network():
    built, image = network(), picture()
    clear = away_from_ties(built, image)
    found = open_engine(built, "compiled", precision="float32")(image)
    np.testing.assert_array_equal(found[clear], pw.predict(built, image)[clear])


def test_what_a_runtime_cannot_convert_is_one_sentence():
    pytest.importorskip("openvino")
    built = network()
    built.decoder.head = torch.nn.Sequential(built.decoder.head, Eigenvalues())
    with pytest.raises(OptionError, match="OpenVINO cannot run unet on resnet18"):
        open_engine(built, "openvino")


class Eigenvalues(torch.nn.Module):
    def forward(self, x):
        squares = x[:, :2, :2, :2]
        return x + torch.linalg.eigvals(squares).real.sum()


def test_an_unknown_engine_names_the_close_ones():
    with pytest.raises(OptionError, match="openvino"):
        open_engine(network(), "openvin")


def test_auto_stays_eager_for_little_work(monkeypatch, tmp_path):
    monkeypatch.setenv("PIXELWISE_CACHE", str(tmp_path))
    running = open_engine(network(), images=3)
    for seed in range(3):
        running(picture(seed=seed))
    assert running.engine.name == "eager"
    assert not list(tmp_path.iterdir())


def test_auto_times_the_engines_once_and_remembers(monkeypatch, tmp_path):
    pytest.importorskip("openvino")
    monkeypatch.setenv("PIXELWISE_CACHE", str(tmp_path))
    monkeypatch.setattr(
        engines, "LONG", float("inf")
    )  # torch.compile, which takes a minute, has a test of its own
    said = []
    built, image = network(), picture()
    running = Auto(built, images=10**9, precision="float32", say=said.append)
    running(image)
    (row,) = json.loads((tmp_path / engines.FILE).read_text()).values()
    assert set(row["seconds"]) >= {"eager", "openvino"}
    assert row["engine"] == min(row["seconds"], key=row["seconds"].get)
    assert any("openvino" in text for text in said)
    again = Auto(built, images=10**9, precision="float32", say=said.append)
    count = len(said)
    again(image)
    assert len(said) == count  # nothing was timed again
    assert again.engine.name == running.engine.name == row["engine"]


def test_an_engine_whose_labels_differ_is_not_taken(monkeypatch):
    """A backend that is quick and wrong."""
    built, image = network(), picture()

    def timed(running, given):
        return running(given), 1.0 if isinstance(running, Running) else 0.1

    class Wrong:
        def __call__(self, given):
            return 3 - pw.predict(built, image)

    monkeypatch.setattr(engines, "open_engine", lambda *given, **named: Wrong())
    monkeypatch.setattr(
        engines, "_timed", lambda engine, given: (engine(given), 1.0 if isinstance(engine, Running) else 0.1)
    )
    best, decision = fastest(built, image, "float32", ["openvino"], lambda text: None)
    assert isinstance(best, Running)
    assert decision["engine"] == "eager"
    assert decision["agreement"]["openvino"] < 0.5


def test_a_file_of_decisions_that_is_damaged_is_no_obstacle(monkeypatch, tmp_path):
    monkeypatch.setenv("PIXELWISE_CACHE", str(tmp_path))
    for text in ("{", "[]", '{"a": 1, "b": {"engine": "none"}}'):
        (tmp_path / engines.FILE).write_text(text)
        assert engines._decisions() == {}
