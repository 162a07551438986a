"""Training from another network's weights: what moves, how fast, and exactly again after a stop."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

import pixelwise as pw
from pixelwise.data.views import open_images
from pixelwise.errors import BundleError, OptionError
from pixelwise.models.autoencoder import AutoencoderOptions
from pixelwise.models.bundle import BundleFacts, load_network, save
from pixelwise.models.classifier import ClassifierOptions
from pixelwise.models.interfaces import EncoderOptions, NetworkOptions
from pixelwise.models.tasks import build_classifier
from pixelwise.models.weights import load_encoder_weights
from pixelwise.models.zoo import ENCODERS, make_encoder
from pixelwise.training import forgetting as forgetting_module
from pixelwise.training.forgetting import forgetting
from pixelwise.training.optim import make_optimizer
from pixelwise.training.options import OptimOptions, TrainOptions
from pixelwise.training.step import Stepper
from pixelwise.training.transfer import Transfer, TransferOptions, encoder_stages
from pixelwise.types import Normalization

NARROW = 0.125
GREY = Normalization((100.0, 110.0, 120.0), (50.0, 60.0, 70.0))
SMALL = TrainOptions(
    epochs=4,
    batch=2,
    size=(32, 32),
    validations=2,
    checkpoint_seconds=0,
    precision="float32",
    network=NetworkOptions(encoder_width=NARROW, decoder_channels=(8, 8)),
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A classifier with random weights and statistics, as a bundle of its own data."""
    torch.manual_seed(7)
    options = ClassifierOptions(encoder_width=NARROW)
    network = build_classifier(encoder="resnet18", classes=4, normalization=GREY, options=options)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.5, 0.5)
            part.running_var.uniform_(0.5, 2)
    folder = tmp_path_factory.mktemp("source")
    return save(network, folder / "model.safetensors", facts=BundleFacts(dtype="uint8"))


def options(source, **settings):
    return replace(SMALL, transfer=TransferOptions(encoder_weights=str(source), **settings))


def trained(shapes, out, options, **more):
    """The network as it stood after the last step, without averaging."""
    options = replace(options, optim=OptimOptions(ema=0.0))
    run = pw.train(pw.open_dataset(shapes), out=out, options=options, **more)
    return pw.load(run.folder / "checkpoint" / "last.safetensors")


def changed(network, source):
    """Names of the tensors of the encoder that are not those of the source, counters left out."""
    pairs = zip(
        network.encoder.state_dict().items(), load_network(source).encoder.state_dict().items(), strict=True
    )
    return {
        name for (name, now), (_, then) in pairs if now.is_floating_point() and not torch.equal(now, then)
    }


def floats(network):
    return {name for name, tensor in network.encoder.state_dict().items() if tensor.is_floating_point()}


def test_full_moves_the_whole_encoder(shapes, source, tmp_path):
    network = trained(shapes, tmp_path / "r", options(source))
    assert changed(network, source) == floats(network)


def test_last_moves_nothing_of_the_encoder(shapes, source, tmp_path):
    network = trained(shapes, tmp_path / "r", options(source, strategy="last"))
    assert changed(network, source) == set()
    torch.manual_seed(SMALL.seed)
    fresh = pw.build("unet", classes=3, options=SMALL.network)
    assert not torch.equal(network.head.weight, fresh.head.weight)


def test_last_with_batch_norms_that_follow(shapes, source, tmp_path):
    network = trained(shapes, tmp_path / "r", options(source, strategy="last", batch_norm="train"))
    norms = {name for name, part in network.encoder.named_modules() if isinstance(part, nn.BatchNorm2d)}
    assert changed(network, source) == {name for name in floats(network) if name.rpartition(".")[0] in norms}


@pytest.mark.parametrize("layers", [1, 3])
def test_partial_moves_the_deepest_stages(shapes, source, tmp_path, layers):
    network = trained(shapes, tmp_path / "r", options(source, strategy="partial", layers=layers))
    deepest = [f"layer{number}." for number in (4, 3, 2, 1)[:layers]]
    assert changed(network, source) == {name for name in floats(network) if name.startswith(tuple(deepest))}


@pytest.mark.parametrize(("unfreeze", "moves"), [(1.0, False), (0.9, True), (0.0, True)])
def test_staged_moves_the_encoder_late(shapes, source, tmp_path, unfreeze, moves):
    network = trained(shapes, tmp_path / "r", options(source, strategy="staged", unfreeze=unfreeze))
    assert changed(network, source) == (floats(network) if moves else set())


class Stopped(Exception):
    """A power cut."""


@pytest.mark.parametrize("stop", [3, 8])  # before and after the encoder thaws, which is at step 6 of 12
def test_a_staged_run_is_resumed_exactly_without_its_source(shapes, source, tmp_path, monkeypatch, stop):
    copy = shutil.copy(source, tmp_path / "copy.safetensors")
    chosen = options(copy, strategy="staged", unfreeze=0.5)
    data = pw.open_dataset(shapes)
    whole = pw.train(data, out=tmp_path / "whole", options=chosen)
    run = Stepper.run
    count = iter(range(100))

    def cut(*arguments, **more):
        if next(count) == stop:
            raise Stopped
        return run(*arguments, **more)

    monkeypatch.setattr(Stepper, "run", cut)
    with pytest.raises(Stopped):
        pw.train(data, out=tmp_path / "parts", options=chosen)
    monkeypatch.undo()
    copy.unlink()
    parts = pw.train(data, out=tmp_path / "parts", resume=True)
    assert contents(parts) == contents(whole)
    assert pw.load(parts.folder).normalization == GREY


