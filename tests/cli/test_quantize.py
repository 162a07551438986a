"""8-bit integers: the arithmetic judged by NumPy's own integers, the runtime by that, the command by what it writes."""

from __future__ import annotations

import json
import shutil

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate
from torch import nn

from pixelwise.backends.folded import fold_doublings
from pixelwise.backends.interfaces import LowResolution
from pixelwise.backends.openvino import load_runtime, ranges_of
from pixelwise.backends.quantized import QuantizedConv, note_ranges, quantizable, quantize_noted
from pixelwise.cli.app import run
from pixelwise.data.dataset import open_dataset
from pixelwise.errors import BundleError, DataError, OptionError
from pixelwise.evaluation.quantize import input_ranges, quantized
from pixelwise.infer import engine as engines
from pixelwise.infer.engine import fastest, open_engine
from pixelwise.infer.predictor import predict
from pixelwise.infer.scenes import SceneOptions, predict_scene
from pixelwise.models.bundle import BundleFacts, load, save
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.quantization import Quantization
from pixelwise.models.zoo import build
from pixelwise.training import train
from pixelwise.training.options import TrainOptions


@pytest.fixture(scope="module")
def model(shapes, tmp_path_factory):
    """A small U-Net that knows the shapes."""
    options = TrainOptions(
        epochs=6,
        batch=4,
        encoder="resnet18",
        network=NetworkOptions(encoder_width=0.25),
        precision="float32",
        device="cpu",
    )
    out = tmp_path_factory.mktemp("quantize") / "run"
    train(open_dataset(shapes), out=out, options=options)
    return out


def rounded(values, step, lowest, highest):
    """Integers, halves to even."""
    return np.clip(np.rint(values.astype(np.float64) / np.float64(np.float32(step))), lowest, highest).astype(
        np.int64
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**16), st.booleans(), st.integers(1, 3), st.sampled_from([1, 3]))
def test_a_quantized_convolution_is_a_convolution_of_integers(seed, signed, inputs, kernel):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 2, (1, inputs, 7, 9)).astype(np.float32)
    x = x if signed else np.abs(x)
    torch.manual_seed(seed)
    plain = nn.Conv2d(inputs, 4, kernel, padding=kernel // 2)
    high = float(x.max()) * 0.8  # what lies beyond is cut off
    low = -high / 2 if signed else 0.0
    quantized = QuantizedConv(plain, (low, high))
    assert quantized.step == pytest.approx((high - low) / 255)
    assert quantized.zero == (85 if signed else 0)
    given_ = rounded(x[0], quantized.step, -quantized.zero, 255 - quantized.zero)
    weight = plain.weight.detach().numpy()
    expected = np.empty((4, 7, 9))
    edge = kernel // 2
    for k in range(4):
        step = np.abs(weight[k]).max() / 127
        integers = rounded(weight[k], step, -127, 127)
        padded = np.pad(given_, ((0, 0), (edge, edge), (edge, edge)))
        total = correlate(padded, integers, mode="valid")[0]
        assert total.dtype == np.int64
        expected[k] = total * step * quantized.step + plain.bias[k].item()
    with torch.no_grad():
        found = quantized(torch.from_numpy(x))[0].numpy()
    # a value that lies halfway between two integers may be rounded either way: one step of one input
    tolerance = 1e-4 * np.abs(expected).max() + 0.01 * quantized.step
    assert np.mean(np.abs(found - expected) > tolerance) < 0.02


def test_a_transposed_convolution_has_a_step_for_each_output():
    torch.manual_seed(0)
    plain = nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1)
    with torch.no_grad():
        plain.weight *= torch.logspace(-2, 2, 5)[None, :, None, None]
    quantized = QuantizedConv(plain, (0.0, 1.0))
    assert quantized.steps.shape == (5,)
    x = torch.rand(1, 3, 6, 6)
    with torch.no_grad():
        off = (quantized(x) - plain(x)).abs().amax((0, 2, 3)) / plain(x).abs().amax((0, 2, 3))
    assert float(off.max()) < 0.03  # the smallest channel as well as the largest


def test_what_is_left_as_it_is():
    class Other(nn.Conv2d):
        def forward(self, input):
            return super().forward(input) + 1

    parts = nn.ModuleDict({
        "plain": nn.Conv2d(3, 3, 3),
        "other": Other(3, 3, 3),
        "mirrored": nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"),
        "same": nn.Conv2d(3, 3, 3, padding="same"),
        "grouped": nn.ConvTranspose2d(4, 4, 2, groups=2),
        "head": nn.Sequential(nn.Conv2d(3, 2, 1)),
    })  # fmt: skip
    assert list(quantizable(parts, without=[parts["head"]])) == ["plain"]


