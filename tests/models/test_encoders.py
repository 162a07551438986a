"""The encoders against published counts, the shapes their papers print, and laws; peers are in test_encoder_peers."""

import itertools
import json
import sys

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

from pixelwise.errors import MissingExtraError, OptionError
from pixelwise.losses import LossOptions
from pixelwise.models.classifier import ClassifierOptions
from pixelwise.models.interfaces import EncoderOptions
from pixelwise.models.tasks import build_classifier
from pixelwise.models.zoo import ENCODERS, make_encoder
from pixelwise.training.tasks import Classify

SMALL = 0.125
POOLED = {"vgg16": 5, "vgg16_bn": 5, "unet": 4, "lenet": 2, "small_cnn": 2, "googlenet": 1}
A_TROUS = ["alexnet", "googlenet", "xception", "mobilenet_v1"]


def build(name, bands=3, **options):
    torch.manual_seed(0)
    return make_encoder(name, bands, EncoderOptions(**options))


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def maps_of(name, size, bands=3, **options):
    """Shapes of the maps, without computing them."""
    with torch.device("meta"):
        encoder = build(name, bands, **options).eval()
        return encoder, [tuple(m.shape[1:]) for m in encoder(torch.empty(1, bands, *size))]


@pytest.mark.parametrize(
    ("name", "bands", "classes", "parameters"),
    [
        ("small_cnn", 1, 10, 462_858),  # course
        ("lenet", 1, 10, 107_786),  # course
        ("alexnet", 3, 1000, 61_100_840),  # torchvision, and below
        ("vgg16", 3, 1000, 138_357_544),
        ("vgg16_bn", 3, 1000, 138_365_992),
        ("googlenet", 3, 1000, 6_624_904),
        ("resnet18", 3, 1000, 11_689_512),
        ("resnet34", 3, 1000, 21_797_672),
        ("resnet50", 3, 1000, 25_557_032),
        ("xception", 3, 1000, 22_855_952),  # timm, Keras
        ("mobilenet_v1", 3, 1000, 4_231_976),  # Keras, trainable
    ],
)
def test_parameters_of_whole_classifiers_are_the_published_ones(name, bands, classes, parameters):
    with torch.device("meta"):
        encoder = build(name, bands, padding="paper")
        assert count(encoder, encoder.paper_head(classes)) == parameters


def test_googlenet_with_auxiliary_heads_has_the_published_parameters():
    with torch.device("meta"):
        encoder = build("googlenet")
        assert count(encoder, encoder.paper_head(1000), encoder.auxiliary_heads(1000)) == 13_004_888


@pytest.mark.parametrize(("width", "parameters"), [(0.25, 470_072), (0.5, 1_331_592), (0.75, 2_585_560)])
def test_narrow_mobilenets_have_the_published_parameters(width, parameters):
    with torch.device("meta"):
        encoder = build("mobilenet_v1", width=width)
        assert count(encoder, encoder.paper_head(1000)) == parameters


def test_the_contracting_path_without_norm_has_the_parameters_of_figure_1():
    edges = [1, 64, 128, 256, 512, 1024]
    pairs = [(a, b) for a, b in itertools.pairwise(edges)]
    by_hand = sum(9 * a * b + b + 9 * b * b + b for a, b in pairs)
    with torch.device("meta"):
        assert count(build("unet", 1, norm="none")) == by_hand


def test_mobilenet_fits_the_layers_of_a_published_file(shared_data):
    """Names and shapes of every stored kernel and statistic; the weights themselves are not read."""
    folder = shared_data("weights") / "mobilenet_v1_1.0_224_tfjs"
    manifest = json.loads((folder / "model.json").read_text())["weightsManifest"]
    stored = {weight["name"]: weight["shape"] for group in manifest for weight in group["weights"]}
    own = build("mobilenet_v1").features.state_dict()
    places = {
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    }
    seen = set()
    for name, shape in stored.items():
        layer, kind = name.split("/")
        if layer == "conv_preds":
            continue
        key = f"{layer}.{places.get(kind, 'weight')}"
        if kind == "kernel":
            shape = [shape[3], shape[2], *shape[:2]]
        elif kind == "depthwise_kernel":
            shape = [shape[2], shape[3], *shape[:2]]
        assert list(own[key].shape) == shape, name
        seen.add(key)
    assert set(own) - seen == {key for key in own if key.endswith("num_batches_tracked")}