def contents(run):
    """Every value of the best and of the last weights; with the moving average."""
    files = (run.folder, run.folder / "checkpoint" / "last.safetensors")
    return [{name: t.numpy().tobytes() for name, t in pw.load(file).state_dict().items()} for file in files]


def test_rates_by_group(source, shapes):
    torch.manual_seed(0)
    network = pw.build("unet", classes=3, options=SMALL.network)
    for strategy, scales in (
        ("full", {0.2: {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"}}),
        (
            "staged",
            {0.2: {"layer4"}, 0.1: {"layer3"}, 0.05: {"layer2"}, 0.025: {"layer1"}, 0.0125: {"conv1", "bn1"}},
        ),
    ):
        transfer = Transfer(network, TransferOptions(str(source), strategy, encoder_lr=0.2))
        optimizer = make_optimizer(network, OptimOptions(weight_decay=0.3), transfer)
        names = {id(parameter): name for name, parameter in network.named_parameters()}
        found = {}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                part, _, rest = names.pop(id(parameter)).partition(".")
                where = rest.partition(".")[0] if part == "encoder" else part
                found.setdefault(group["lr_scale"], set()).add(where)
                assert group["weight_decay"] == (0.3 if parameter.ndim > 1 else 0.0)
        assert not names
        assert found == {1.0: {"decoder"}} | scales


def test_a_step_scales_the_rate_of_each_group(source):
    """AdamW's first step moves every weight by lr * scale (its first moments cancel), where gradients are large."""
    torch.manual_seed(0)
    network = pw.build("unet", classes=3, options=SMALL.network)
    transfer = Transfer(network, TransferOptions(str(source), "staged", unfreeze=0.25, encoder_lr=0.5))
    optimizer = make_optimizer(network, OptimOptions(weight_decay=0.0), transfer)
    task = SimpleNamespace(
        forward=lambda network, images: [1e6 * p.sum() for p in network.parameters() if p.requires_grad],
        loss=lambda outputs, *_: torch.stack(outputs).sum(),
    )
    stepper = Stepper(
        network, task, optimizer, precision="float32", loss=None, weights=None, transfer=transfer
    )
    batch = SimpleNamespace(images=torch.zeros(1), labels=torch.zeros(1))
    for progress, encoder_moves in ((0.2, False), (0.25, True)):
        before = {name: p.detach().clone() for name, p in network.named_parameters()}
        optimizer.state.clear()
        stepper.run(batch, lr=0.01, progress=progress)
        moved = {name: (before[name] - p.detach()).double() for name, p in network.named_parameters()}
        torch.testing.assert_close(moved["decoder.head.weight"].mean().item(), 0.01, rtol=1e-3, atol=0)
        for number in range(1, 5):
            expected = 0.01 * 0.5 * 0.5 ** (4 - number) if encoder_moves else 0.0
            found = moved[f"encoder.layer{number}.0.conv1.weight"].mean().item()
            assert found == pytest.approx(expected, rel=1e-3, abs=0)


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_stages_by_what_a_change_reaches(name):
    """A parameter of stage n changes no map before the n-th map that has parameters of its own, and changes that."""
    torch.manual_seed(0)
    encoder = make_encoder(name, 3, EncoderOptions(width=NARROW)).eval()
    network = SimpleNamespace(encoder=encoder, bands=3)
    stages = encoder_stages(network)
    parameters = {f"encoder.{key}": value for key, value in encoder.named_parameters()}
    assert sorted(key for stage in stages for key in stage) == sorted(parameters)
    image = torch.rand(1, 3, 2 * encoder.multiple, 2 * encoder.multiple) - 0.5
    with torch.no_grad():
        plain = [m.clone() for m in encoder(image)]
        firsts = []
        for stage in stages:
            key = next(key for key in stage if parameters[key].ndim > 1)
            value = parameters[key].clone()
            parameters[key].mul_(-1.5)
            firsts.append(next(i for i, m in enumerate(encoder(image)) if not torch.equal(m, plain[i])))
            parameters[key].copy_(value)
    assert firsts == sorted(set(firsts))
    assert firsts[:1] == ([0] if parameters else [])


def test_images_are_normalised_as_the_weights_expect(shapes, source, tmp_path, capsys):
    once = replace(options(source), epochs=1.0)
    assert (
        pw.load(pw.train(pw.open_dataset(shapes), out=tmp_path / "w", options=once).folder).normalization
        == GREY
    )
    assert "images are normalised as the weights expect: 100 ± 50" in capsys.readouterr().err
    other = replace(once, transfer=replace(once.transfer, normalization="data"))
    own = pw.load(pw.train(pw.open_dataset(shapes), out=tmp_path / "d", options=other).folder).normalization
    scratch = pw.train(pw.open_dataset(shapes), out=tmp_path / "s", options=replace(SMALL, epochs=1.0))
    assert own == pw.load(scratch.folder).normalization != GREY


def test_an_autoencoder_trained_without_labels_gives_its_encoder(shapes, tmp_path):
    images = open_images(shapes / "images")
    unlabelled = replace(
        SMALL, task="reconstruct", epochs=1.0, autoencoder=AutoencoderOptions(encoder_width=NARROW)
    )
    first = pw.train(images, out=tmp_path / "first", options=unlabelled)
    network = trained(shapes, tmp_path / "second", options(first.folder, strategy="last"))
    assert changed(network, first.model) == set()


def test_what_cannot_be_transferred(shapes, source, tmp_path):
    with pytest.raises(OptionError, match="would freeze an encoder that has learnt nothing"):
        TransferOptions(strategy="last")
    data = pw.open_dataset(shapes)
    with pytest.raises(OptionError, match="resnet18 has 5 stages"):
        pw.train(data, out=tmp_path / "a", options=options(source, strategy="partial", layers=6))
    with pytest.raises(BundleError, match="the network has resnet34"):
        pw.train(data, out=tmp_path / "b", options=replace(options(source), encoder="resnet34"))
    for wrong in ({"layers": 0}, {"unfreeze": 1.5}, {"encoder_lr": 0.0}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            TransferOptions("x", **wrong)


def test_other_bands_begin_with_adapted_weights(source, tmp_path, capsys):
    rng = np.random.default_rng(0)
    for index in range(4):
        for kind, values in (
            ("images", rng.integers(0, 255, (32, 32))),
            ("masks", rng.integers(0, 2, (32, 32))),
        ):
            path = tmp_path / "data" / kind / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(values.astype(np.uint8)).save(path)
    network = trained(
        tmp_path / "data", tmp_path / "r", replace(options(source, strategy="last"), epochs=1.0)
    )
    said = capsys.readouterr().err
    assert "knew 3 bands and now takes 1" in said
    assert "know 3 bands, the data have 1" in said
    stem = load_network(source).encoder.conv1.weight
    torch.testing.assert_close(network.encoder.conv1.weight, stem.sum(1, keepdim=True))


def test_a_frozen_encoder_forgets_nothing(shapes, tmp_path):
    data = pw.open_dataset(shapes)
    first = pw.train(data, out=tmp_path / "first", options=SMALL)
    frozen = pw.train(data, out=tmp_path / "frozen", options=options(first.folder, strategy="last"))
    kept = forgetting(first.folder, frozen.folder, data.test)
    assert kept.lost == 0
    assert (kept.after.confusion == kept.before.confusion).all()
    assert kept.before.mean_iou == pw.evaluate(pw.load(first.folder), data.test).mean_iou


@pytest.mark.parametrize("bands", [1, 5])
def test_a_frozen_encoder_forgets_nothing_on_images_of_other_bands(source, bands):
    first = load_network(source)
    second = pw.build("unet", classes=3, bands=bands, options=SMALL.network)
    load_encoder_weights(second, source)
    mixed = forgetting_module.transplanted(first, second)
    assert all(torch.equal(mixed.state_dict()[name], value) for name, value in first.state_dict().items())


def test_an_exchanged_encoder_forgets_much(shapes, tmp_path):
    data = pw.open_dataset(shapes)
    first = pw.train(
        data,
        out=tmp_path / "first",
        options=replace(SMALL, encoder="lenet", epochs=10.0, network=NetworkOptions()),
    )
    torch.manual_seed(1)
    stranger = pw.build("unet", encoder="lenet", classes=5, normalization=GREY)
    lost = forgetting(first.folder, stranger, data.test)
    assert lost.before.mean_iou > 0.7
    assert lost.lost > 0.3
    assert lost.as_dict()["lost"] == lost.before.mean_iou - lost.after.mean_iou


def test_what_forgetting_compares(source):
    head = pw.build("unet", classes=3, options=SMALL.network)
    other = pw.build(
        "fcn32s", classes=9, options=replace(SMALL.network, decoder_channels=None), normalization=GREY
    )
    mixed = forgetting_module.transplanted(head, other)
    state = mixed.state_dict()
    assert all(torch.equal(state[f"encoder.{n}"], t) for n, t in other.encoder.state_dict().items())
    assert all(torch.equal(state[f"decoder.{n}"], t) for n, t in head.decoder.state_dict().items())
    assert mixed.normalization == GREY
    torch.manual_seed(0)
    four = pw.build("unet", classes=3, bands=4, options=SMALL.network)
    mixed = forgetting_module.transplanted(head, four)
    assert mixed.normalization == head.normalization
    grey = torch.randn(2, 1, 32, 32)
    with torch.inference_mode():  # a grey image gets the answer of the second encoder
        ours = mixed.encoder(grey.expand(-1, 3, -1, -1))
        theirs = four.eval().encoder(grey.expand(-1, 4, -1, -1))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    with pytest.raises(BundleError, match="misshapen"):
        forgetting_module.transplanted(head, pw.build("unet", classes=3))
