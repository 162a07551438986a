"""Pages of the review: regions that are probably labelled wrongly, and images to label next."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from scipy import ndimage

from pixelwise.report.page import rendered
from pixelwise.report.pictures import Rgb, colored, data_uri, heat
from pixelwise.types import ClassSpec, Labels

_MARK = (255, 0, 200)  # the outline of a region; no class of any of our palettes has it
_SCRIPT = """
const ticked = () => [...document.querySelectorAll('input[data-rank]:checked')].map(box => box.dataset.rank);
const command = document.getElementById('command');
document.getElementById('chosen').hidden = false;
for (const box of document.querySelectorAll('.pick')) box.hidden = false;
const show = () => { command.textContent = command.dataset.start + ' --accept ' + (ticked().join(',') || 'none'); };
document.addEventListener('change', show);
show();
"""


@dataclass(frozen=True, eq=False)
class Suspect:
    """A region that is probably labelled wrongly, with its surroundings.

    Attributes:
        rank: From 1.
        name: Of its image.
        box: top, left, bottom, right in the image.
        area: Pixels.
        given: The class it is labelled as.
        suggested: The class it may be.
        score: What it was ranked by.
        rgb: [h, w, 3], the surroundings.
        labels: [h, w], what they are labelled as.
        prediction: [h, w], what the network has there.
        shape: bool [h, w], the region.
    """

    rank: int
    name: str
    box: tuple[int, int, int, int]
    area: int
    given: int
    suggested: int
    score: float
    rgb: Rgb
    labels: Labels
    prediction: Labels
    shape: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Unlabelled:
    """An image to label: the picture, and the entropy of its pixels in 0..1."""

    name: str
    uncertainty: float
    distance: float
    rgb: Rgb
    entropy: NDArray[np.float32]


def surroundings(box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """The part of an image [H, W] to show around a box: as much again on every side, at least 32 pixels."""
    parts = []
    for start, stop, side in ((box[0], box[2], size[0]), (box[1], box[3], size[1])):
        margin = max(32, (stop - start) // 2)
        parts.append(slice(max(0, start - margin), min(side, stop + margin)))
    return parts[0], parts[1]


def outlined(rgb: Rgb, shape: NDArray[np.bool_]) -> Rgb:
    """A copy of a picture [h, w, 3] with a line around a shape [h, w]; the line lies outside the shape."""
    picture = rgb.copy()
    picture[ndimage.binary_dilation(shape, np.ones((3, 3))) & ~shape] = _MARK
    return picture


def label_errors_page(
    suspects: Sequence[Suspect],
    classes: Sequence[ClassSpec],
    *,
    title: str,
    facts: Mapping[str, object],
    total: int,
    command: str,
) -> str:
    """The ranked regions as HTML.

    Args:
        suspects: The first ones, in order.
        classes: Names and colours.
        title: Heading.
        facts: How they were found: label and value.
        total: How many there are in the patch.
        command: What applies the patch, without `--accept`.
    """
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    shown = [_shown(suspect, classes) for suspect in suspects]
    values: dict[str, Any] = {"title": title, "facts": facts, "total": total, "suspects": shown}
    values |= {"classes": classes, "command": command, "script": Markup(_SCRIPT), "digest": digest}
    return rendered("label_errors.html", values)


def next_images_page(images: Sequence[Unlabelled], *, title: str, facts: Mapping[str, object]) -> str:
    """The images to label next as HTML, the first one first."""
    shown = [
        {
            "name": image.name,
            "uncertainty": image.uncertainty,
            "distance": image.distance,
            "shown": [
                ("image", data_uri(image.rgb, photo=True)),
                ("uncertainty", data_uri(heat(image.entropy), photo=True)),
            ],
        }
        for image in images
    ]
    return rendered("next_images.html", {"title": title, "facts": facts, "images": shown})


def _shown(suspect: Suspect, classes: Sequence[ClassSpec]) -> dict[str, Any]:
    corrected = suspect.labels.copy()
    corrected[suspect.shape] = suspect.suggested
    pictures = {"given labels": suspect.labels, "network": suspect.prediction, "suggested labels": corrected}
    return {
        "rank": suspect.rank,
        "name": suspect.name,
        "place": f"rows {suspect.box[0]} to {suspect.box[2] - 1}, columns {suspect.box[1]} to {suspect.box[3] - 1}",
        "area": suspect.area,
        "given": classes[suspect.given],
        "suggested": classes[suspect.suggested],
        "score": suspect.score,
        "shown": [
            ("image", False, data_uri(outlined(suspect.rgb, suspect.shape), photo=True)),
            *((kind, True, data_uri(colored(labels, classes))) for kind, labels in pictures.items()),
        ],
    }
