"""The layers that several networks share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.errors import OptionError
from pixelwise.models.interfaces import Norm
from pixelwise.ops.depthwise import DepthwiseConv
from pixelwise.ops.join import doubled
from pixelwise.ops.norm import norm_relu


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, a multiple of 8 and at least 8; unchanged at width 1."""
    return channels if width == 1 else max(8, 8 * round(channels * width / 8))


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """The named normalisation; `group` takes groups of 8 channels, or one group where that does not divide."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "instance":
        return nn.GroupNorm(channels, channels)  # has weights, and works on a map of one pixel
    if norm == "group":
        return nn.GroupNorm(channels // 8 if channels % 8 == 0 else 1, channels)
    return nn.Identity()


class ConvNormAct(nn.Sequential):
    """Convolution, normalisation, ReLU.

    The size stays (for odd kernels) unless `stride` or `padding` say otherwise; the convolution has a bias only
    where no normalisation follows, or when `bias` asks for it.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        padding: int | None = None,
        norm: Norm = "batch",
        bias: bool | None = None,
    ) -> None:
        around = dilation * (kernel // 2) if padding is None else padding
        with_bias = norm == "none" if bias is None else bias
        convolution = nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=around, dilation=dilation, bias=with_bias
        )
        layers = [convolution, norm_layer(norm, outputs), nn.ReLU(inplace=True)]
        super().__init__(*(layer for layer in layers if not isinstance(layer, nn.Identity)))

    def forward(self, input: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H', W']."""
        return self.finish(self[0](input))

    def finish(self, convolved: Tensor) -> Tensor:
        """What comes after the convolution: [N, outputs, H', W'] of the same size."""
        _, *norm, relu = self
        result: Tensor = norm_relu(norm[0], relu, convolved) if norm else relu(convolved)
        return result


class Unpool(nn.Module):
    """Put each value where the maximum of its 2 x 2 window lies in `guide`, and zeros elsewhere.

    The positions are those that max pooling of `guide` keeps (its switches), found again here: the same as the
    encoder's where it pools that map, and a generalisation where it shrinks its maps in another way.
    """

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """[N, C, H, W] and `guide` [N, C, 2 H, 2 W] to [N, C, 2 H, 2 W]."""
        _, switches = F.max_pool2d(guide, 2, return_indices=True)
        return F.max_unpool2d(x, switches, [2, 2])


class Upsample(nn.Module):
    """Multiply height and width by `factor`.

    `nearest` and `bilinear` (align_corners=False) keep the channels; `transposed` is a learned convolution with
    kernel = stride = factor; `unpool` puts values back where the maxima of `guide` lie, after a 1 x 1 convolution
    to the guide's channels where they differ. `channels` says how many come out.
    """

    def __init__(
        self, mode: str, inputs: int, *, outputs: int | None = None, guide: int = 0, factor: int = 2
    ) -> None:
        super().__init__()
        self.mode = mode
        self.factor = factor
        self.channels = inputs
        if mode == "transposed":
            self.channels = outputs or inputs
            self.enlarge = nn.ConvTranspose2d(inputs, self.channels, factor, stride=factor)
        elif mode == "unpool":
            if not guide or factor != 2:
                raise OptionError(
                    "unpool needs a map of the encoder at twice the size, and there is none",
                    remedy="choose another upsampling, or end the decoder one block earlier",
                )
            self.channels = guide
            self.match = nn.Conv2d(inputs, guide, 1) if inputs != guide else nn.Identity()
            self.unpool = Unpool()
        elif mode not in ("nearest", "bilinear"):
            raise OptionError(
                f"upsampling is {mode!r}", remedy="give nearest, bilinear, transposed or unpool"
            )

    def forward(self, x: Tensor, guide: Tensor | None = None, *, join: bool = False) -> Tensor:
        """[N, C, H, W] to [N, channels, factor H, factor W].

        `guide` [N, D, factor H, factor W] is what unpool goes by; with `join` its channels come after the others.
        """
        enlarged: Tensor
        beside = guide if join else None
        if self.mode == "transposed":
            enlarged = self.enlarge(x)
        elif self.mode == "unpool":
            enlarged = self.unpool(self.match(x), guide)
        elif self.training and self.mode == "nearest" and self.factor == 2:
            return doubled(x, beside)
        else:
            corners = None if self.mode == "nearest" else False
            enlarged = F.interpolate(x, scale_factor=self.factor, mode=self.mode, align_corners=corners)
        return enlarged if beside is None else torch.cat([enlarged, beside], dim=1)

    def extra_repr(self) -> str:
        """The mode, for printing."""
        return f"{self.mode} x{self.factor}"


class Crop(nn.Module):
    """Take `pixels` away on every side."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C, H - 2 pixels, W - 2 pixels]."""
        inner = slice(self.pixels, -self.pixels if self.pixels else None)
        return x[..., inner, inner]

    def extra_repr(self) -> str:
        """The pixels, for printing."""
        return str(self.pixels)


