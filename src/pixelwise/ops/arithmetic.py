"""Sizes of convolution, pooling, transposed convolution and upsampling, along one axis.

Every operation here is separable in its sizes: what holds for rows holds for columns on their own. With input
size I, kernel K, stride S, dilation D and padding P on each side (before + after in place of 2 P when they
differ):

- effective kernel: D (K - 1) + 1
- convolution, pooling: floor((I + 2 P - D (K - 1) - 1) / S) + 1
- transposed convolution, with output padding O: (I - 1) S - 2 P + D (K - 1) + O + 1

Dumoulin and Visin: A guide to convolution arithmetic for deep learning, 2016, https://arxiv.org/abs/1603.07285.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from pixelwise.errors import OptionError, close_matches
from pixelwise.ops.axes import Padding, whole

MODES = ("full", "same", "valid")


def effective_kernel(kernel: int, dilation: int = 1) -> int:
    """Pixels from the first to the last tap of a kernel with holes: D (K - 1) + 1.

    >>> [effective_kernel(3, rate) for rate in (1, 2, 3)]
    [3, 5, 7]
    """
    return whole(dilation, "dilation") * (whole(kernel, "kernel") - 1) + 1


def pixels(padding: object) -> tuple[int, int]:
    """Padding (before, after) from a number for both sides or a pair.

    Raises:
        OptionError: a negative number, or neither a number nor a pair.

    >>> pixels(1), pixels((0, 2))
    ((1, 1), (0, 2))
    """
    if isinstance(padding, str) or not isinstance(padding, Sequence):
        return (whole(padding, "padding", least=0),) * 2
    if len(padding) != 2:
        raise OptionError(f"padding is {padding!r}", remedy="give one number of pixels or (before, after)")
    return whole(padding[0], "padding", least=0), whole(padding[1], "padding", least=0)


def padding_for(
    mode: Padding, kernel: int, *, stride: int = 1, dilation: int = 1, size: int | None = None
) -> tuple[int, int]:
    """Pixels of padding (before, after) of a convolution along one axis.

    `valid` adds none; `same` as many as make the output ceil(size / stride), the odd one after; `full` all
    with which every overlap of kernel and input counts. A number stands for both sides, a pair for itself.

    Args:
        mode: `valid`, `same`, `full`, a number or a pair.
        kernel: Its taps.
        stride: Input pixels from one output to the next.
        dilation: Input pixels from one tap to the next.
        size: Of the input; needed by `same` at a stride above 1 (TensorFlow's rule, which depends on it).

    Raises:
        OptionError: an unknown mode, a negative number, `same` without the size it needs.

    >>> padding_for("same", 3), padding_for("same", 4), padding_for("full", 3), padding_for((0, 1), 3)
    ((1, 1), (1, 2), (2, 2), (0, 1))
    >>> padding_for("same", 3, stride=2, size=8)
    (0, 1)
    """
    beyond = effective_kernel(kernel, dilation) - 1
    stride = whole(stride, "stride")
    if not isinstance(mode, str):
        return pixels(mode)
    if mode == "valid":
        return 0, 0
    if mode == "full":
        return beyond, beyond
    if mode != "same":
        raise OptionError(f"padding {mode!r}", remedy=f"{close_matches(mode, MODES)}, or numbers of pixels")
    if stride == 1:
        return beyond // 2, beyond - beyond // 2
    if size is None:
        raise OptionError(
            f"padding 'same' at stride {stride} depends on the size of the input", remedy="give size=PIXELS"
        )
    size = whole(size, "size")
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + beyond + 1 - size, 0)
    return total // 2, total - total // 2


def conv_size(
    size: int, kernel: int, *, stride: int = 1, padding: Padding = 0, dilation: int = 1, ceil: bool = False
) -> int:
    """Outputs of a convolution or pooling along one axis: floor((I + 2 P - D (K - 1) - 1) / S) + 1.

    Args:
        size: Input pixels.
        kernel: Its taps.
        stride: Input pixels from one output to the next.
        padding: As in `padding_for`.
        dilation: Input pixels from one tap to the next.
        ceil: Round up, so that a last window may reach beyond the padding; it must start inside the input or
            the padding before it.

    Raises:
        OptionError: a number out of range, or a kernel that is larger than the padded input.

    >>> conv_size(28, 5), conv_size(28, 3, padding="same"), conv_size(28, 3, stride=2, padding=1)
    (24, 28, 14)
    >>> conv_size(5, 2, stride=2), conv_size(5, 2, stride=2, ceil=True)
    (2, 3)
    """
    size = whole(size, "size")
    before, after = padding_for(padding, kernel, stride=stride, dilation=dilation, size=size)
    reach = effective_kernel(kernel, dilation)
    room = size + before + after - reach
    if ceil:
        count = -(-room // stride) + 1
        if (count - 1) * stride >= size + before:
            count -= 1
    else:
        count = room // stride + 1
    if count < 1:
        raise OptionError(
            f"a kernel of {kernel} at dilation {dilation} covers {reach} pixels;"
            f" the input has {size} and {before} + {after} of padding",
            remedy="use a larger input, more padding, a smaller kernel or a smaller dilation",
        )
    return count


def transposed_size(
    size: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    output_padding: int = 0,
    dilation: int = 1,
) -> int:
    """Outputs of a transposed convolution along one axis: (I - 1) S - 2 P + D (K - 1) + O + 1.

    Args:
        size: Input pixels.
        kernel: Its taps.
        stride: Output pixels from one input to the next.
        padding: Pixels cut off the output, a number for both sides or (before, after): those that the
            convolution which this one turns round had been padded by.
        output_padding: Pixels added after, below the larger of stride and dilation: the convolution had
            several input sizes with this output size, and this chooses one.
        dilation: Output pixels from one tap to the next.

    Raises:
        OptionError: a number out of range, or an output without pixels.

    >>> transposed_size(2, 3), transposed_size(20, 2, stride=2), transposed_size(2, 3, stride=2, padding=1)
    (4, 40, 3)
    """
    size, stride = whole(size, "size"), whole(stride, "stride")
    before, after = pixels(padding)
    reach = effective_kernel(kernel, dilation)
    extra = whole(output_padding, "output_padding", least=0)
    if extra and extra >= max(stride, dilation):
        raise OptionError(
            f"output_padding is {extra} at stride {stride} and dilation {dilation}",
            remedy=f"give a number in 0..{max(stride, dilation) - 1}",
        )
    count = (size - 1) * stride - before - after + reach + extra
    if count < 1:
        raise OptionError(
            f"padding cuts {before} + {after} off a transposed convolution of {count + before + after} pixels",
            remedy="use less padding, a larger kernel or a larger input",
        )
    return count


def conv_parameters(kernel: Sequence[int], inputs: int, outputs: int, *, bias: bool = True) -> int:
    """Weights of a convolution, transposed or not, of `inputs` to `outputs` channels; no size comes in.

    >>> conv_parameters((3, 3), 1, 32)
    320
    """
    taps = prod(whole(length, "kernel") for length in kernel)
    return taps * whole(inputs, "inputs") * whole(outputs, "outputs") + bias * outputs


def dense_parameters(inputs: int, outputs: int, *, bias: bool = True) -> int:
    """Weights of a dense layer: each of `outputs` reads each of `inputs`.

    >>> dense_parameters(28 * 28, 28 * 28), dense_parameters(256 * 256, 256 * 256)
    (615440, 4295032832)
    """
    return whole(inputs, "inputs") * whole(outputs, "outputs") + bias * outputs
