"""Goes through labelled images with networks that have not seen them, and collects what is suspect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pixelwise.data.dataset import Split
from pixelwise.errors import DataError
from pixelwise.infer.ahead import ahead
from pixelwise.infer.predictor import as_array, computed
from pixelwise.models.segmenter import Segmenter
from pixelwise.ops.labels import probabilities
from pixelwise.review.labels import Evidence, Region, Shares, SuspectOptions, ranked, suspects_in
from pixelwise.review.parts import Part, joined, part_of, parts_in, suspect_parts, weighed
from pixelwise.types import Sample


class Search:
    """Suspect regions and suspect parts of the masks, collected image by image."""

    def __init__(self, evidence: Evidence, options: SuspectOptions) -> None:
        self.evidence, self.options = evidence, options
        self.regions: list[Part] = []
        self.parts: list[Part] = []

    def add(self, sample: Sample, shares: Shares) -> None:
        """Look through one image: what a network that has not seen it answers, [K, H, W]."""
        name, labels = sample.name, sample.labels
        for region in suspects_in(name, labels, shares, self.evidence, self.options):
            self.regions.append(part_of(region, sample.image, labels, shares))
        self.parts += parts_in(name, sample.image, labels, shares, min_area=self.options.min_area)

    def found(self, names: Sequence[str]) -> list[Region]:
        """All that is suspect, the most probable errors first; `names` are those of all images, in order."""
        classes = len(self.evidence.weights)
        regions = weighed(self.regions, self.parts, names, classes)
        return ranked(joined(regions, suspect_parts(self.parts, names, classes)), names)


def judged(model: Segmenter, split: Split) -> Iterator[tuple[Sample, Shares]]:
    """Each image with its labels, and the model's probabilities [K, H, W], one by one."""
    for index, sample in ahead(split.__getitem__, range(len(split))):
        one = sample()
        try:
            with computed(model, [one.image], None, lambda pixels: model(model.prepare(pixels))) as logits:
                shares = as_array(probabilities(logits)[0])
        except DataError as error:
            error.file = error.file or split.items[index].image
            raise
        yield one, shares
