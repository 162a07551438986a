"""What a bundle says about its probabilities: temperatures fitted on images that the network did not learn from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Temperature = Annotated[float, Field(gt=0, lt=1e6)]
Share = Annotated[float, Field(ge=0, le=1)]


class Calibration(BaseModel):
    """How the logits of a network become probabilities that say how often it is right.

    Logits are divided by a temperature before the softmax (Guo et al.: On Calibration of Modern Neural Networks,
    2017). With `per_class` it is that of the class with the largest logit; so the largest class, and with it every
    label, stays what it was.

    Attributes:
        kind: `one` temperature for all pixels, or one `per_class`.
        temperatures: One, or as many as there are classes; above 1 the network was too sure.
        split: Images the temperatures were fitted on.
        images: How many of them.
        pixels: Of the sample taken from them.
        ece_before: Expected calibration error of the largest probability on that sample, 15 equal bins, as it was.
        ece_after: With these temperatures, each half of the images judged by those fitted on the other half.
        set_share: Share of pixels whose true class a label set is to hold.
        set_threshold: Classes with at least this probability are in the set; see `evaluation.conformal`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["one", "per_class"] = "one"
    temperatures: tuple[Temperature, ...]
    split: str
    images: int = Field(ge=1)
    pixels: int = Field(ge=1)
    ece_before: Share
    ece_after: Share
    set_share: Share | None = None
    set_threshold: Share | None = None

    @model_validator(mode="after")
    def _fits(self) -> Calibration:
        count = len(self.temperatures)
        if (self.kind == "one" and count != 1) or (self.kind == "per_class" and count < 2):
            raise ValueError(f"{count} temperatures of kind {self.kind}")
        return self

    def each(self, classes: int) -> tuple[float, ...]:
        """The temperature of every class.

        >>> Calibration(temperatures=(1.5,), split="val", images=1, pixels=9, ece_before=0.2, ece_after=0.1).each(2)
        (1.5, 1.5)
        """
        return self.temperatures * classes if self.kind == "one" else self.temperatures
