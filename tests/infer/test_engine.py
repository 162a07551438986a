"""Engines against the network as it is: same labels, whatever computes them; test_auto has which one `auto` takes."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import pixelwise as pw
from pixelwise.backends import onnx
from pixelwise.errors import DataError, OptionError
from pixelwise.infer.engine import open_engine
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


def test_openvino_prepares_for_the_one_size_and_takes_others_all_the_same():
    pytest.importorskip("openvino")
    built, asked = network(), []
    running = open_engine(built, "openvino", precision="float32", alike=lambda: asked.append(1) or True)
    assert not asked
    shapes = []
    for size in ((45, 70), (45, 70), (64, 33), (45, 70)):
        image = picture(*size)
        clear = away_from_ties(built, image)
        np.testing.assert_array_equal(running(image)[clear], pw.predict(built, image)[clear])
        (request,) = running.backend._requests.values()  # weights are held once
        shapes.append(request.get_compiled_model().input().partial_shape.is_static)
    assert shapes == [True, True, False, False]
    assert len(asked) == 1


def test_openvino_prepared_beforehand_is_for_any_size():
    pytest.importorskip("openvino")
    running = open_engine(network(), "openvino", precision="float32", alike=lambda: True)
    running.prepare("uint8")
    running(picture())
    (request,) = running.backend._requests.values()
    assert not request.get_compiled_model().input().partial_shape.is_static


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


def test_what_onnx_runtime_cannot_export_is_one_sentence():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    built = network()
    built.decoder.head = torch.nn.Sequential(built.decoder.head, Eigenvalues())
    with pytest.raises(
        OptionError, match=r"ONNX Runtime cannot run unet on resnet18: .*linalg_eig"
    ) as caught:
        open_engine(built, "onnxruntime", precision="float32")(picture())
    assert "another engine" in caught.value.remedy


def test_what_openvino_cannot_compile_is_one_sentence():
    pytest.importorskip("openvino")
    running = open_engine(network(), "openvino", precision="float32")
    running.backend._hints["NO_SUCH_PROPERTY"] = "1"
    with pytest.raises(OptionError, match=r"OpenVINO cannot run unet on resnet18: .*NO_SUCH_PROPERTY"):
        running(picture())


@pytest.mark.parametrize("words", ["no compiler\nand more", ""])
def test_what_torch_compile_raises_is_one_sentence(words):
    running = open_engine(network(), "compiled", precision="float32")

    def fail(images):
        raise RuntimeError("of all") from ArithmeticError(words)

    running.backend._run = fail
    with pytest.raises(OptionError) as caught:
        running(picture())
    assert caught.value.found == f"torch.compile failed: {words[:11] or 'ArithmeticError'}"


def test_an_engine_without_memory_says_so():
    """ONNX Runtime has an exception of its own for that, which says it in words."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    running, image = open_engine(network(), "onnxruntime", precision="float32"), picture()
    running.backend._sessions[(1, 3, 64, 96)] = Full()
    with pytest.raises(DataError, match="does not fit in memory"):
        running(image)


class Full:
    name = "images"

    def get_inputs(self):
        return [self]

    def run(self, names, given):
        raise Exception("Failed to allocate memory for requested buffer of size 9")


def test_onnx_runtime_forgets_the_size_it_has_not_met_for_longest(monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    running, exported = open_engine(network(), "onnxruntime", precision="float32"), []
    export = onnx.torch.onnx.export

    def counted(core, given, **named):
        exported.append(given[0].shape[-1])
        return export(core, given, **named)

    monkeypatch.setattr(onnx.torch.onnx, "export", counted)
    monkeypatch.setattr(onnx, "KEPT", 2, raising=False)
    for width in (32, 64, 32, 96, 32, 64):
        running(picture(32, width))
    assert exported == [32, 64, 96, 64]
    assert len(running.backend._sessions) == 2


class Eigenvalues(torch.nn.Module):
    def forward(self, x):
        squares = x[:, :2, :2, :2]
        return x + torch.linalg.eigvals(squares).real.sum()


def test_an_unknown_engine_names_the_close_ones():
    with pytest.raises(OptionError, match="openvino"):
        open_engine(network(), "openvin")