def test_mobilenet_windows_begin_at_even_pixels_as_in_tensorflow():
    """`same` padding of 3 x 3 kernels at stride 2 is 0 before and 1 after even sizes."""
    encoder = build("mobilenet_v1", bands=1, width=SMALL)
    images = torch.rand(1, 1, 32, 64)
    beyond = F.pad(images, (0, 2, 0, 2))
    for row, column in itertools.product(range(3), range(3)):
        with torch.no_grad():
            encoder.features.conv1.weight.zero_()[:, :, row, column] = 1
            found = encoder.features.conv1(encoder.features.conv1_pad(images))
        assert torch.equal(found[:, :1], beyond[..., row : row + 32 : 2, column : column + 64 : 2])


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "xception"])
def test_first_weights_have_the_variance_of_he(name):
    """2 / (values that one input value reaches): 9 for a kernel that sees one map only."""
    checked = 0
    for module in build(name, width=0.5).modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 2000:
            per_map = module.weight[0, 0].numel()
            reached = per_map if module.groups > 1 else module.out_channels * per_map
            assert module.weight.std().item() == pytest.approx((2 / reached) ** 0.5, rel=0.1)
            assert module.bias is None or not module.bias.any()
            checked += 1
    assert checked > 10


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("output_stride", [None, 16, 8])
@pytest.mark.parametrize(("width", "bands"), [(SMALL, 1), (0.5, 3), (1.0, 5)])
def test_announced_levels_are_true(name, output_stride, width, bands):
    encoder, shapes = maps_of(name, (64, 96), bands, width=width, output_stride=output_stride)
    assert shapes == [(v.channels, 64 // v.stride, 96 // v.stride) for v in encoder.levels]
    assert encoder.multiple <= (output_stride or 32)
    strides = [v.stride for v in encoder.levels]
    assert strides == sorted(strides)
    assert len(set(strides)) == len(strides) or output_stride


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("lenet", [(6, 1), (16, 2), (16, 4)]),
        ("small_cnn", [(32, 1), (64, 2), (64, 4)]),
        ("alexnet", [(64, 4), (192, 8), (256, 16), (256, 32)]),
        ("vgg16", [(64, 1), (128, 2), (256, 4), (512, 8), (512, 16), (512, 32)]),
        ("googlenet", [(64, 2), (192, 4), (480, 8), (832, 16), (1024, 32)]),
        ("resnet50", [(64, 2), (256, 4), (512, 8), (1024, 16), (2048, 32)]),
        ("xception", [(64, 2), (128, 4), (256, 8), (728, 16), (2048, 32)]),
        ("mobilenet_v1", [(64, 2), (128, 4), (256, 8), (512, 16), (1024, 32)]),
        ("unet", [(64, 1), (128, 2), (256, 4), (512, 8), (1024, 16)]),
        ("image", [(3, 1)]),
    ],
)
def test_levels_at_full_width_are_those_of_the_papers(name, levels):
    with torch.device("meta"):
        assert [(v.channels, v.stride) for v in build(name).levels] == levels


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("output_stride", [None, 16, 8])
def test_pooled_levels_go_through_2_by_2_max_pooling_and_no_others_do(name, output_stride):
    encoder = build(name, width=SMALL, output_stride=output_stride).eval()
    pooled = []

    def note(module, inputs, _):
        pooled.append(inputs[0].data_ptr())

    for module in encoder.modules():
        if isinstance(module, nn.MaxPool2d) and (module.kernel_size, module.stride) == (2, 2):
            module.register_forward_hook(note)
    maps = encoder(torch.randn(1, 3, 64, 64))
    assert [v.pooled for v in encoder.levels] == [m.data_ptr() in pooled for m in maps]
    if output_stride is None:
        assert sum(v.pooled for v in encoder.levels) == POOLED.get(name, 0)


@pytest.mark.parametrize("name", ["vgg16", "lenet", "small_cnn"])
def test_the_last_level_is_the_pooled_one_before(name):
    *_, before, last = build(name, width=SMALL)(torch.randn(1, 3, 64, 64))
    assert torch.equal(F.max_pool2d(before, 2), last)


