"""Which of its inputs an output of a tensor operation reads, for all operations that networks for images use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pixelwise.models.graph import Operation, TraceError


@dataclass(frozen=True)
class Window:
    """Which inputs output i reads along one axis: (step i + first) // per to (step i + last) // per."""

    step: int = 1
    first: int = 0
    last: int = 0
    per: int = 1

    @property
    def pace(self) -> Fraction:
        """Inputs from one output to the next."""
        return Fraction(self.step, self.per)


def window_of(operation: Operation, axis: int) -> Window | None:
    """The window of an operation along rows (axis 0) or columns (1); None for the whole image."""
    if _spreads(operation):
        return None
    if operation.name in ELEMENTWISE:
        return Window()
    rule = RULES.get(operation.name)
    if rule is None:
        raise TraceError(
            f"no receptive field is known for {operation.where}",
            remedy="build the layer from operations that `describe` knows, or add a rule to models/windows.py",
        )
    return rule(operation, axis)


def _spreads(operation: Operation) -> bool:
    """Whether one value is put everywhere on a larger map."""
    shapes = [source.shape for source in operation.sources]
    joins = operation.name in ELEMENTWISE and len(operation.shape) == 4
    return joins and any(len(shape) == 4 and shape[2:] != operation.shape[2:] for shape in shapes)


def _convolution(operation: Operation, axis: int) -> Window:
    given = operation.arguments
    kernel = given["weight"].shape[2:]
    if len(kernel) != 2 or {source.argument for source in operation.sources} != {"input"}:
        raise _unknown(operation, "is not one of images with fixed weights")
    size, stride, dilation, padding = (
        int(value[axis]) for value in (kernel, given["stride"], given["dilation"], given["padding"])
    )
    reach = dilation * (size - 1)
    if not given["transposed"]:
        return Window(stride, -padding, reach - padding)
    if dilation > 1 or size < stride:
        raise _unknown(operation, "is transposed and leaves gaps")
    return Window(1, padding - reach + stride - 1, padding, stride)  # rounds the first one up


def _pooling(operation: Operation, axis: int) -> Window:
    given = operation.arguments
    kernel = _along(given["kernel_size"], axis)
    stride = _along(given["stride"] or given["kernel_size"], axis)
    padding = _along(given["padding"], axis)
    return Window(stride, -padding, _along(given.get("dilation", 1), axis) * (kernel - 1) - padding)


def _unpooling(operation: Operation, axis: int) -> Window:
    """A value and the window in which its switch was found: both lie at the pooled pixel."""
    factor, rest = divmod(operation.shape[2 + axis], operation.sources[0].shape[2 + axis])
    if rest:
        raise _unknown(operation, "does not enlarge by a whole factor")
    return Window(per=factor)


def _nearest(operation: Operation, axis: int) -> Window:
    ratio = _shrinkage(operation, axis)
    return Window(ratio.numerator, per=ratio.denominator)


def _bilinear(operation: Operation, axis: int) -> Window:
    """Output i lies at (i + 1/2) ratio - 1/2 between two inputs, or right on one."""
    if operation.arguments["align_corners"]:
        raise _unknown(operation, "aligns corners, which gives every place a window of its own")
    ratio = _shrinkage(operation, axis)
    step, per = 2 * ratio.numerator, 2 * ratio.denominator
    start = ratio.numerator - ratio.denominator
    return Window(step, start, start + per - 1, per)


def _shrinkage(operation: Operation, axis: int) -> Fraction:
    """Input pixels per output pixel."""
    scale = operation.arguments[("scales_h", "scales_w")[axis]]
    if scale is not None:
        return 1 / Fraction(scale).limit_denominator(1024)
    return Fraction(operation.sources[0].shape[2 + axis], operation.shape[2 + axis])


def _shuffle(operation: Operation, _: int) -> Window:
    return Window(per=int(operation.arguments["upscale_factor"]))


