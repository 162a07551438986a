"""What an encoder announces and what a decoder builds on; neither knows the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from pixelwise.errors import OptionError

Norm = Literal["batch", "group", "instance", "none"]
Upsampling = Literal["nearest", "bilinear", "transposed", "unpool"]

# Options that belong to some decoders only. The others concern every network: its norm, dropout and width, one
# logit or two, and where the encoder stops shrinking.
DIALS = frozenset(
    {
        "decoder_channels",
        "head_kernel",
        "padding",
        "patch",
        "pooling_window",
        "rates",
        "squeeze_excitation",
        "stacks",
        "upsampling",
    }
)


@dataclass(frozen=True)
class Level:
    """One feature map.

    Attributes:
        channels: How many it has.
        stride: Image pixels that one of its pixels spans, along an axis.
        pooled: The encoder goes on by max pooling this very map with a 2 x 2 window, as VGG does. Decoders that
            want the pooled map (FCN) can make it again.
        margin: Image pixels that convolutions without padding have cut off on every side: the map spans
            H - 2 margin image pixels. 0 wherever padding keeps the size.
    """

    channels: int
    stride: int
    pooled: bool = False
    margin: int = 0


@dataclass(frozen=True)
class EncoderOptions:
    """What a network asks of its encoder.

    Attributes:
        width: Multiplies every width; 1 is the paper's.
        output_stride: 8 or 16 stop the shrinking there: later stages dilate instead (Chen et al. 2017). None
            leaves the encoder as it is.
        norm: Normalisation of the encoders that are not tied to published weights.
        padding: `aligned` makes every map exactly H / stride x W / stride; `paper` keeps the published padding,
            which the published weights of classifiers expect; `valid` has none at all (U-Net).
    """

    width: float = 1.0
    output_stride: int | None = None
    norm: Norm = "batch"
    padding: Literal["aligned", "paper", "valid"] = "aligned"


class Encoder(nn.Module):
    """Turns images [N, C, H, W] into feature maps, finest first.

    Attributes:
        levels: Announces the maps. Their strides grow from one to the next, except that stages which dilate keep
            theirs. With `aligned` padding and H, W multiples of `multiple`, sizes are exactly H / stride x W / stride.
            With `valid` padding they are (H - 2 margin) / stride where that is a whole number for the deepest map.
        multiple: What H and W must be a multiple of.
        counts_places: The paper's head has a weight per place of the deepest map, so images are padded to `multiple`
            for it too; others take images as they come.
        stem: Name of the layer that sees the image, whose weights are adapted to other bands.
    """

    levels: tuple[Level, ...]
    stem: str = "conv1"
    counts_places: ClassVar[bool] = False

    @property
    def multiple(self) -> int:
        """The stride of the deepest map."""
        return max(level.stride for level in self.levels)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return one map [N, level.channels, H / level.stride, W / level.stride] per level."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def auxiliary_heads(self, classes: int) -> nn.ModuleDict:
        """Further classifiers on middle maps that the paper trains along; most papers have none."""
        return nn.ModuleDict()

    def with_auxiliary(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The maps of `forward`, and those that the auxiliary heads judge, from one pass."""
        return self(images), []

    def paper_head(self, classes: int, size: tuple[int, int] | None = None) -> nn.Module:
        """The paper's classifier: the deepest map [N, C, h, w] to logits [N, classes].

        Global average pooling and one dense layer, unless the encoder says otherwise; `size` is that of the
        images, for papers whose dense layers depend on it.
        """
        return nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(self.levels[-1].channels, classes)
        )


class Decoder(nn.Module):
    """Turns an encoder's feature maps into logits.

    Attributes:
        stride: Image pixels that one pixel of the logits spans.
        head: The last layer with weights; its outputs are classes.
        encoder: The encoder that it is built on where none is named.
        output_stride: What the decoder asks of the encoder where the options say nothing.
        dials: The options it heeds among `DIALS`; any other that is set is refused rather than ignored.
        margin: Image pixels that its logits lack on every side; 0 unless padding is `valid`.
        window: Window and step in pixels, for a decoder that judges one window at a time and yields one pixel of
            logits for it. The segmenter cuts the windows; `stride` is the step.
    """

    stride: int
    head: nn.Module
    encoder: ClassVar[str] = "resnet18"
    output_stride: ClassVar[int | None] = None
    dials: ClassVar[frozenset[str]] = frozenset()
    margin: int = 0
    window: tuple[int, int] | None = None

    def __init__(self, levels: Sequence[Level], options: NetworkOptions, outputs: int) -> None:
        """Build for maps as `levels` announce them and `outputs` logits per pixel; refuse what cannot be joined."""
        super().__init__()
        for dial in sorted(DIALS - self.dials):
            if getattr(options, dial) != getattr(NetworkOptions, dial):
                heeded = ", ".join(sorted(self.dials)) or "none of those"
                raise OptionError(
                    f"{dial} is {getattr(options, dial)!r}, and {type(self).__name__} has no such option",
                    remedy=f"leave it out; it has: {heeded}",
                )
        if options.pooling_window is not None:
            self._check_window(options)

    def _check_window(self, options: NetworkOptions) -> None:
        """Refuse a pooling window where nothing is pooled over the image, or maps are no whole cells."""
        pooled = options.squeeze_excitation or "rates" in self.dials  # a pyramid has an image pool
        if not pooled or options.padding == "valid":
            why = "valid padding cuts its maps" if pooled else "nothing is averaged over the image"
            raise OptionError(
                f"pooling_window is {options.pooling_window}, and {why}",
                remedy="leave it out" if pooled else "leave it out, or set squeeze_excitation",
            )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits [N, outputs, H / stride, W / stride]."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def every(self, features: Sequence[Tensor]) -> list[Tensor]:
        """All logits that training judges, the last one being `forward`'s; stacked networks have several."""
        return [self(features)]


