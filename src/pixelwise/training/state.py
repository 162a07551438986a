"""Everything needed to go on exactly where a run stopped, in one file without pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from pixelwise.errors import TrainingError
from pixelwise.files import write_bytes
from pixelwise.models.network import Network
from pixelwise.training.optim import WeightAverage
from pixelwise.training.plan import Plan

FILE_NAME = "state.safetensors"


@dataclass
class Position:
    """How far a run has come.

    Batches and dropout depend on the seed and the step alone, so no generator's state is part of it.
    """

    step: int = 0
    seconds: float = 0.0
    best_score: float | None = None
    best_step: int = 0


def save_state(
    path: Path,
    position: Position,
    plan: Plan,
    network: Network,
    average: WeightAverage | None,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write the state of a run; the previous file survives a failure."""
    tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
    if average is not None:
        tensors |= {f"average/{name}": value for name, value in average.network.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value for name, value in values.items()}
    # a copy in one memory order: channels_last storage is not written as such
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    facts = json.dumps({"position": asdict(position), "plan": asdict(plan)})
    write_bytes(path, serialize(plain, metadata={"pixelwise.state": facts}))


def load_state(
    path: Path, network: Network, average: WeightAverage | None, optimizer: torch.optim.Optimizer
) -> tuple[Position, Plan]:
    """Put the state of a run back into its parts and return where it stood.

    Raises:
        TrainingError: the file is missing, damaged or of another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["pixelwise.state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        position = TypeAdapter(Position).validate_python(facts["position"])
        plan = TypeAdapter(Plan).validate_python(facts["plan"])
        network.load_state_dict(_under("network/", tensors))
        if average is not None:
            average.network.load_state_dict(_under("average/", tensors))
        _fill_optimizer(optimizer, _under("optimizer/", tensors))
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError, ValidationError) as error:
        raise TrainingError(
            f"the state of the run cannot be read: {str(error).splitlines()[0]}",
            file=path,
            remedy="start anew in another folder",
        ) from error
    return position, plan


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _fill_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition("/")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            # The fused update walks through memory: moments must lie in the order of their weights.
            value = torch.empty_like(parameter).copy_(value)
        state.setdefault(int(index), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