def _padding(operation: Operation, axis: int) -> Window:
    given = operation.arguments["pad" if "pad" in operation.arguments else "padding"]
    columns_first = 2 * (1 - axis)  # left, right, top, bottom
    before = given[columns_first] if len(given) > columns_first else 0
    return Window(1, -before, -before)


def _slice(operation: Operation, axis: int) -> Window:
    shape = operation.sources[0].shape
    if operation.arguments["dim"] % len(shape) != len(shape) - 2 + axis:
        return Window()
    size, start = shape[axis - 2], operation.arguments["start"] or 0
    start = max(0, start + size) if start < 0 else min(start, size)
    return Window(operation.arguments["step"], start, start)


def _joining(operation: Operation, _: int) -> Window:
    if operation.arguments["dim"] % len(operation.shape) >= len(operation.shape) - 2:
        raise _unknown(operation, "puts maps side by side")
    return Window()


def _reshaping(operation: Operation, _: int) -> Window | None:
    """Channels may be regrouped; where pixels are, every value may come from anywhere."""
    before = operation.sources[0].shape
    kept = len(operation.shape) > 2 and len(before) > 2 and operation.shape[-2:] == before[-2:]
    return Window() if kept else None


def _reduction(operation: Operation, _: int) -> Window | None:
    """Over channels it stays at its place, over pixels it sees them all."""
    size = len(operation.sources[0].shape)
    dims = operation.arguments.get("dim")
    if dims is None or dims == []:
        return None
    chosen = {dim % size for dim in (dims if isinstance(dims, (list, tuple)) else [dims])}
    return Window() if size > 2 and max(chosen) < size - 2 else None


def _batch_norm(operation: Operation, _: int) -> Window | None:
    """With running statistics each value by itself; with those of the map (instance normalisation) not."""
    return None if operation.arguments.get("training") else Window()


def _permutation(operation: Operation, _: int) -> Window:
    size = len(operation.shape)
    if [dim % size for dim in operation.arguments["dims"]][-2:] != [size - 2, size - 1]:
        raise _unknown(operation, "moves the axes of the image")
    return Window()


def _everything(operation: Operation, _: int) -> None:
    return None


def _unknown(operation: Operation, why: str) -> TraceError:
    return TraceError(
        f"no receptive field is known for {operation.where}: it {why}",
        remedy="build the layer from operations that `describe` knows",
    )


def _along(value: Any, axis: int) -> int:
    """A number for both axes, or one for each."""
    return int(value[axis % len(value)] if isinstance(value, (list, tuple)) else value)


ELEMENTWISE = frozenset(
    {
        *("abs", "exp", "neg", "pow", "sqrt", "square", "clamp", "add", "sub", "rsub", "mul", "div"),
        *("maximum", "minimum", "relu", "leaky_relu", "_prelu_kernel", "elu", "gelu", "mish", "silu"),
        *("softplus", "sigmoid", "tanh", "hardsigmoid", "hardswish", "hardtanh"),
        *("alias", "clone", "contiguous", "detach", "expand", "_to_copy"),
    }
)

RULES: dict[str, Callable[[Operation, int], Window | None]] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _pooling,
    "avg_pool2d": _pooling,
    "max_unpool2d": _unpooling,
    "upsample_nearest2d": _nearest,
    "upsample_bilinear2d": _bilinear,
    "pixel_shuffle": _shuffle,
    "constant_pad_nd": _padding,
    "reflection_pad2d": _padding,
    "replication_pad2d": _padding,
    "slice": _slice,
    "cat": _joining,
    "split": _joining,
    "split_with_sizes": _joining,
    "view": _reshaping,
    "_unsafe_view": _reshaping,
    "native_batch_norm": _batch_norm,
    "_native_batch_norm_legit": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "mean": _reduction,
    "sum": _reduction,
    "amax": _reduction,
    "_softmax": _reduction,
    "permute": _permutation,
    "native_group_norm": _everything,
    "native_layer_norm": _everything,
    "_adaptive_avg_pool2d": _everything,
    "adaptive_max_pool2d": _everything,
    "addmm": _everything,
    "mm": _everything,
}