@dataclass(frozen=True)
class NetworkOptions:
    """The dials of a network that are not its name. None takes the model's own, as its paper has it.

    Attributes:
        decoder_channels: Widths of the decoder's blocks, coarse to fine. Each block of a U-Net doubles the
            resolution, so leaving out the last one gives logits at stride 2.
        upsampling: How a decoder enlarges its maps; `unpool` puts values back where the maxima of the encoder's
            map of that size lie.
        norm: Normalisation in the decoder, and in encoders that are not tied to published weights.
        squeeze_excitation: Weigh channels by what the whole image shows, in every decoder block.
        pooling_window: Image pixels over which squeeze-and-excitation and the image pool of a pyramid average around
            each place, rounded up to an odd number of the deepest strides; None for the whole image. With a window
            the network sees no further than its layers reach, so that scenes can be mapped exactly in tiles.
        dropout: Share of decoder channels dropped before the head, 0..1.
        one_logit: Two classes only: one logit for the second class instead of two.
        head_kernel: Size of the last convolution, 1 or 3.
        padding: `valid` convolutions without padding (U-Net only); the image is mirrored around instead.
        output_stride: Stride at which the encoder stops shrinking and dilates instead: 8 or 16.
        rates: Dilation of the branches of atrous spatial pyramid pooling.
        encoder_width: Multiplies every width of the encoder; 1 is the paper's.
        stacks: Hourglasses one after the other, each judged in training.
        patch: Window and step, in pixels, of the sliding classifier.
    """

    decoder_channels: tuple[int, ...] | None = None
    upsampling: Upsampling | None = None
    norm: Norm = "batch"
    squeeze_excitation: bool | None = None
    pooling_window: int | None = None
    dropout: float = 0.0
    one_logit: bool = False
    head_kernel: int | None = None
    padding: Literal["same", "valid"] = "same"
    output_stride: int | None = None
    rates: tuple[int, ...] | None = None
    encoder_width: float = 1.0
    stacks: int = 1
    patch: tuple[int, int] = (32, 8)

    def __post_init__(self) -> None:
        if self.decoder_channels is not None and min(self.decoder_channels, default=0) < 1:
            raise OptionError(
                f"decoder_channels is {self.decoder_channels}", remedy="give positive widths, coarse to fine"
            )
        if self.pooling_window is not None and self.pooling_window < 1:
            raise OptionError(
                f"pooling_window is {self.pooling_window}",
                remedy="give a number of pixels such as 512, or leave it out",
            )
        if not 0 <= self.dropout < 1:
            raise OptionError(f"dropout is {self.dropout}", remedy="give a number in 0..1, below 1")
        if self.head_kernel not in (None, 1, 3):
            raise OptionError(f"head_kernel is {self.head_kernel}", remedy="give 1 or 3")
        if self.output_stride not in (None, 8, 16):
            raise OptionError(
                f"output_stride is {self.output_stride}", remedy="give 8 or 16, or leave it out"
            )
        if self.rates is not None and min(self.rates, default=0) < 1:
            raise OptionError(f"rates is {self.rates}", remedy="give positive dilations such as 12, 24, 36")
        if not 0 < self.encoder_width <= 8:
            raise OptionError(
                f"encoder_width is {self.encoder_width}", remedy="give a number in 0..8, above 0"
            )
        if not 1 <= self.stacks <= 16:
            raise OptionError(f"stacks is {self.stacks}", remedy="give 1 to 16")
        window, step = self.patch
        if not 1 <= step <= window:
            raise OptionError(f"patch is {self.patch}", remedy="give a window and a step that is not larger")
