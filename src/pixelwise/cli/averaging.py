"""Several looks at an image, and several models, on the command line."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise.errors import OptionError

if TYPE_CHECKING:
    from pixelwise.infer.augmented import Averaged
    from pixelwise.models.network import Network


def parse_scales(text: str) -> tuple[float, ...]:
    """Numbers with commas between them.

    >>> parse_scales("0.75,1,1.25")
    (0.75, 1.0, 1.25)
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(
            f"--scales {text!r}", remedy="write factors with commas: --scales 0.75,1,1.25"
        ) from None


@dataclass(frozen=True)
class Averaging:
    """What the command line says about views and further models."""

    flips: bool
    scales: tuple[float, ...]
    ensemble: tuple[Path, ...]
    uncertainty: bool

    @property
    def named(self) -> str:
        """The first of the options that was given; empty where none was."""
        given = {
            "--flips": self.flips,
            "--scales": self.scales != (1.0,),
            "--ensemble": bool(self.ensemble),
            "--uncertainty": self.uncertainty,
        }
        return next((name for name, there in given.items() if there), "")

    @property
    def asked(self) -> bool:
        """Whether anything is to be averaged."""
        return bool(self.named)

    def of(self, network: Network, engine: str, device: str) -> Averaged | None:
        """What runs all views and models, whose cost is printed; None where nothing is to be averaged.

        Raises:
            OptionError: another engine, a network of another task, or models that do not fit one another.
        """
        from pixelwise.infer.augmented import Averaged, Views
        from pixelwise.models.bundle import load
        from pixelwise.models.segmenter import Segmenter

        if not self.asked:
            return None
        if engine not in ("auto", "eager"):
            raise OptionError(f"--engine {engine} with {self.named}", remedy="leave out one of them")
        if not isinstance(network, Segmenter):
            raise OptionError(
                f"{self.named} is asked of a model that can {network.task}",
                remedy=f"leave out {self.named}, or give a model trained with --task segment",
            )
        models = [network, *(load(path, device) for path in self.ensemble)]
        averaged = Averaged(models, Views(self.flips, self.scales), uncertainty=self.uncertainty)
        if self.uncertainty and averaged.cost == 1:
            raise OptionError(
                "--uncertainty compares views and models, and there is one",
                remedy="add --flips or --ensemble MODEL",
            )
        print(f"every image is computed {averaged.cost} times", file=sys.stderr)
        return averaged
