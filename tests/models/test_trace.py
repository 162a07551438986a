"""The rows of a trace, judged by hooks on a real run, by hand and by published counts."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from pixelwise.models.autoencoder import AutoencoderOptions
from pixelwise.models.catalogue import catalogue
from pixelwise.models.classifier import ClassifierOptions
from pixelwise.models.graph import record
from pixelwise.models.interfaces import EncoderOptions, NetworkOptions
from pixelwise.models.rows import layer_rows
from pixelwise.models.stages import IMAGE
from pixelwise.models.tasks import build_autoencoder, build_classifier, build_localizer
from pixelwise.models.trace import describe, describe_encoder
from pixelwise.models.zoo import DECODERS, ENCODERS, build, make_encoder

NETWORKS = [
    ("unet", "resnet34", NetworkOptions()),
    ("unet", "resnet18", NetworkOptions(decoder_channels=(16, 8), upsampling="bilinear")),
    ("segnet", "vgg16_bn", NetworkOptions(encoder_width=0.25)),
    ("fcn8s", "vgg16", NetworkOptions(encoder_width=0.25, decoder_channels=(8, 8), upsampling="transposed")),
    ("deeplabv3plus", "xception", NetworkOptions(encoder_width=0.25)),
    ("asymmetric_unet", "googlenet", NetworkOptions(encoder_width=0.25)),
    ("hourglass", "mobilenet_v1", NetworkOptions(encoder_width=0.25, stacks=2)),
]


@pytest.mark.parametrize(("name", "encoder", "options"), NETWORKS)
def test_sizes_and_parameters_equal_a_real_run(name, encoder, options):
    net = build(name, encoder=encoder, classes=4, options=options).eval()
    seen = {}
    for path, module in net.named_modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.MaxPool2d)):
            module.register_forward_hook(lambda m, i, o, path=path: seen.update({path: tuple(o.shape[1:])}))
    with torch.inference_mode():
        net(torch.zeros(1, 3, 70, 100))
    facts = describe(net, size=(70, 100))
    traced = {row.name: row.output for row in facts.rows if row.name in seen}
    assert traced == seen
    assert (
        sum(row.parameters for row in facts.rows)
        == facts.parameters
        == sum(p.numel() for p in net.parameters())
    )


@pytest.mark.parametrize(("name", "encoder", "options"), NETWORKS)
def test_multiply_adds_equal_torchs_counter(name, encoder, options):
    net = build(name, encoder=encoder, classes=4, options=options).eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net.core(torch.zeros(1, 3, 64, 96))
    assert describe(net, size=(64, 96)).multiply_adds * 2 == counter.get_total_flops()


def test_multiply_adds_of_single_layers_by_hand():
    """Grouped: each output channel sees 2 of 8; transposed: each input pixel gives 4 x 4; linear: 12 x 5."""
    network = nn.Sequential(
        nn.Conv2d(8, 12, (3, 5), groups=4),  # 10 x 10 to 8 x 6
        nn.ConvTranspose2d(12, 4, 4, stride=2, bias=False),  # to 18 x 14
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )
    traced = record(network, lambda net, x: net(x), torch.empty(1, 8, 10, 10, device="meta"))
    rows = [*layer_rows(traced.operations, [None] * len(traced.operations))]
    assert [(row.name, row.output, row.parameters, row.multiply_adds) for row in rows] == [
        ("0", (12, 8, 6), 12 * 2 * 15 + 12, 12 * 2 * 15 * 48),
        ("1", (4, 18, 14), 12 * 4 * 16, 12 * 4 * 16 * 48),
        ("2", (4, 1, 1), 0, 0),
        ("3", (4, 1, 1), 0, 0),
        ("4", (5, 1, 1), 25, 20),
    ]


def test_shared_weights_are_counted_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return F.relu(self.conv(self.conv(x))) + x

    traced = record(Twice(), lambda net, x: net(x), torch.empty(1, 3, 4, 4, device="meta"))
    rows = [*layer_rows(traced.operations, [None] * len(traced.operations))]
    assert [(row.kind, row.parameters, row.multiply_adds) for row in rows] == [
        ("Conv2d", 84, 81 * 16),
        ("Conv2d", 0, 81 * 16),
        ("add", 0, 0),
    ]


def test_multiply_adds_and_halo_of_unet_on_resnet18():
    """43.6 billion operations at 512 x 512, and 281 and 250 pixels: computed elsewhere by hand-written counters."""
    facts = describe(build("unet", classes=6))
    assert facts.multiply_adds * 2 / 1e9 == pytest.approx(43.6, abs=0.05)
    assert facts.halo == (281, 250)


def test_the_halo_is_what_gradients_reach_in_the_network_as_it_is():
    """Rows, in two dimensions and with everything but the maxima; with positive weights nothing cancels."""
    net = build("unet", classes=2).eval().double()
    with torch.no_grad():
        for parameter in net.parameters():  # means, so that values neither grow nor vanish over the layers
            parameter.fill_(1.0 if parameter.ndim == 1 else 1 / parameter[0].numel())
    net.encoder.maxpool = nn.AvgPool2d(3, stride=2, padding=1)  # the same windows; a maximum has one gradient
    image = torch.ones(1, 3, 1024, 32, dtype=torch.double, requires_grad=True)
    rows = net(image)[0, 0, 512:544].sum()  # a tile cut at multiples of the stride
    reached = torch.autograd.grad(rows, image)[0].abs().sum((0, 1, 3)).nonzero()[:, 0]
    assert (512 - int(reached[0]), int(reached[-1]) - 543) == describe(net).halo


# Published sizes of receptive fields: Araujo, Norris, Sim: Computing Receptive Fields of Convolutional Neural
# Networks, 2019 (https://distill.pub/2019/computing-receptive-fields), table 1. Theirs for VGG16 and MobileNet
# end at the last feature map, as ours do.
PUBLISHED = {"vgg16": 212, "mobilenet_v1": 315, "alexnet": 195}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_receptive_fields(name):
    encoder = make_encoder(name, 3, EncoderOptions(width=0.125))
    assert describe_encoder(encoder).field == PUBLISHED[name]


def test_the_first_layer_sees_its_kernel():
    assert describe(build("unet")).rows[0].field == 7


def test_nothing_of_the_network_changes():
    net = build("unet").train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    describe(net, size=(64, 64))
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_a_sliding_classifier_costs_its_windows():
    options = NetworkOptions(patch=(32, 8))
    facts = describe(build("patch", options=options), size=(100, 64))
    one = describe_encoder(make_encoder("resnet18", 3, EncoderOptions()), size=(32, 32))
    assert facts.windows == 13 * 8
    assert facts.multiply_adds == 104 * (one.multiply_adds + 2 * 512)
    assert facts.rows[-1].output == (2, 13, 8)
    assert facts.rows[-1].field == facts.field == 32
    assert facts.shown == (32, 32)


def test_other_tasks():
    classifier = describe(build_classifier(classes=5), size=(64, 64))
    assert classifier.rows[-1].output == (5, 1, 1)
    assert classifier.whole == "AdaptiveAvgPool2d (head.0)"
    flat = describe(build_classifier(options=ClassifierOptions(head="flatten", size=(32, 32))), size=(32, 32))
    assert flat.halo is None
    assert describe(build_localizer(), size=(64, 64)).whole == "AdaptiveAvgPool2d (pool.0)"
    restored = describe(build_autoencoder(options=AutoencoderOptions(code=4)), size=(64, 96))
    assert restored.rows[-1].output == (3, 64, 96)
    assert restored.halo is not None


def links(name, encoder, **options):
    stages = describe(build(name, encoder=encoder, options=NetworkOptions(**options)), size=(64, 64)).stages
    return [
        (stage.part[0] + str(stage.stride), *((link.stage, link.join) for link in stage.links))
        for stage in stages
    ]


def test_stages_of_a_u_net():
    assert links("unet", "resnet18") == [
        ("e2", (IMAGE, "")),
        ("e4", (0, "")),
        ("e8", (1, "")),
        ("e16", (2, "")),
        ("e32", (3, "")),
        ("d16", (4, ""), (3, "concatenate")),
        ("d8", (5, ""), (2, "concatenate")),
        ("d4", (6, ""), (1, "concatenate")),
        ("d2", (7, ""), (0, "concatenate")),
        ("d1", (8, "")),
    ]


def test_stages_of_other_decoders():
    assert links("deeplabv3plus", "resnet18")[3:] == [
        ("e16", (2, "")),
        ("e16", (3, "")),
        ("d16", (4, "")),
        ("d4", (5, ""), (1, "concatenate")),
    ]
    assert links("fcn8s", "vgg16", encoder_width=0.125, decoder_channels=(8, 8))[5:] == [
        ("e32", (4, "")),
        ("d32", (5, "")),
        ("d16", (6, ""), (3, "add")),
        ("d8", (7, ""), (2, "add")),
    ]
    assert links("segnet", "unet", encoder_width=0.125)[4:7] == [
        ("e16", (3, "")),
        ("d16", (4, "")),  # to the channels of the next map
        ("d8", (5, ""), (3, "switches")),
    ]
    assert links("hourglass", "resnet18", stacks=2)[5:] == [
        ("d32", (4, "")),
        ("d16", (5, ""), (3, "add")),
        ("d8", (6, ""), (2, "add")),
        ("d4", (7, ""), (1, "add")),
        ("d8", (8, "")),
        ("d16", (9, "")),
        ("d32", (10, "")),
        ("d16", (11, ""), (10, "add")),
        ("d8", (12, ""), (9, "add")),
        ("d4", (13, ""), (8, "add")),
    ]


def test_padding_belongs_to_the_layer_it_is_for():
    assert [stage for stage, *_ in links("unet", "mobilenet_v1")][:6] == [
        "e2",
        "e4",
        "e8",
        "e16",
        "e32",
        "d16",
    ]


def test_stages_of_other_tasks():
    autoencoder = describe(build_autoencoder(encoder="vgg16"), size=(64, 64)).stages
    assert [(stage.part, stage.stride) for stage in autoencoder] == [
        *(("encoder", stride) for stride in (1, 2, 4, 8, 16, 32)),
        *(("decoder", stride) for stride in (32, 16, 8, 4, 2, 1)),
    ]
    *_, deepest, head = describe(build_classifier(classes=5), size=(64, 64)).stages
    assert (deepest.part, deepest.stride, deepest.output) == ("encoder", 32, (512, 2, 2))
    assert (head.part, head.stride, head.output) == ("head", None, (5, 1, 1))


def test_the_catalogue_has_everything_once_with_the_counts_of_real_networks():
    rows = [*catalogue()]
    assert [row.entry.name for row in rows] == [*DECODERS, *ENCODERS]
    found = {(row.entry.kind, row.entry.name): row for row in rows}
    for kind, name in [
        ("model", "unet"),
        ("model", "fullres"),
        ("encoder", "resnet18"),
        ("encoder", "lenet"),
    ]:
        row = found[kind, name]
        if kind == "model":
            real = build(name, encoder=row.encoder, classes=2)
        else:
            real = make_encoder(name, 3, EncoderOptions())
        assert row.facts.parameters == sum(p.numel() for p in real.parameters())
    assert found["model", "unet"].encoder == "resnet18"
    assert found["model", "fullres"].encoder == "image"
    assert found["model", "deeplabv3"].as_dict()["halo"].startswith("global: AdaptiveAvgPool2d")
    assert all(row.entry.paper for row in rows)
