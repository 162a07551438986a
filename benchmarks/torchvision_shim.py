"""Let torchvision import beside a torch build that its compiled operators do not fit.

Only for benchmarks and comparisons: it declares the operators' names, so that the Python part loads; calling one
of them fails. Where the real operators load, nothing is done.
"""

from __future__ import annotations

import torch

_WITH_BACKWARD = ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d")
_NAMES = ("nms", "qnms", *_WITH_BACKWARD, *(f"_{name}_backward" for name in _WITH_BACKWARD))


def install() -> None:
    """Declare the names once; to be called before the first `import torchvision`."""
    if hasattr(torch.ops, "torchvision") and hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in _NAMES:
        library.define(f"{name}(Tensor x) -> Tensor")
    install.library = library  # type: ignore[attr-defined]  it must outlive this call
