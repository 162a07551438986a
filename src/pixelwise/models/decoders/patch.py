"""Patches. Ciresan and others: Deep Neural Networks Segment Neuronal Membranes in Electron Microscopy Images, 2012.

https://papers.nips.cc/paper/4741

The class of a place is that of the window around it: a classifier of whole images (encoder, global average
pooling, dense layer) sees one window of `patch[0]` pixels per block of `patch[1]` pixels. Windows overlap, and
each is computed anew, which is what fully convolutional networks do away with. Departures: the paper has one
window per pixel (a step of 1 here), mirrors the image where a window leaves it (its edge is repeated here), and
has dense layers in place of global pooling.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pixelwise.errors import OptionError
from pixelwise.models.interfaces import Decoder, Level, NetworkOptions


class PatchClassifier(Decoder):
    """One pixel of logits per window; the segmenter cuts the windows."""

    dials = frozenset({"patch"})

    def __init__(self, levels: Sequence[Level], options: NetworkOptions, outputs: int) -> None:
        super().__init__(levels, options, outputs)
        window, step = options.patch
        multiple = max(level.stride for level in levels)
        if window % multiple:
            raise OptionError(
                f"the window of patch is {window} pixels, and the encoder halves down to stride {multiple}",
                remedy=f"give a window that is a multiple of {multiple}",
            )
        self.window, self.stride = (window, step), step
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout2d(options.dropout)
        self.head = nn.Conv2d(levels[-1].channels, outputs, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's maps of windows to logits [windows, outputs, 1, 1]."""
        logits: Tensor = self.head(self.dropout(self.pool(features[-1])))
        return logits
