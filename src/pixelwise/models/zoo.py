"""The one table from names to builders."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pixelwise.errors import OptionError, close_matches
from pixelwise.models.decoders.asymmetric import AsymmetricUNet
from pixelwise.models.decoders.deeplab import DeepLabV3, DeepLabV3Plus
from pixelwise.models.decoders.fcn import FCN8s, FCN16s, FCN32s
from pixelwise.models.decoders.fullres import FullResolution
from pixelwise.models.decoders.hourglass import StackedHourglass
from pixelwise.models.decoders.patch import PatchClassifier
from pixelwise.models.decoders.segnet import SegNet
from pixelwise.models.decoders.unet import UNet
from pixelwise.models.encoders import timm
from pixelwise.models.encoders.alexnet import AlexNet
from pixelwise.models.encoders.googlenet import GoogLeNet
from pixelwise.models.encoders.image import ImageEncoder
from pixelwise.models.encoders.lenet import LeNet
from pixelwise.models.encoders.mobilenet import MobileNetV1
from pixelwise.models.encoders.resnet import resnet18, resnet34, resnet50
from pixelwise.models.encoders.smallcnn import SmallCNN
from pixelwise.models.encoders.unet import UNetEncoder
from pixelwise.models.encoders.vgg import vgg16, vgg16_bn
from pixelwise.models.encoders.xception import Xception
from pixelwise.models.interfaces import Decoder, Encoder, EncoderOptions, NetworkOptions
from pixelwise.models.segmenter import Segmenter
from pixelwise.ops.colors import distinct_colors
from pixelwise.types import MAX_CLASSES, ClassSpec, Normalization

# name -> builder(bands, options)
ENCODERS: dict[str, Callable[[int, EncoderOptions], Encoder]] = {
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "vgg16": vgg16,
    "vgg16_bn": vgg16_bn,
    "unet": UNetEncoder,
    "mobilenet_v1": MobileNetV1,
    "xception": Xception,
    "googlenet": GoogLeNet,
    "alexnet": AlexNet,
    "lenet": LeNet,
    "small_cnn": SmallCNN,
    "image": ImageEncoder,
}

# name -> class(levels, options, outputs)
DECODERS: dict[str, type[Decoder]] = {
    "unet": UNet,
    "fcn32s": FCN32s,
    "fcn16s": FCN16s,
    "fcn8s": FCN8s,
    "segnet": SegNet,
    "hourglass": StackedHourglass,
    "deeplabv3": DeepLabV3,
    "deeplabv3plus": DeepLabV3Plus,
    "asymmetric_unet": AsymmetricUNet,
    "fullres": FullResolution,
    "patch": PatchClassifier,
}

AUTO = "auto"
"""In the place of an encoder: the one that the model is built on where none is named."""

Builder = TypeVar("Builder")

# Means and deviations of ImageNet's images in 0..255, for three bands that nobody measured.
IMAGENET = Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


@dataclass(frozen=True)
class Entry:
    """A row of `pixelwise models`."""

    kind: str
    name: str
    paper: str


def build(
    name: str = "unet",
    *,
    encoder: str = AUTO,
    classes: int | Sequence[str] | Sequence[ClassSpec] = 2,
    bands: int = 3,
    normalization: Normalization | None = None,
    options: NetworkOptions | None = None,
) -> Segmenter:
    """Build a network with random weights.

    Args:
        name: A decoder of the table, such as `unet`.
        encoder: An encoder of the table; `auto` is `resnet18`, or another one that the model needs.
        classes: Their number, their names, or names and colours; 2..255 of them.
        bands: Bands of the images, at least 1.
        normalization: Per-band mean and deviation in the units of the image files; by default ImageNet's for
            three bands, and 127.5 for every band otherwise.
        options: Everything else.

    Raises:
        OptionError: an unknown name, a number out of range, or a pair that cannot be joined.

    >>> net = build("unet", encoder="resnet18", classes=11)
    >>> sum(p.numel() for p in net.parameters())
    14329659
    """
    options = options or NetworkOptions()
    specs = class_specs(classes)
    if options.one_logit and len(specs) != 2:
        raise OptionError(
            f"one_logit is for two classes, there are {len(specs)}", remedy="leave out one_logit"
        )
    normalization = default_normalization(bands, normalization)
    model, encoder = lookup(DECODERS, "model", name), encoder_for(name, encoder)
    wishes = EncoderOptions(
        width=options.encoder_width,
        output_stride=options.output_stride or model.output_stride,
        norm=options.norm,
        padding="valid" if options.padding == "valid" else "aligned",
    )
    built = make_encoder(encoder, bands, wishes)
    decoder = model(built.levels, options, 1 if options.one_logit else len(specs))
    return Segmenter(
        built, decoder, names=(name, encoder), classes=specs, normalization=normalization, options=options
    )


def make_encoder(name: str, bands: int, options: EncoderOptions) -> Encoder:
    """The encoder called `name` with random weights; `timm:NAME` is timm's network of that name.

    Raises:
        OptionError: an unknown name, or options that it cannot meet.
        MissingExtraError: `timm:NAME` without timm.
    """
    if name.startswith(timm.PREFIX):
        return timm.timm_encoder(name.removeprefix(timm.PREFIX), bands, options)
    return lookup(ENCODERS, "encoder", name)(bands, options)


def default_normalization(bands: int, given: Normalization | None) -> Normalization:
    """The given normalisation if it fits; ImageNet's for three bands, and 127.5 for every band otherwise.

    Raises:
        OptionError: no band, or a normalisation for another number of bands.
    """
    if bands < 1:
        raise OptionError(f"bands is {bands}", remedy="give a number of at least 1")
    if given is None:
        return IMAGENET if bands == 3 else Normalization((127.5,) * bands, (127.5,) * bands)
    if given.bands != bands:
        raise OptionError(
            f"the normalisation is for {given.bands} bands, the network has {bands}",
            remedy="give one mean and one std per band",
        )
    return given


def class_specs(classes: int | Sequence[str] | Sequence[ClassSpec]) -> tuple[ClassSpec, ...]:
    """Names and colours of classes given as a number, as names or in full."""
    count = classes if isinstance(classes, int) else len(classes)
    if not 2 <= count <= MAX_CLASSES:
        raise OptionError(f"{count} classes", remedy=f"give 2 to {MAX_CLASSES} classes")
    items: list[str | ClassSpec]
    items = [f"class_{index}" for index in range(count)] if isinstance(classes, int) else [*classes]
    pairs = zip(items, distinct_colors(len(items)), strict=True)
    return tuple(item if isinstance(item, ClassSpec) else ClassSpec(item, color) for item, color in pairs)


def entries() -> list[Entry]:
    """Everything that can be built, with the paper it comes from."""
    tables: list[tuple[str, dict[str, Callable[..., object]]]] = [
        ("model", {**DECODERS}),
        ("encoder", {**ENCODERS}),
    ]
    return [Entry(kind, name, _paper(builder)) for kind, table in tables for name, builder in table.items()]


def _paper(builder: Callable[..., object]) -> str:
    """First line of the module that defines `builder`: title, authors and year."""
    doc = sys.modules[builder.__module__].__doc__ or ""
    return doc.splitlines()[0]


def encoder_for(model: str, encoder: str = AUTO) -> str:
    """The encoder that is meant: `auto` is the one that `model` is built on where none is named.

    Raises:
        OptionError: an unknown model.

    >>> encoder_for("fullres"), encoder_for("unet"), encoder_for("unet", "vgg16")
    ('image', 'resnet18', 'vgg16')
    """
    return lookup(DECODERS, "model", model).encoder if encoder == AUTO else encoder


def check_names(model: str, encoder: str) -> None:
    """Refuse names that are in no table; what timm knows is not asked.

    Raises:
        OptionError: with the closest names.
    """
    lookup(DECODERS, "model", model)
    if encoder != AUTO and not encoder.startswith(timm.PREFIX):
        lookup(ENCODERS, "encoder", encoder)


def lookup(table: Mapping[str, Builder], kind: str, name: str) -> Builder:
    """The builder called `name`, or an error with the closest names."""
    if name not in table:
        raise OptionError(f"no {kind} is called {name!r}", remedy=close_matches(name, table))
    return table[name]
