"""What a bundle says about 8-bit integers: the ranges of the maps that convolutions take, and what came of them."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]


class Quantization(BaseModel):
    """Which convolutions may compute in 8-bit integers, and what that did to labels.

    Attributes:
        ranges: Lowest and highest value of the input of each such convolution, by its name in the network.
        split: Images the ranges were measured on.
        images: How many of them.
        judged_split: Images the labels were compared on.
        judged_images: How many of them.
        agreement: Share of their pixels that got the label they have without integers.
        mean_iou: Of those images, without integers and with them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ranges: dict[str, tuple[float, float]] = Field(min_length=1)
    split: str
    images: int = Field(ge=1)
    judged_split: str
    judged_images: int = Field(ge=1)
    agreement: Share
    mean_iou: tuple[Share, Share]

    @model_validator(mode="after")
    def _fits(self) -> Quantization:
        for name, (low, high) in self.ranges.items():
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ValueError(f"the range of {name} is {low} to {high}")
        return self
