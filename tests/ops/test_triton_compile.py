"""Triton's kernels compiled for real cards, as they are launched; for that no card is needed.

The interpreter, by which their arithmetic is judged, takes much that the compiler does not.
"""

import importlib.util
import warnings

import numpy as np
import pytest
import torch

from pixelwise.data.loader import ImageCache
from pixelwise.data.ondevice import DeviceViews
from pixelwise.data.transforms import ColorChange, View
from pixelwise.ops import cards, head
from pixelwise.ops.confusion_triton import _count
from pixelwise.ops.head import confident_labels_from_low, labels_from_low, sums_from_low
from pixelwise.types import Normalization, Sample

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")

TARGETS = (80, 90)  # A100, H100 and H200
TYPES = {
    torch.float32: "fp32",
    torch.float64: "fp64",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.uint8: "u8",
    torch.uint16: "u16",
    torch.int32: "i32",
    torch.int64: "i64",
}


class Compiler:
    """Stands where kernels are called: compiles each for a card with the arguments given, and runs none."""

    def __init__(self, card):
        self._card, self.made = card, []

    def of(self, name):
        return _Kernels(self, cards.load(name))

    def compile(self, kernel, given, named):
        import triton
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource

        values = dict(zip(kernel.arg_names, given, strict=False)) | named
        options = {name: values.pop(name) for name in ("num_warps",) if name in values}
        assert set(values) == set(kernel.arg_names)
        constants = {
            parameter.name: values[parameter.name]
            for parameter in kernel.params
            # as a launch does it: a whole number that is 1 is known to the compiler
            if parameter.is_constexpr or (type(values[parameter.name]) is int and values[parameter.name] == 1)
        }
        signature = {
            name: "constexpr" if name in constants else type_of(values[name]) for name in kernel.arg_names
        }
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        self.made.append(triton.compile(source, target=GPUTarget("cuda", self._card, 32), options=options))


class _Kernels:
    def __init__(self, compiler, module):
        self._compiler, self._module = compiler, module

    def __getattr__(self, name):
        return _Kernel(self._compiler, getattr(self._module, name))


class _Kernel:
    def __init__(self, compiler, kernel):
        self._compiler, self._kernel = compiler, kernel

    def __getitem__(self, programs):
        assert all(type(count) is int and count > 0 for count in programs)
        return lambda *given, **named: self._compiler.compile(self._kernel, given, named)


def type_of(value):
    if isinstance(value, torch.Tensor):
        return "*" + TYPES[value.dtype]
    return "fp32" if isinstance(value, float) else "i32" if abs(value) < 2**31 else "i64"


@pytest.fixture(params=TARGETS)
def compiler(request, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Triton, about a default to come
        kernels = Compiler(request.param)
        monkeypatch.setattr(head, "_accelerated", lambda logits: True)
        monkeypatch.setattr(cards, "kernels", kernels.of)
        yield kernels


@pytest.mark.parametrize("dtype", head._DTYPES)
@pytest.mark.parametrize("last", [False, True])
def test_labels(compiler, dtype, last):
    low = logits(dtype, last)
    labels_from_low(low, (32, 48))
    confident_labels_from_low(low, (32, 48), temperatures=[1.0] * 5)
    assert [one.metadata.name for one in compiler.made] == ["labels", "labels"]
    assert all(one.asm["cubin"] for one in compiler.made)


@pytest.mark.parametrize("overlaps", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss(compiler, dtype, overlaps):
    low = logits(dtype, True).requires_grad_()
    labels = torch.zeros(2, 32, 48, dtype=torch.uint8)
    found = sums_from_low(low, labels, smoothing=0.1, overlaps=overlaps)
    (found.entropy + found.predicted.sum()).backward()
    names = [one.metadata.name for one in compiler.made]
    assert names == (["sums", "means", "gradient"] if overlaps else ["sums", "gradient"])


@pytest.mark.parametrize(("dtype", "bands"), [("uint8", 3), ("uint16", 4), ("float32", 1)])
def test_views(compiler, dtype, bands):
    images = ImageCache([Sample("one", np.zeros((9, 8, bands), dtype), np.zeros((9, 8), np.uint8))])
    made = DeviceViews(
        images, torch.device("cpu"), Normalization((0.0,) * bands, (1.0,) * bands), room=1 << 20
    )
    change = ColorChange(np.ones((1, 1), np.float32), np.zeros((1, bands), np.float32))
    made.batch([0], [View((4.5, 4.0), ((1, 0), (0, 1)))], (4, 6), change, coarse=False)
    assert [one.metadata.name for one in compiler.made] == ["views"]


@pytest.mark.parametrize("classes", [1, 19])
def test_confusion(compiler, classes):
    labels = torch.zeros(9, 5, dtype=torch.uint8)
    _count(labels.reshape(-1), labels.reshape(-1), classes, 255)
    assert [one.metadata.name for one in compiler.made] == ["count"]
    assert compiler.made[0].metadata.num_warps == 1


def logits(dtype, last):
    low = torch.randn(2, 5, 8, 12).to(dtype)
    return low.contiguous(memory_format=torch.channels_last) if last else low
