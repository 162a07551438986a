"""Muon: momentum whose step is made orthogonal, for the weights of convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
RMS = 0.4  # root mean square of a step, in learning rates; of AdamW's it is 0.2 to 0.4
LARGEST = 1024  # of the shorter side of a matrix; above it a step costs more than the network's own work
# a s + b s^3 + c s^5 takes every singular value s in 0.002..1 to 0.7..1.2 in five rounds. They work on the Gram
# matrix, a fraction of the arithmetic; after two of them it is computed anew, before rounding adds up.
QUINTIC = (3.4445, -4.7750, 2.0315)
ROUNDS = (2, 3)


class Muon(torch.optim.AdamW):
    """Steps of equal size in every direction for groups with `orthogonal`, AdamW for the others.

    The momentum of a convolution, as a matrix of output channels by everything they see, is replaced by the nearest
    matrix with orthonormal rows or columns, so that rare directions are learnt as quickly as frequent ones. Jordan et
    al.: Muon, 2024 (kellerjordan.github.io/posts/muon); size of the step: Liu et al., 2025 (arXiv:2502.16982).
    Matrix products follow autocast: bfloat16 inside of it, float32 outside.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; the gradients of orthogonal groups are used up."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["orthogonal"]:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._step(parameter, parameter.grad, group)
                        parameter.grad = None  # AdamW leaves out what has no gradient
        super().step()
        return loss

    def _step(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())  # AdamW expects one when a state is loaded
            state["momentum"] = torch.zeros_like(parameter)
        state["step"] += 1
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        matrix = as_matrix(momentum.lerp(gradient, 1 - MOMENTUM))
        size = group["lr"] * RMS * max(matrix.shape) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(as_weight(orthogonal(matrix), parameter.shape), alpha=-size)


def fits_muon(name: str, parameter: Tensor) -> bool:
    """Whether a weight is of a convolution over channels, neither of the head nor too large."""
    if parameter.ndim != 4 or parameter.shape[1] == 1 or "head" in name.split("."):
        return False
    return min(parameter.shape[0], parameter[0].numel()) <= LARGEST


def as_matrix(weight: Tensor) -> Tensor:
    """A weight [out, in, h, w] as [out, h * w * in]; without a copy where it lies in memory as channels_last."""
    return weight.movedim(1, -1).reshape(len(weight), -1)


def as_weight(matrix: Tensor, shape: torch.Size) -> Tensor:
    """The way back."""
    out, channels, height, width = shape
    return matrix.reshape(out, height, width, channels).movedim(-1, 1)


def orthogonal(matrix: Tensor) -> Tensor:
    """About U V^T of the singular value decomposition U S V^T; singular values near 0 stay there.

    Newton and Schulz's iteration with `QUINTIC`: X becomes X (a + b G + c G^2), where G = X^T X.
    """
    kind = matrix.device.type
    arithmetic = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
    a, b, c = QUINTIC
    wide = matrix.shape[0] < matrix.shape[1]
    tall = matrix.T if wide else matrix
    found = (tall / tall.norm().clamp_min(1e-7)).to(arithmetic).contiguous()
    one = torch.eye(found.shape[1], dtype=arithmetic, device=matrix.device)
    for rounds in ROUNDS:
        gram = factor = product = found.T @ found
        for turn in range(rounds):
            gram = factor @ gram @ factor if turn else gram
            factor = a * one + b * gram + c * (gram @ gram)
            product = product @ factor if turn else factor
        found = found @ product
    result: Tensor = found.T if wide else found
    return result
