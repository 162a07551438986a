"""bfloat16 in numba's kernels, which know no such type: a float32 whose lower half is left out.

Both are written in LLVM's own instructions on 32 bits, which become vector instructions; Python's integers are wider.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_BITS, _HALF, _FLOAT = ir.IntType(32), ir.IntType(16), ir.FloatType()


@intrinsic
def widen(context: Any, bits: Any) -> Any:
    """The float32 of the bits of a bfloat16."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        high = builder.shl(builder.zext(arguments[0], _BITS), _BITS(16))
        return builder.bitcast(high, _FLOAT)

    return types.float32(types.uint16), generate


@intrinsic
def narrow(context: Any, value: Any) -> Any:
    """The bits of the nearest bfloat16 of a float32, ties to even."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.bitcast(arguments[0], _BITS)
        odd = builder.and_(builder.lshr(bits, _BITS(16)), _BITS(1))
        rounded = builder.add(builder.add(bits, _BITS(0x7FFF)), odd)
        return builder.trunc(builder.lshr(rounded, _BITS(16)), _HALF)

    return types.uint16(types.float32), generate