def test_ranges_are_medians_over_images_of_what_each_convolution_takes(model, shapes):
    net, split = load(model), open_dataset(shapes).val
    ranges = input_ranges(net, split)
    assert "encoder.conv1" not in ranges and "decoder.head" not in ranges
    lows, highs = [], []
    for sample in split:
        with torch.no_grad():
            images = net.frame.framed(
                net.prepare(torch.from_numpy(sample.image.copy()).permute(2, 0, 1)[None])
            )
            stem = net.encoder.maxpool(net.encoder.relu(net.encoder.bn1(net.encoder.conv1(images))))
        lows.append(float(stem.min()))
        highs.append(float(stem.max()))
    assert ranges["encoder.layer1.0.conv1"] == pytest.approx((np.median(lows), np.median(highs)))


@pytest.mark.filterwarnings("ignore")
def test_one_convolution_of_negative_values_in_the_runtime_is_that_of_torch():
    """Between the two convolutions of a separable one there is no ReLU."""
    pytest.importorskip("openvino")
    openvino = load_runtime()
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 8, 3, padding=1)
    x = torch.randn(1, 8, 16, 16)
    part = nn.Sequential(QuantizedConv(plain, (float(x.min()), float(x.max())))).eval()
    with torch.no_grad():
        graph = openvino.convert_model(part, example_input=x)
        expected = part(x).numpy()
        off = np.abs(plain(x).numpy() - expected).max()
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(x.numpy())[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert off > 1e-3


def test_a_convolution_of_two_names_is_replaced_under_both():
    whole = nn.Module()
    whole.one = nn.Conv2d(3, 3, 1)
    whole.two = whole.one
    note_ranges(whole, {"one": (0.0, 1.0)})
    quantize_noted(whole)
    assert isinstance(whole.two, QuantizedConv) and whole.one is whole.two


def test_a_range_of_what_integers_do_not_suit_is_not_gone_by():
    whole = nn.ModuleDict({"mirrored": nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")})
    note_ranges(whole, {"mirrored": (0.0, 1.0)})
    quantize_noted(whole)
    assert type(whole["mirrored"]) is nn.Conv2d


def test_the_runtime_computes_in_integers_what_is_written_in_torch(model, shapes):
    pytest.importorskip("openvino")
    net, data = load(model), open_dataset(shapes)
    ranges = input_ranges(net, data.train)
    net.facts = net.facts.model_copy(update={"quantization": made(ranges)})
    engine = open_engine(net, "openvino")
    core = LowResolution(net, plain=True).eval()
    note_ranges(core.model, ranges)
    fold_doublings(core)
    quantize_noted(core)
    count = sum(isinstance(part, QuantizedConv) for part in core.modules())
    image = data.val[0].image
    framed = net.frame.framed_pixels(image[None]).copy()
    logits = engine.backend(framed)
    with torch.no_grad():
        expected = core(core.ready(framed))
        plain = net.judged(core.ready(framed))
    scale = float(plain.abs().mean())
    # layer upon layer, a value that lies halfway may be rounded to the other side
    assert float((logits - expected).abs().mean()) < 0.01 * scale
    assert 0.001 * scale < float((expected - plain).abs().mean()) < 0.1 * scale
    (request,) = engine.backend._requests.values()
    kinds = [
        op.get_rt_info()["runtimePrecision"].astype(str)
        for op in request.get_compiled_model().get_runtime_model().get_ops()
        if op.get_rt_info()["layerType"].astype(str) in ("Convolution", "Deconvolution")
    ]
    assert sum(kind in ("i8", "u8") for kind in kinds) == count


def made(ranges, **changed):
    values: dict[str, object] = {
        "ranges": ranges,
        "split": "train",
        "images": 3,
        "judged_split": "val",
        "judged_images": 2,
    }
    return Quantization.model_validate(values | {"agreement": 0.99, "mean_iou": (0.8, 0.79)} | changed)


def test_a_bundle_is_quantized_and_only_openvino_knows(model, shapes, tmp_path, capsys):
    pytest.importorskip("openvino")
    out = tmp_path / "quick.safetensors"
    command = ["quantize", str(model), str(shapes), "-o", str(out)]
    assert run([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    net, before, data = load(out), load(model), open_dataset(shapes)
    found = net.facts.quantization
    assert told["layers"] == len(found.ranges) > 20
    assert told["quantization"]["agreement"] == found.agreement
    assert (found.split, found.judged_split, found.judged_images) == ("train", "val", len(data.val))
    same, engine = [], open_engine(net, "openvino")
    for sample in data.val:
        np.testing.assert_array_equal(predict(net, sample.image), predict(before, sample.image))
        same.append(engine(sample.image) == predict(net, sample.image))
    assert found.agreement == pytest.approx(float(np.mean(same)), abs=1e-9)
    assert 0.9 < found.agreement < 1  # something did change
    assert told["comparison"]["mean_iou"]["second"] == found.mean_iou[1]
    assert run(command) == 0
    text = capsys.readouterr().out
    assert f"{found.agreement:.2%} of labels are what they were" in text
    assert "the same in integers" in text and f"predict {out}" in text


def test_another_precision_than_the_bundles_is_computed_without_integers(model):
    net = load(model)
    net.facts = net.facts.model_copy(update={"quantization": made({"encoder.layer1.0.conv1": (0.0, 1.0)})})
    assert ranges_of(net, "float32") == {"encoder.layer1.0.conv1": (0.0, 1.0)}
    assert ranges_of(net, "bfloat16") == {}


def test_auto_lets_integers_change_twice_as_many_labels_as_were_told(model, shapes, monkeypatch):
    pytest.importorskip("openvino")
    net, image = load(model), open_dataset(shapes).val[0].image
    ranges = input_ranges(net, open_dataset(shapes).train)
    times = {"eager": 1.0}
    monkeypatch.setattr(engines, "_timed", lambda engine, given: (engine(given), times.get(engine.name, 0.1)))
    # half of what the layers take is cut off, so that some labels change
    narrow = {name: (low / 2, high / 2) for name, (low, high) in ranges.items()}
    for told, taken in ((0.9999, False), (0.0, True)):
        net.facts = net.facts.model_copy(update={"quantization": made(narrow, agreement=told)})
        _, decision = fastest(net, image, "float32", ["openvino"], lambda text: None)
        assert 0.9 < decision["agreement"]["openvino"] < 0.9998
        assert (decision["engine"] == "openvino") == taken


def test_what_is_refused(model, shapes, tmp_path, capsys):
    command = ["quantize", str(model), str(shapes)]
    assert run([*command, "-o", str(tmp_path)]) == 2
    assert "-o quick.safetensors" in capsys.readouterr().err
    assert run([*command, "-o", str(tmp_path / "a"), "--images", "0"]) == 2
    assert "one image or more" in capsys.readouterr().err
    assert run([*command, "-o", str(tmp_path / "a"), "--split", "vall"]) == 2
    assert "train, val or test" in capsys.readouterr().err
    lonely = build("fullres", encoder="image", classes=2, options=NetworkOptions(decoder_channels=(6,)))
    with pytest.raises(OptionError, match="no convolution that integers suit"):
        input_ranges(lonely.eval(), open_dataset(shapes).val)
    sliding = build("patch", encoder="lenet", classes=2)
    with pytest.raises(OptionError, match="slides over the image"):
        input_ranges(sliding.eval(), open_dataset(shapes).val)


def test_a_split_without_images_or_without_labels(model, shapes, tmp_path, capsys):
    pytest.importorskip("openvino")
    data = open_dataset(shapes)
    with pytest.raises(DataError, match="which ranges are measured on, holds no image") as caught:
        quantized(load(model), data.train.evenly(0), data.val)
    assert "images of training" in caught.value.remedy
    shutil.copytree(shapes, tmp_path / "data")
    for item in data.val.pairs:
        path = tmp_path / "data" / item.mask.relative_to(shapes)
        with PIL.Image.open(path) as mask:
            blank = PIL.Image.fromarray(np.full(mask.size[::-1], 255, np.uint8))
        blank.save(path)
    out = tmp_path / "quick.safetensors"
    assert run(["quantize", str(model), str(tmp_path / "data"), "-o", str(out)]) == 2
    assert "no pixel of the val split has a class" in capsys.readouterr().err
    assert not out.exists()


def test_a_map_made_in_integers_is_another_map(model, shapes, tmp_path):
    pytest.importorskip("openvino")
    rasterio = pytest.importorskip("rasterio")
    net, data = load(model), open_dataset(shapes)
    image, scene, out = data.val[0].image, tmp_path / "scene.tif", tmp_path / "map.tif"
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)}
    with rasterio.open(
        scene, "w", driver="GTiff", height=64, width=64, count=3, dtype="uint8", **place
    ) as target:
        target.write(np.moveaxis(image, 2, 0))
    options = SceneOptions(resume=True)
    made_again = []
    plain = predict_scene(net, scene, out, options=options)
    assert not plain.resumed
    net.facts = net.facts.model_copy(update={"quantization": made(input_ranges(net, data.train))})
    for engine in (None, open_engine(net, "openvino"), open_engine(net, "openvino"), None):
        made_again.append(not predict_scene(net, scene, out, options=options, engine=engine).resumed)
    assert made_again == [False, True, False, True]  # the eager one does not go by ranges


def test_images_that_it_learnt_from_are_told(model, shapes, tmp_path, capsys):
    pytest.importorskip("openvino")
    assert run(["quantize", str(model), str(shapes), "-o", str(tmp_path / "a"), "--split", "train"]) == 0
    assert "results on them are too good" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changed",
    [{"ranges": {}}, {"ranges": {"a": (1.0, 0.0)}}, {"ranges": {"a": (0.0, float("inf"))}}, {"agreement": 2}],
)
def test_a_quantization_that_makes_no_sense(changed):
    with pytest.raises(ValueError, match=r"range|agreement"):
        made(**{"ranges": {"a": (0.0, 1.0)}} | changed)


def test_ranges_of_another_network_are_refused(model, tmp_path):
    facts = BundleFacts(quantization=made({"encoder.layer9.conv": (0.0, 1.0)}))
    path = save(load(model), tmp_path / "other.safetensors", facts=facts)
    with pytest.raises(BundleError, match=r"range for 'encoder.layer9.conv'"):
        load(path)
