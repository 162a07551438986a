"""The first layer for another number of bands: one rule for all encoders."""

from __future__ import annotations

from torch import Tensor


def adapt_stem(weight: Tensor, bands: int) -> Tensor:
    """First-layer weights [O, B, k, k] as weights [O, bands, k, k] that answer a grey image as before.

    The B bands are repeated cyclically and scaled by B / bands; what is then missing to the old sum over bands is
    shared equally by all. So the sum stays exactly what it was, and an image with the same values in all
    bands gets the same response. One band gets the plain sum; B bands get the weights as they are.

    >>> import torch
    >>> rgb = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1)
    >>> [adapt_stem(rgb, bands).flatten().tolist() for bands in (1, 3, 6)]
    [[9.0], [1.0, 2.0, 6.0], [0.5, 1.0, 3.0, 0.5, 1.0, 3.0]]
    >>> adapt_stem(rgb, 4).flatten().tolist()  # 3/4 of (1, 2, 6, 1), and 1.5 / 4 more for each
    [1.125, 1.875, 4.875, 1.125]
    """
    before = weight.shape[1]
    turns = -(-bands // before)
    cyclic = weight.repeat(1, turns, 1, 1)[:, :bands] * (before / bands)
    missing = weight.sum(dim=1, keepdim=True) - cyclic.sum(dim=1, keepdim=True)
    return cyclic + missing / bands
