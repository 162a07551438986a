"""Small experiments on digits: rows 18, 20, 23 and 27 of the course.

    python recipes/course/small.py shift --data DATA        dense net against CNN when the test images move (18, 23)
    python recipes/course/small.py regularise --data DATA   weight decay, dropout, batch normalisation (20)
    python recipes/course/small.py gradients                gradient norms by depth with and without shortcuts (27)

Each prints its table, stores it as JSON in recipes/results and draws a figure into docs/pictures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stored import ROOT, store
from torch import Tensor, nn
from torch.nn import functional as F

import pixelwise as pw
from pixelwise.data.dataset import Split
from pixelwise.models.encoders.resnet import BasicBlock
from pixelwise.models.interfaces import EncoderOptions
from pixelwise.models.zoo import ENCODERS

Curve = list[tuple[float, float]]


def digits(split: Split, count: int | None = None) -> tuple[Tensor, Tensor]:
    """Images [N, 1, 28, 28] in 0..1 and targets [N]."""
    pairs = [split.classified(index) for index in range(count or len(split))]
    images = np.stack([one.image for one in pairs]).astype(np.float32) / 255
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.tensor([one.target for one in pairs])


def dense(dropout: float = 0.0, norm: bool = False) -> nn.Sequential:
    """784 - 256 - 128 - 10."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in ((784, 256), (256, 128)):
        layers += [nn.Linear(inputs, outputs), *([nn.BatchNorm1d(outputs)] if norm else []), nn.ReLU()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(128, 10))


class Lenet(nn.Module):
    """The encoder and head that `--task classify --encoder lenet` trains."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ENCODERS["lenet"](1, EncoderOptions(padding="paper"))
        self.head = self.encoder.paper_head(10, (28, 28))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, 10]."""
        logits: Tensor = self.head(self.encoder(images)[-1])
        return logits


def fit(
    net: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    epochs: int,
    decay: float = 0.0,
    watch: Callable[[], None] | None = None,
) -> None:
    """Adam with decoupled decay, batches of 64, one seed."""
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=decay)
    for _ in range(epochs):
        net.train()
        for chosen in torch.randperm(len(images)).split(64):
            loss = F.cross_entropy(net(images[chosen]), targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if watch is not None:
            watch()


@torch.no_grad()
def accuracy(net: nn.Module, images: Tensor, targets: Tensor) -> float:
    """Share of images classified right."""
    net.eval()
    return float((torch.cat([net(part) for part in images.split(1000)]).argmax(1) == targets).float().mean())


def moved(images: Tensor, pixels: int) -> Tensor:
    """Images moved right and down by `pixels`, zeros coming in."""
    return F.pad(images, (pixels, 0, pixels, 0))[..., : images.shape[-2], : images.shape[-1]]


def shift(data: pw.Dataset) -> dict[str, Any]:
    """Accuracy of a dense net and of LeNet, trained alike, on test images moved by 0 to 6 pixels."""
    images, targets = digits(data.train)
    test, wanted = digits(data.test)
    result: dict[str, Any] = {"moved by": list(range(7))}
    for name, make in (("dense net", dense), ("LeNet", Lenet)):
        torch.manual_seed(0)
        net = make()
        fit(net, images, targets, epochs=4)
        result[name] = [round(accuracy(net, moved(test, by), wanted), 4) for by in result["moved by"]]
        result[f"parameters of {name}"] = sum(p.numel() for p in net.parameters())
    return result


def regularise(data: pw.Dataset) -> dict[str, Any]:
    """Training and validation accuracy by epoch of a dense net on 500 digits, with one remedy at a time."""
    images, targets = digits(data.train, 500)
    test, wanted = digits(data.val)
    settings: dict[str, dict[str, Any]] = {
        "nothing": {},
        "weight decay 0.3": {"decay": 0.3},
        "dropout 0.5": {"dropout": 0.5},
        "batch normalisation": {"norm": True},
    }
    result: dict[str, Any] = {}
    for name, setting in settings.items():
        torch.manual_seed(0)
        net = dense(setting.get("dropout", 0.0), setting.get("norm", False))
        curve: Curve = []
        fit(
            net,
            images,
            targets,
            epochs=40,
            decay=setting.get("decay", 0.0),
            watch=lambda: curve.append((accuracy(net, images, targets), accuracy(net, test, wanted))),  # noqa: B023
        )
        result[name] = {"train": [c[0] for c in curve], "validation": [c[1] for c in curve]}
    return result


def gradients() -> dict[str, Any]:
    """Norm of the gradient of the loss at the first convolution of each block, 16 blocks deep, at the start."""
    result: dict[str, Any] = {}
    for name in ("with shortcuts", "without shortcuts"):
        torch.manual_seed(0)
        blocks = nn.Sequential(*(BasicBlock(32, 32, 1) for _ in range(16)))
        if name == "without shortcuts":
            for block in blocks:
                block.forward = _plain(block)  # type: ignore[method-assign]
        logits = blocks(torch.randn(16, 32, 16, 16)).mean((2, 3))[:, :10]
        F.cross_entropy(logits, torch.arange(16) % 10).backward()
        result[name] = [float(block.conv1.weight.grad.norm()) for block in blocks]
    return result


def _plain(block: nn.Module) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        y: Tensor = block.relu(block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x))))))
        return y

    return forward


def draw(name: str, result: dict[str, Any]) -> None:
    """The figure of an experiment."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    if name == "shift":
        for net in ("dense net", "LeNet"):
            axes.plot(result["moved by"], result[net], marker="o", label=net)
        axes.set(xlabel="pixels the test digits are moved by, right and down", ylabel="accuracy")
    elif name == "regularise":
        for label, curves in result.items():
            line = axes.plot(curves["validation"], label=label)[0]
            axes.plot(curves["train"], color=line.get_color(), linestyle=":", linewidth=1)
        axes.set(xlabel="epoch", ylabel="accuracy (dotted: on the 500 training digits)", ylim=(0.7, 1.01))
    else:
        for label, values in result.items():
            axes.semilogy(range(1, len(values) + 1), values, marker="o", label=label)
        axes.set(xlabel="block", ylabel="norm of the gradient")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(ROOT / "docs" / "pictures" / f"course_{name}.png", dpi=110)


def main() -> None:
    """Run one experiment, store and draw it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=["shift", "regularise", "gradients"])
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    if given.name == "gradients":
        result = gradients()
    else:
        data = pw.open_dataset(given.data / "digits")
        result = shift(data) if given.name == "shift" else regularise(data)
    command = f"python recipes/course/small.py {given.name}"
    command += "" if given.name == "gradients" else " --data DATA"
    facts = {"experiment": given.name, "command": command, "seed": 0, "result": result}
    store(f"small-{given.name}", facts)
    draw(given.name, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