class WindowPool(nn.Module):
    """The mean over a window around each cell of a coarse grid; near the borders over what of it is in the map.

    One pixel comes out per cell of `cell` x `cell` image pixels. The window is the cell and `window` / 2 image
    pixels on every side of it, rounded up to whole cells.
    """

    def __init__(self, window: int, *, cell: int, stride: int) -> None:
        super().__init__()
        self.window, self.factor = window, cell // stride
        reach = -(-window // (2 * cell))
        side = 2 * reach + 1
        self.cells = nn.AvgPool2d(self.factor) if self.factor > 1 else nn.Identity()
        # one axis after the other: a mean over a rectangle is a mean of means
        self.rows = nn.AvgPool2d((side, 1), stride=1, padding=(reach, 0), count_include_pad=False)
        self.columns = nn.AvgPool2d((1, side), stride=1, padding=(0, reach), count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] at the stride of the map to [N, C, h, w] at that of the cells."""
        averaged: Tensor = self.columns(self.rows(self.cells(x)))
        return averaged

    def extra_repr(self) -> str:
        """The window, for printing."""
        return f"{self.window} pixels"


def image_pool(window: int | None, *, cell: int, stride: int) -> nn.Module:
    """The mean over the image, or with a `window` in image pixels the one around each cell of the coarse grid."""
    return nn.AdaptiveAvgPool2d(1) if window is None else WindowPool(window, cell=cell, stride=stride)


class SqueezeExcitation(nn.Module):
    """Weigh each channel by what the whole map shows. Hu, Shen, Sun: Squeeze-and-Excitation Networks, 2018.

    x * sigmoid(W2 relu(W1 mean(x) + b1) + b2), the mean over all pixels; the layer between has a `reduction`th of
    the channels, but never less than 8. With a `WindowPool` the mean is that of a window, and the weights are
    interpolated from its cells.
    """

    def __init__(self, channels: int, *, reduction: int = 16, pool: nn.Module | None = None) -> None:
        super().__init__()
        between = max(8, channels // reduction)
        self.squeeze = pool or nn.AdaptiveAvgPool2d(1)
        factor = pool.factor if isinstance(pool, WindowPool) else 1
        self.enlarge = Upsample("bilinear", channels, factor=factor) if factor > 1 else nn.Identity()
        self.reduce = nn.Conv2d(channels, between, 1)
        self.relu = nn.ReLU(inplace=True)
        self.expand = nn.Conv2d(between, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same size."""
        weights: Tensor = self.gate(self.expand(self.relu(self.reduce(self.squeeze(x)))))
        weighed: Tensor = x * self.enlarge(weights)
        return weighed


class SeparableConv(nn.Sequential):
    """A 3 x 3 convolution per channel, one of 1 x 1 across channels, normalisation, ReLU (Chollet 2017)."""

    def __init__(self, inputs: int, outputs: int, *, dilation: int = 1, norm: Norm = "batch") -> None:
        super().__init__(
            DepthwiseConv(inputs, inputs, 3, padding=dilation, dilation=dilation, groups=inputs, bias=False),
            ConvNormAct(inputs, outputs, kernel=1, norm=norm),
        )


class ImageNorm(nn.Module):
    """Batch normalisation of few pixels: a single one in the whole batch has no spread, and takes the running one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] to the same size."""
        norm = self.norm
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        normed: Tensor = norm(x)
        return normed


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling. Chen, Papandreou, Schroff, Adam: Rethinking Atrous Convolution, 2017.

    Side by side a 1 x 1 convolution, a dilated 3 x 3 convolution per rate, and the mean of the whole map put
    everywhere, or with `pool` that around each pixel; a 1 x 1 convolution joins them.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        rates: Sequence[int],
        *,
        separable: bool = False,
        norm: Norm = "batch",
        pool: nn.Module | None = None,
    ) -> None:
        super().__init__()
        dilated = SeparableConv if separable else ConvNormAct
        self.branches = nn.ModuleList(
            [
                ConvNormAct(inputs, outputs, kernel=1, norm=norm),
                *(dilated(inputs, outputs, dilation=rate, norm=norm) for rate in rates),
            ]
        )
        self.image = nn.Sequential(pool or nn.AdaptiveAvgPool2d(1), *_one_pixel(inputs, outputs, norm))
        self.project = ConvNormAct(outputs * (len(rates) + 2), outputs, kernel=1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H, W]."""
        maps = [branch(x) for branch in self.branches]
        # channels last like the others: what is merely expanded would turn all that follows into planes
        everywhere = self.image(x).expand_as(maps[0])
        maps.append(everywhere.contiguous(memory_format=torch.channels_last))
        joined: Tensor = self.project(torch.cat(maps, dim=1))
        return joined


def _one_pixel(inputs: int, outputs: int, norm: Norm) -> list[nn.Module]:
    """1 x 1 convolution, normalisation and ReLU for a map of one pixel, which has no spread of its own."""
    if norm == "batch":
        return [nn.Conv2d(inputs, outputs, 1, bias=False), ImageNorm(outputs), nn.ReLU(inplace=True)]
    return [ConvNormAct(inputs, outputs, kernel=1, norm="none" if norm == "instance" else norm)]


def dilate(stage: nn.Module, rate: int) -> None:
    """Take the strides out of a stage and dilate its convolutions by `rate` instead, as DeepLab does.

    Sizes stay: padding grows with the dilation. Kernels of 1 x 1 only lose their stride.
    """
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
            module.dilation = (rate, rate)
            rows, columns = module.kernel_size
            module.padding = (rows // 2 * rate, columns // 2 * rate)
        elif isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
            raise OptionError(
                f"a stage with {type(module).__name__} cannot be dilated", remedy="choose another encoder"
            )
