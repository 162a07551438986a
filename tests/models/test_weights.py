"""Encoder weights from files, models and a server of this machine, and what is refused."""

import functools
import hashlib
import http.server
import pickle
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pixelwise.errors import BundleError, OptionError
from pixelwise.models import encoderfiles
from pixelwise.models.autoencoder import AutoencoderOptions
from pixelwise.models.bundle import BundleFacts, save
from pixelwise.models.classifier import ClassifierOptions
from pixelwise.models.download import CACHE_VARIABLE, DownloadError
from pixelwise.models.encoderfiles import EncoderWeights, read_encoder_weights, save_encoder_weights
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.published import PUBLISHED, Published
from pixelwise.models.tasks import build_autoencoder, build_classifier
from pixelwise.models.weights import load_encoder_weights, put_encoder_weights
from pixelwise.models.zoo import ENCODERS, IMAGENET, build
from pixelwise.types import Normalization

NARROW = 0.125
GREY = Normalization((100.0,) * 3, (50.0,) * 3)


def segmenter(encoder="resnet18", *, seed=1, bands=3, width=NARROW):
    torch.manual_seed(seed)
    options = NetworkOptions(encoder_width=width, decoder_channels=(8, 8))
    return build("unet", encoder=encoder, classes=3, bands=bands, options=options)


def classifier(encoder="resnet18", *, seed=2, bands=3):
    torch.manual_seed(seed)
    options = ClassifierOptions(encoder_width=NARROW)
    return build_classifier(encoder=encoder, classes=4, bands=bands, normalization=GREY, options=options)


def same(first, second):
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def state(network):
    return {name: tensor.clone() for name, tensor in network.encoder.state_dict().items()}


@pytest.mark.parametrize("task", ["classify", "reconstruct", "segment"])
def test_a_bundle_of_any_task_gives_its_encoder(task, tmp_path):
    if task == "classify":
        source = classifier()
    elif task == "reconstruct":
        torch.manual_seed(4)
        options = AutoencoderOptions(encoder_width=NARROW, code=8)
        source = build_autoencoder(encoder="resnet18", normalization=GREY, options=options)
    else:
        source = segmenter(seed=5)
    folder = tmp_path / "run"
    save(source, folder / "model.safetensors", facts=BundleFacts(dtype="uint8", licence="CC0"))
    network = segmenter()
    before = {name: tensor.clone() for name, tensor in network.decoder.state_dict().items()}
    assert not same(network.encoder, source.encoder)
    loaded = load_encoder_weights(network, folder)
    assert same(network.encoder, source.encoder)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.decoder.state_dict().items())
    assert loaded.normalization == source.normalization
    assert (loaded.licence, loaded.tensors) == ("CC0", len(source.encoder.state_dict()))
    assert loaded.left_out == ()


def test_layers_of_a_classifier_are_left_out_and_counted(tmp_path):
    source = classifier()
    tensors = state(source) | {"fc.weight": torch.ones(4, 64), "fc.bias": torch.zeros(4)}
    save_file(tensors, tmp_path / "net.safetensors")
    network = segmenter()
    loaded = load_encoder_weights(network, tmp_path / "net.safetensors")
    assert same(network.encoder, source.encoder)
    assert loaded.left_out == ("fc.bias", "fc.weight")
    assert "2 of a classifier left out" in loaded.lines()[0]
    assert loaded.normalization is None


def test_a_whole_network_with_an_encoder_inside_gives_that(tmp_path):
    source = segmenter(seed=9)
    save_file(source.state_dict(), tmp_path / "net.safetensors")
    network = segmenter()
    loaded = load_encoder_weights(network, tmp_path / "net.safetensors")
    assert same(network.encoder, source.encoder)
    assert len(loaded.left_out) == len(source.decoder.state_dict())


