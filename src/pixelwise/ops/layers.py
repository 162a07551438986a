"""One layer of a network along one axis, and chains of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pixelwise.errors import OptionError, close_matches
from pixelwise.ops.arithmetic import conv_size, pixels, transposed_size
from pixelwise.ops.axes import whole

Kind = Literal["convolution", "pooling", "transposed", "upsample_nearest", "upsample_bilinear"]


@dataclass(frozen=True)
class Layer:
    """One layer along one axis.

    Attributes:
        kind: `convolution`, `pooling`, `transposed`, `upsample_nearest` or `upsample_bilinear`.
        kernel: Its taps; like all that follows up to `ceil`, not for upsampling.
        stride: Pixels from one window to the next, of the input, or of the output of a transposed convolution.
        padding: Pixels (before, after).
        dilation: Pixels from one tap to the next.
        output_padding: Pixels added to the output of a transposed convolution.
        ceil: Pooling rounds its size up.
        factor: Outputs per input pixel, for upsampling only.

    >>> Layer("convolution", kernel=3, stride=2, padding=(1, 1)).output_size(28)
    14
    """

    kind: Kind
    kernel: int = 1
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1
    output_padding: int = 0
    ceil: bool = False
    factor: int = 1

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise OptionError(
                f"a layer of kind {self.kind!r}", remedy=close_matches(self.kind, get_args(Kind))
            )
        object.__setattr__(self, "padding", pixels(self.padding))  # a number or a list is understood too
        self._refuse_what_the_kind_lacks()
        whole(self.factor, "factor")
        whole(self.stride, "stride")
        whole(self.dilation, "dilation")
        whole(self.kernel, "kernel")
        if self.kind == "pooling" and max(self.padding) > self.kernel // 2:
            raise OptionError(
                f"pooling with a kernel of {self.kernel} and padding {self.padding}",
                remedy=f"pad by half the kernel at most, {self.kernel // 2}",
            )

    def _refuse_what_the_kind_lacks(self) -> None:
        upsampling = self.kind.startswith("upsample")
        lacks = ["kernel", "stride", "padding", "dilation"] if upsampling else ["factor"]
        lacks += ["output_padding"] if self.kind != "transposed" else []
        lacks += ["ceil"] if self.kind != "pooling" else []
        for name in lacks:
            if getattr(self, name) != getattr(Layer, name):
                raise OptionError(
                    f"{name} is {getattr(self, name)} in a layer of kind {self.kind}",
                    remedy=f"leave {name} out, or choose another kind",
                )

    @property
    def as_transposed(self) -> Layer:
        """The transposed convolution whose taps upsampling reads through; itself for other kinds.

        Nearest: a kernel as long as the factor. Bilinear: the triangle of `upsampling.bilinear_kernel`.
        """
        if self.kind == "upsample_nearest":
            return Layer("transposed", kernel=self.factor, stride=self.factor)
        if self.kind == "upsample_bilinear":
            half = self.factor // 2
            kernel = 2 * self.factor - self.factor % 2
            return Layer("transposed", kernel=kernel, stride=self.factor, padding=(half, half))
        return self

    def output_size(self, size: int) -> int:
        """Outputs for `size` inputs.

        Raises:
            OptionError: the kernel is larger than the padded input, or the output has no pixels.
        """
        own = self.as_transposed
        if own.kind == "transposed":
            return transposed_size(
                size,
                own.kernel,
                stride=own.stride,
                padding=own.padding,
                output_padding=own.output_padding,
                dilation=own.dilation,
            )
        return conv_size(
            size, own.kernel, stride=own.stride, padding=own.padding, dilation=own.dilation, ceil=own.ceil
        )


def chain_sizes(layers: Sequence[Layer], size: int) -> tuple[int, ...]:
    """The size of the input and after each layer.

    >>> pool = Layer("pooling", kernel=2, stride=2)
    >>> chain_sizes([Layer("convolution", kernel=3), pool, Layer("convolution", kernel=3), pool], 28)
    (28, 26, 13, 11, 5)
    """
    sizes = [whole(size, "size")]
    for layer in layers:
        sizes.append(layer.output_size(sizes[-1]))
    return tuple(sizes)
