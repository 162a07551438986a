"""Let torchvision import beside a torch build that its compiled operators do not fit.

Only for benchmarks and comparisons: it declares the operators' names, so that the Python part loads; calling one
of them fails. Where the real operators load, nothing is done.
"""

from __future__ import annotations

import torch

_NAMES = ["nms", "qnms", "roi_align", "_roi_align_backward", "roi_pool", "_roi_pool_backward", "ps_roi_align", "_ps_roi_align_backward", "ps_roi_pool", "_ps_roi_pool_backward", "deform_conv2d", "_deform_conv2d_backward"]


def install() -> None:
    """Declare the names once; to be called before the first `import torchvision`."""
    if hasattr(torch.ops, "torchvision") and hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in _NAMES:
        library.define(f"{name}(Tensor x) -> Tensor")
    install.library = library  # type: ignore[attr-defined]  it must outlive this call