@pytest.mark.parametrize("form", ["plain", "nested", "parallel", "old"])
def test_files_of_torch_save(form, tmp_path):
    source = classifier()
    tensors = state(source)
    if form == "parallel":
        tensors = {f"module.{name}": tensor for name, tensor in tensors.items()}
    if form == "old":  # of before batch norms counted batches
        tensors = {name: t for name, t in tensors.items() if not name.endswith("num_batches_tracked")}
    torch.save({"state_dict": tensors, "epoch": 3} if form == "nested" else tensors, tmp_path / "net.pth")
    network = segmenter()
    load_encoder_weights(network, tmp_path / "net.pth")
    assert same(network.encoder, source.encoder)


class Harmful:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path):
    torch.save({"conv1.weight": torch.ones(1), "x": Harmful(tmp_path / "trace")}, tmp_path / "net.pth")
    with pytest.raises(BundleError, match="no file of tensors alone"):
        read_encoder_weights(tmp_path / "net.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Harmful(tmp_path / "trace")))
    with pytest.raises(BundleError):
        read_encoder_weights(tmp_path / "plain.pth")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"\x80\x02]q\x00."])
def test_damaged_files_are_named(content, tmp_path):
    for name in ("net.pth", "net.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BundleError, match=name):
            read_encoder_weights(tmp_path / name)


def test_what_is_no_source_is_refused(tmp_path):
    with pytest.raises(BundleError, match="no such file or folder"):
        read_encoder_weights(tmp_path / "none.pth")
    (tmp_path / "net.h5").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"suffix '\.h5'"):
        read_encoder_weights(tmp_path / "net.h5")
    (tmp_path / "js").mkdir()
    (tmp_path / "js" / "model.json").write_text("{}")
    with pytest.raises(BundleError, match="pixelwise weights convert"):
        read_encoder_weights(tmp_path / "js")


def test_another_networks_weights_are_refused_with_what_differs():
    weights = EncoderWeights("file", None, state(classifier()))
    network = segmenter("resnet34")
    before = state(network)
    with pytest.raises(BundleError) as caught:
        put_encoder_weights(network, weights)
    missing = sorted(
        k for k in before.keys() - weights.tensors.keys() if not k.endswith("num_batches_tracked")
    )
    assert f"lacks {len(missing)} ({', '.join(missing[:5])}, ...)" in str(caught.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in state(network).items())
    unknown = put_error(segmenter(), EncoderWeights("file", None, state(segmenter("resnet34"))))
    assert "has unknown" in unknown
    shapes = put_error(segmenter(width=0.25), weights)
    assert "has misshapen" in shapes
    assert "bn1.bias 8 for 16" in shapes
    named = put_error(segmenter("resnet34"), EncoderWeights("file", "resnet18", {}))
    assert "holds weights of resnet18, the network has resnet34" in named


def put_error(network, weights):
    with pytest.raises(BundleError) as caught:
        put_encoder_weights(network, weights)
    return str(caught.value)


def test_values_that_are_not_finite_are_refused():
    tensors = state(classifier())
    tensors["layer1.0.bn1.bias"][0] = float("nan")
    assert "not finite in layer1.0.bn1.bias" in put_error(segmenter(), EncoderWeights("file", None, tensors))


@pytest.mark.parametrize("bands", [1, 2, 4, 8])
def test_other_bands_answer_a_grey_image_as_before(bands):
    source = classifier().eval()
    network = segmenter(bands=bands).eval()
    loaded = put_encoder_weights(network, EncoderWeights("file", "resnet18", state(source)))
    assert f"knew 3 bands and now takes {bands}" in loaded.adapted
    grey = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = source.encoder(grey.expand(-1, 3, -1, -1))
        found = network.encoder(grey.expand(-1, bands, -1, -1))
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_the_normalisation_is_used_only_where_it_fits():
    weights = EncoderWeights("file", None, {}, GREY, "uint8")
    assert weights.normalization_for(3, "uint8") == (
        GREY,
        "images are normalised as the weights expect: " + ", ".join(["100 ± 50"] * 3),
    )
    for bands, dtype, reason in ((4, "uint8", "know 3 bands"), (3, "uint16", "know uint8 values")):
        found, why = weights.normalization_for(bands, dtype)
        assert found is None
        assert reason in why
    assert EncoderWeights("file", None, {}).normalization_for(3, "uint8")[0] is None


