"""MobileNet v1 from TensorFlow.js, judged by Keras' definitions written in NumPy and by real photographs."""

import hashlib
import io
import json

import numpy as np
import PIL.Image
import pytest
import torch

from pixelwise.errors import BundleError
from pixelwise.models.interfaces import EncoderOptions
from pixelwise.models.tfjs import convert_tfjs_mobilenet
from pixelwise.models.zoo import make_encoder

WIDTHS = (16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256)  # a quarter of the paper's
HALVING = (2, 4, 6, 12)


def keras_arrays():
    """Random values under Keras' names, in the shapes of a MobileNet v1 of width 0.25."""
    rng = np.random.default_rng(3)
    arrays = {"conv1/kernel": rng.normal(0, 0.3, (3, 3, 3, 8))}
    norms = {"conv1": 8}
    channels = 8
    for number, width in enumerate(WIDTHS, 1):
        arrays[f"conv_dw_{number}/depthwise_kernel"] = rng.normal(0, 0.4, (3, 3, channels, 1))
        arrays[f"conv_pw_{number}/kernel"] = rng.normal(0, 1.5 / np.sqrt(channels), (1, 1, channels, width))
        norms |= {f"conv_dw_{number}": channels, f"conv_pw_{number}": width}
        channels = width
    for name, count in norms.items():
        arrays[f"{name}_bn/gamma"] = rng.uniform(0.5, 2, count)
        arrays[f"{name}_bn/beta"] = rng.normal(0.5, 1, count)
        arrays[f"{name}_bn/moving_mean"] = rng.normal(0, 0.3, count)
        arrays[f"{name}_bn/moving_variance"] = rng.uniform(0.0005, 2, count)  # small ones show the epsilon
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def write_tfjs(folder, arrays, *, sums=True, without=()):
    """The folder that TensorFlow.js would write; norms of a layer share a file, as there."""
    groups = {}
    for name in sorted(arrays):
        groups.setdefault(name if "kernel" in name else name.partition("/")[0], []).append(name)
    groups["classifier"] = ["conv_preds/kernel"]
    arrays = arrays | {"conv_preds/kernel": np.zeros((1, 1, 256, 10), np.float32)}
    manifest, lines = [], []
    folder.mkdir(parents=True)
    for number, names in enumerate(groups.values(), 1):
        file = f"group{number}-shard1of1"
        data = b"".join(arrays[name].astype("<f4").tobytes() for name in names)
        weights = [{"name": n, "shape": arrays[n].shape, "dtype": "float32"} for n in names]
        manifest.append({"paths": [file], "weights": weights})
        lines.append(f"{hashlib.sha256(data).hexdigest()}  {file}")
        if not set(names) & set(without):
            (folder / file).write_bytes(data)
    text = json.dumps({"modelTopology": {}, "weightsManifest": manifest})
    (folder / "model.json").write_text(text)
    lines.append(f"{hashlib.sha256(text.encode()).hexdigest()}  model.json")
    if sums:
        (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n")
    return folder


def same_padded(x, kernel, stride, *, depthwise):
    """Keras' Conv2D with padding `same` on [H, W, C]: what does not divide evenly goes after the edge."""
    edge = kernel.shape[0]
    pads = []
    for size in x.shape[:2]:
        total = max((-(-size // stride) - 1) * stride + edge - size, 0)
        pads.append((total // 2, total - total // 2))
    x = np.pad(x, (*pads, (0, 0)))
    rows, columns = (-(-(size - edge + 1) // stride) for size in x.shape[:2])
    total = 0
    for i in range(edge):
        for j in range(edge):
            part = x[i : i + rows * stride : stride, j : j + columns * stride : stride]
            total = total + (part * kernel[i, j, :, 0] if depthwise else part @ kernel[i, j])
    return total


def keras_forward(arrays, x):
    """The activations of every layer on [H, W, 3], as Keras 2 defines them."""
    maps = {}
    names = ["conv1"] + [f"conv_{kind}_{number}" for number in range(1, 14) for kind in ("dw", "pw")]
    for name in names:
        depthwise = name.startswith("conv_dw")
        kernel = arrays[f"{name}/{'depthwise_kernel' if depthwise else 'kernel'}"].astype(np.float64)
        halves = name == "conv1" or (depthwise and int(name.rpartition("_")[2]) in HALVING)
        x = same_padded(x, kernel, 2 if halves else 1, depthwise=depthwise)
        gamma, beta, mean, variance = (
            arrays[f"{name}_bn/{key}"] for key in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        x = np.clip((x - mean) / np.sqrt(variance + 1e-3) * gamma + beta, 0, 6)
        maps[name] = x
    return maps


@pytest.fixture(scope="module")
def arrays():
    return keras_arrays()


@pytest.fixture(scope="module")
def folder(arrays, tmp_path_factory):
    return write_tfjs(tmp_path_factory.mktemp("tfjs") / "net", arrays)


def quarter(tensors):
    encoder = make_encoder("mobilenet_v1", 3, EncoderOptions(width=0.25))
    encoder.load_state_dict(tensors)
    return encoder.eval()


def test_the_converted_encoder_computes_what_keras_defines(folder, arrays):
    encoder = quarter(convert_tfjs_mobilenet(folder).tensors)
    image = np.random.default_rng(0).uniform(-1, 1, (64, 96, 3))
    expected = keras_forward(arrays, image)
    with torch.no_grad():
        maps = encoder(torch.from_numpy(image).permute(2, 0, 1)[None].float())
    for got, layer in zip(
        maps, ("conv_pw_1", "conv_pw_3", "conv_pw_5", "conv_pw_11", "conv_pw_13"), strict=True
    ):
        want = expected[layer].transpose(2, 0, 1)[None]
        assert got.shape == want.shape
        assert want.std() > 0.3
        np.testing.assert_allclose(got.numpy(), want, atol=2e-3)


def test_a_missing_last_kernel_leaves_the_features_before_it(arrays, tmp_path):
    folder = write_tfjs(tmp_path / "net", arrays, without=["conv_pw_13/kernel"])
    weights = convert_tfjs_mobilenet(folder)
    assert any("conv_pw_13 was not in the source" in note for note in weights.notes)
    image = np.random.default_rng(0).uniform(-1, 1, (64, 64, 3))
    with torch.no_grad():
        deepest = quarter(weights.tensors)(torch.from_numpy(image).permute(2, 0, 1)[None].float())[-1]
    np.testing.assert_allclose(
        deepest.numpy(), keras_forward(arrays, image)["conv_dw_13"].transpose(2, 0, 1)[None], atol=2e-3
    )


def damaged(folder, name):
    listed = json.loads((folder / "model.json").read_text())["weightsManifest"]
    (file,) = (g["paths"][0] for g in listed if any(w["name"] == name for w in g["weights"]))
    return folder / file


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: f.write_bytes(f.read_bytes()[:-1] + b"\x7f"), "does not match its SHA-256"),
        (
            lambda f: f.write_bytes(f.read_bytes()[:-8]),
            r"has 1144 bytes, conv_dw_4/depthwise_kernel are 1152",
        ),
        (lambda f: f.unlink(), "cannot be read .* conv_dw_4/depthwise_kernel"),
        (lambda f: (f.parent / "model.json").write_text("{}"), "does not match its SHA-256"),
    ],
)
def test_a_damaged_group_is_named(arrays, tmp_path, harm, message):
    folder = write_tfjs(tmp_path / "net", arrays)
    harm(damaged(folder, "conv_dw_4/depthwise_kernel"))
    with pytest.raises(BundleError, match=message):
        convert_tfjs_mobilenet(folder)


@pytest.mark.parametrize(
    "manifest",
    [
        "no json",
        "[]",
        '{"weightsManifest": [{"paths": ["../secret"], "weights": []}]}',
        '{"weightsManifest": [{"paths": ["a"], "weights": [{"name": "x", "shape": [1], "dtype": "int32"}]}]}',
    ],
)
def test_other_folders_are_refused(tmp_path, manifest):
    (tmp_path / "model.json").write_text(manifest)
    with pytest.raises(BundleError, match="lists no weights that can be read"):
        convert_tfjs_mobilenet(tmp_path)


def test_a_folder_without_a_manifest_is_named(tmp_path):
    with pytest.raises(BundleError, match=r"model\.json: cannot be read: No such file"):
        convert_tfjs_mobilenet(tmp_path)


def test_another_network_is_refused(arrays, tmp_path):
    other = {name: array for name, array in arrays.items() if not name.startswith("conv_pw_7")}
    with pytest.raises(BundleError, match="has no tensor conv_pw_7/kernel"):
        convert_tfjs_mobilenet(write_tfjs(tmp_path / "net", other))


@pytest.fixture(scope="module")
def real(shared_data):
    return convert_tfjs_mobilenet(shared_data("weights") / "mobilenet_v1_1.0_224_tfjs")


def photographs(shared_data):
    """16 photographs as [16, 3, 224, 224] in 0..255: seven of several collections, nine of streets."""
    formats = shared_data("formats")
    found = (
        file for part in ("ade20k", "voc", "labelme_embedded") for file in (formats / part).rglob("*.jpg")
    )
    files = {file.stem: file for file in found}
    streets = sorted((shared_data("camvid") / "images" / "train").glob("*.jpg"))[::40]
    chosen = [*(files[stem] for stem in sorted(files)), *streets][:16]
    squares = []
    for file in chosen:
        with PIL.Image.open(io.BytesIO(file.read_bytes())) as image:
            scale = 224 / min(image.size)
            width, height = (max(224, round(edge * scale)) for edge in image.size)
            left, top = (width - 224) // 2, (height - 224) // 2
            scaled = image.convert("RGB").resize((width, height), PIL.Image.Resampling.BILINEAR)
            squares.append(np.asarray(scaled.crop((left, top, left + 224, top + 224))))
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float()


def agreement(encoder, x):
    """Per batch norm, how the moments of what comes in correlate with the stored ones."""
    rows = {}
    with torch.no_grad():
        for name, layer in encoder.features.named_children():
            if isinstance(layer, torch.nn.BatchNorm2d) and name != "conv_pw_13_bn":
                moments = ((x.mean((0, 2, 3)), layer.running_mean), (x.var((0, 2, 3)), layer.running_var))
                rows[name] = [float(np.corrcoef(*pair)[0, 1]) for pair in moments]
            x = layer(x)
    return rows


def test_photographs_have_the_statistics_that_the_real_weights_were_trained_with(real, shared_data):
    """No layer could agree if a kernel, a norm, a stride, the padding or the scaling were read wrongly."""
    encoder = make_encoder("mobilenet_v1", 3, EncoderOptions())
    encoder.load_state_dict(real.tensors)
    encoder.eval()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (real.normalization.mean, real.normalization.std))
    pictures = photographs(shared_data)
    assert len(pictures) == 16
    rows = agreement(encoder, (pictures - mean) / std)
    first, last = rows.pop("conv1_bn"), rows.pop("conv_dw_13_bn")
    assert first[0] > 0.7  # three colours of 16 pictures are few
    assert min(row[0] for row in rows.values()) > 0.98
    assert min(row[1] for row in rows.values()) > 0.8
    assert np.median([row[1] for row in rows.values()]) > 0.92
    assert min(last) > 0.8
    for layer in encoder.features:  # and the bounds do tell: the same with the padding before the edge
        if isinstance(layer, torch.nn.ZeroPad2d):
            layer.padding = (1, 0, 1, 0)
    wrong = agreement(encoder, (pictures - mean) / std)
    assert min(row[1] for row in wrong.values()) < 0.6


def test_the_real_weights_say_where_they_come_from(real):
    assert (real.encoder, real.dtype) == ("mobilenet_v1", "uint8")
    assert "Apache-2.0" in real.licence
    counted = sum(tensor.numel() for tensor in real.tensors.values() if tensor.is_floating_point())
    assert counted == 3_228_864  # Keras' summary of MobileNet without its top, moving statistics included