@pytest.mark.parametrize("name", A_TROUS)
@pytest.mark.parametrize("output_stride", [16, 8])
def test_dilated_maps_hold_those_of_the_shrinking_network(name, output_stride):
    """The algorithme a trous: the same weights see the same pixels, at more places."""
    shrinking = build(name, width=SMALL).double().eval()
    dense = build(name, width=SMALL, output_stride=output_stride).double().eval()
    dense.load_state_dict(shrinking.state_dict())
    images = torch.randn(1, 3, 128, 192, dtype=torch.float64)
    pairs = zip(shrinking(images), dense(images), shrinking.levels, dense.levels, strict=True)
    steps = []
    for coarse, fine, far, near in pairs:
        step = far.stride // near.stride
        assert coarse.std() > 1e-3
        assert torch.allclose(fine[..., ::step, ::step], coarse, rtol=1e-9, atol=1e-12)
        steps.append(step)
    assert steps[-1] == 32 // output_stride


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("output_stride", [None, 8])
def test_every_parameter_gets_a_gradient(name, output_stride):
    encoder = build(name, bands=2, width=SMALL, output_stride=output_stride)
    maps = encoder(torch.randn(2, 2, 64, 96, requires_grad=True))
    sum(m.square().mean() for m in maps).backward()
    without = [key for key, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("padding", ["aligned", "paper"])
def test_paper_heads_give_one_logit_per_class(name, padding):
    encoder = build(name, width=SMALL, padding=padding).eval()
    head = encoder.paper_head(7, (96, 64)).eval()
    logits = head(encoder(torch.randn(2, 3, 96, 64))[-1])
    assert logits.shape == (2, 7)
    assert torch.isfinite(logits).all()


def test_auxiliary_heads_judge_the_maps_of_the_same_pass():
    encoder = build("googlenet", width=SMALL).eval()
    images = torch.randn(2, 3, 64, 64)
    maps, inner = encoder.with_auxiliary(images)
    assert all(torch.equal(a, b) for a, b in zip(maps, encoder(images), strict=True))
    heads = encoder.auxiliary_heads(7).eval()
    assert [heads[key](m).shape for key, m in zip(heads, inner, strict=True)] == [(2, 7), (2, 7)]


@pytest.mark.parametrize("name", ENCODERS)
def test_symbolic_tracing_keeps_the_maps(name):
    encoder = build(name, width=SMALL).eval()
    images = torch.randn(1, 3, 64, 64)
    traced = fx.symbolic_trace(encoder)
    assert all(torch.equal(a, b) for a, b in zip(encoder(images), traced(images), strict=True))


@pytest.mark.parametrize("name", [n for n in ENCODERS if n != "unet"])
def test_only_the_unet_goes_without_padding(name):
    with pytest.raises(OptionError, match="no form without padding"):
        build(name, width=SMALL, padding="valid")


def test_valid_sizes_are_those_of_the_unet_paper():
    _, shapes = maps_of("unet", (572, 572), 1, padding="valid")
    assert shapes == [(64, 568, 568), (128, 280, 280), (256, 136, 136), (512, 64, 64), (1024, 28, 28)]
    with pytest.raises(OptionError, match="cannot dilate without padding"):
        build("unet", padding="valid", output_stride=8)


@pytest.mark.parametrize(
    ("name", "edge", "sizes"),
    [
        ("alexnet", 224, [55, 27, 13, 6]),
        ("vgg16", 224, [224, 112, 56, 28, 14, 7]),
        ("googlenet", 224, [112, 56, 28, 14, 7]),
        ("xception", 299, [147, 74, 37, 19, 10]),
        ("small_cnn", 28, [26, 11, 5]),
        ("lenet", 28, [28, 14, 7]),
    ],
)
def test_paper_padding_gives_the_sizes_of_the_papers(name, edge, sizes):
    _, shapes = maps_of(name, (edge, edge), padding="paper")
    assert [s[1:] for s in shapes] == [(size, size) for size in sizes]


def test_images_too_small_for_dense_layers_are_refused():
    encoder = build("small_cnn", padding="paper")
    with pytest.raises(OptionError, match="8 x 8 are too small"):
        encoder.paper_head(10, (8, 5))
    assert encoder.paper_head(10, (12, 12))(encoder(torch.zeros(1, 3, 12, 12))[-1]).shape == (1, 10)


@pytest.mark.parametrize("failure", [None, "built for another torch"])
def test_without_timm_one_sentence_says_so(failure, monkeypatch):
    if failure is None:
        monkeypatch.setitem(sys.modules, "timm", None)
    else:

        class Finder:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if name == "timm":
                    raise RuntimeError(failure)

        monkeypatch.delitem(sys.modules, "timm", raising=False)
        monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    with pytest.raises(MissingExtraError, match="need timm") as caught:
        build("timm:resnet18")
    assert "pixelwise[timm]" in caught.value.remedy
    assert failure is None or failure in caught.value.found


def test_a_published_head_takes_images_without_padding():
    options = ClassifierOptions(head="paper", encoder_width=0.125)
    network = build_classifier(encoder="xception", classes=3, options=options).eval()
    images = torch.randn(1, 3, 99, 99)  # an odd size: 99 is no multiple of 32, and stays 99
    with torch.inference_mode():
        expected = network.head(network.encoder(images)[-1])
        assert torch.equal(network(images), expected)
        assert network(torch.randn(1, 3, 5, 7)).shape == (
            1,
            3,
        )  # too small for the paper's convolutions alone


def test_auxiliary_classifiers_learn_and_leave_the_answer_alone():
    options = ClassifierOptions(head="paper", auxiliary=True, encoder_width=0.125)
    network = build_classifier(encoder="googlenet", classes=3, options=options)
    images, labels = torch.randn(2, 3, 64, 64), torch.zeros(2, 64, 64, dtype=torch.uint8)
    task = Classify()
    task.loss(task.forward(network, images), images, labels, LossOptions(), None).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.eval()
    main, first, second = network.every(images)
    torch.testing.assert_close(network(images), main)
    targets = torch.zeros(2, dtype=torch.long)
    parts = [torch.nn.functional.cross_entropy(logits, targets) for logits in (main, first, second)]
    expected = parts[0] + 0.3 * (parts[1] + parts[2])
    torch.testing.assert_close(
        task.loss(network.every(images), images, labels, LossOptions(), None), expected
    )


def test_auxiliary_classifiers_are_refused_where_there_are_none():
    with pytest.raises(OptionError, match="resnet18 has no auxiliary"):
        build_classifier(
            encoder="resnet18", classes=3, options=ClassifierOptions(head="paper", auxiliary=True)
        )
    with pytest.raises(OptionError, match="choose the head"):
        ClassifierOptions(auxiliary=True)