def test_a_file_of_encoder_weights_says_what_it_is(tmp_path):
    weights = EncoderWeights("made here", "resnet18", state(classifier()), GREY, "uint8", "CC0", ("a note",))
    path = save_encoder_weights(tmp_path / "net.safetensors", weights)
    again = read_encoder_weights(path)
    assert (again.encoder, again.normalization, again.dtype) == ("resnet18", GREY, "uint8")
    assert (again.licence, again.notes, again.source) == ("CC0", ("a note",), str(path))
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in weights.tensors.items())
    with pytest.raises(OptionError, match="unknown origin"):
        save_encoder_weights(path, EncoderWeights("here", None, {}))


def test_the_table_of_published_weights():
    for name, entry in PUBLISHED.items():
        assert entry.encoder in ENCODERS, name
        assert entry.url.startswith("https://")
        assert entry.url.endswith(f"-{entry.sha256}.pth")
        assert len(entry.sha256) >= 8
    # what torchvision computes inside GoogLeNet: x (0.229, 0.224, 0.225) / 0.5 + ((0.485, 0.456, 0.406) - 0.5) / 0.5
    value = torch.arange(256, dtype=torch.float64)[:, None]
    mean, std = (
        torch.tensor(numbers, dtype=torch.float64)
        for numbers in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    inside = (value / 255 - mean) / std * std / 0.5 + (mean - 0.5) / 0.5
    ours = PUBLISHED["googlenet"].normalization
    torch.testing.assert_close(inside, (value - torch.tensor(ours.mean)) / torch.tensor(ours.std))


@pytest.fixture
def hub(tmp_path, monkeypatch, loopback):
    """A server of this machine that publishes weights of a narrow ResNet18 as `small`."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    source = classifier()
    (tmp_path / "www").mkdir()
    torch.save(state(source) | {"fc.weight": torch.ones(4, 64)}, tmp_path / "www" / "small.pth")
    digest = hashlib.sha256((tmp_path / "www" / "small.pth").read_bytes()).hexdigest()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "www"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/small.pth"
    entry = Published("resnet18", url, digest[:8], 1, "CC0", IMAGENET)
    monkeypatch.setitem(encoderfiles.PUBLISHED, "small", entry)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    yield source
    server.shutdown()
    thread.join()
    server.server_close()


def test_published_weights_come_by_name_once(hub, tmp_path):
    said = []
    for _ in range(2):
        network = segmenter()
        loaded = load_encoder_weights(network, "hub:small", say=said.append)
        assert same(network.encoder, hub.encoder)
        assert (loaded.normalization, loaded.licence, loaded.left_out) == (IMAGENET, "CC0", ("fc.weight",))
        assert "research" in loaded.lines()[-1]
    assert len(said) == 1
    assert "about 1 MB, from 127.0.0.1" in said[0]
    assert (tmp_path / "cache" / "weights" / "small.pth").exists()


def test_published_weights_without_a_network_or_of_no_such_name(hub, tmp_path, monkeypatch):
    with pytest.raises(OptionError, match="did you mean 'resnet18'"):
        read_encoder_weights("hub:resnet_18")
    entry = encoderfiles.PUBLISHED["small"]
    gone = Published("resnet18", "http://127.0.0.1:9/small.pth", entry.sha256, 1, "CC0", IMAGENET)
    monkeypatch.setitem(encoderfiles.PUBLISHED, "small", gone)
    with pytest.raises(DownloadError, match=r"no connection to 127\.0\.0\.1"):
        read_encoder_weights("hub:small")
