"""The layers that several networks share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch normalisation, ReLU; the size stays unless `stride` says otherwise."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Upsample(nn.Module):
    """Double height and width, by `nearest` or `bilinear` (align_corners=False)."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C, 2 H, 2 W]."""
        corners = None if self.mode == "nearest" else False
        return F.interpolate(x, scale_factor=2, mode=self.mode, align_corners=corners)

    def extra_repr(self) -> str:
        """The mode, for printing."""
        return self.mode
