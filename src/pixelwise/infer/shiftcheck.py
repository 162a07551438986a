"""The shift alarm for what `predict` is given: some images and windows of scenes are looked at before the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.read import read_image
from pixelwise.errors import PixelwiseError
from pixelwise.geo.mosaic import open_scene
from pixelwise.geo.reader import REMOTE, open_raster
from pixelwise.infer.placed import told_apart
from pixelwise.infer.sceneinput import SceneReader, trained_pixel_size
from pixelwise.infer.shift import (
    ShiftReport,
    Sign,
    compared,
    input_shift,
    known_directions,
    order_gains,
    order_sign,
)
from pixelwise.models.bundle import facts_of
from pixelwise.models.fingerprint import Fingerprint
from pixelwise.models.network import Network
from pixelwise.ops.bandshift import distance
from pixelwise.ops.tiles import Box

IMAGES = 16
"""Images that are looked at, evenly spaced."""

TOGETHER = 8
"""From so many on their mean is judged too; limits are of means of 8."""

SCENES = 4
"""Scenes that are looked at: the first ones on this machine."""

WINDOWS = 4
"""Windows that are looked at of each scene."""

_SIDE = 512


@dataclass(frozen=True)
class ShiftSummary:
    """What was found in the inputs.

    Attributes:
        reports: The name and the report of each that was looked at.
        together: Signs of all of them together.
    """

    reports: tuple[tuple[str, ShiftReport], ...] = ()
    together: tuple[Sign, ...] = ()

    def warnings(self) -> list[str]:
        """One line for each kind of sign, with how many inputs show it and the numbers of the first."""
        lines = [
            f"the {len(self.reports)} inputs looked at are together unlike the training images: {sign.found} "
            f"({sign.value:.3g}, limit {sign.limit:.3g})"
            for sign in self.together
        ]
        for kind in dict.fromkeys(kind for _, report in self.reports for kind in report.kinds):
            shown = [
                (name, sign) for name, report in self.reports for sign in report.signs if sign.kind == kind
            ]
            name, sign = shown[0]
            inputs = len({name for name, _ in shown})
            lines.append(
                f"{inputs} of {len(self.reports)} inputs looked at are unlike the training images: "
                f"{name}: {sign.found} ({sign.value:.3g}, limit {sign.limit:.3g})"
            )
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        odd = [{"input": name, **report.as_dict()} for name, report in self.reports if not report.ok]
        return {
            "looked_at": len(self.reports),
            "unlike": odd,
            "together": [sign.as_dict() for sign in self.together],
            "warnings": self.warnings(),
        }


def check_inputs(
    model: Network, inputs: Sequence[Path], out: Path, *, resample: bool = False
) -> ShiftSummary:
    """Look at up to 16 images and 4 windows of each of up to 4 scenes; what cannot be read is left to `predict`.

    With `resample` scenes are seen at the pixel size of the training images, as `predict` will read them.
    """
    known = facts_of(model).fingerprint
    if known is None:
        return ShiftSummary()
    try:
        found = told_apart(inputs, out, resample=resample)
    except PixelwiseError:
        return ShiftSummary()
    placed = {job.image for job in found.placed}
    reports: list[tuple[str, ShiftReport]] = []
    for path in _evenly(found.images, IMAGES):
        try:
            size = _pixel_size(path) if path in placed else None
            reports.append((path.name, input_shift(model, read_image(path), pixel_size=size)))
        except PixelwiseError:
            continue
    local = [Path(source) for source, _ in found.scenes if not REMOTE.match(source)]
    for path in local[:SCENES]:
        try:
            reports += _scene(model, path, trained_pixel_size(model) if resample else None)
        except PixelwiseError:
            continue
    checked = [(name, report) for name, report in reports if report.checked]
    together = judged_together(known, [report for _, report in checked])
    return ShiftSummary(tuple(checked), together)


def judged_together(known: Fingerprint, reports: Sequence[ShiftReport]) -> tuple[Sign, ...]:
    """What the mean over several images says, for one may have no colour that tells the order of its bands."""
    looks = [report.look for report in reports if report.look is not None]
    if len(looks) < TOGETHER:
        return ()
    signs = []
    gains = np.mean([order_gains(look, known_directions(known.chroma)) for look in looks], axis=0).tolist()
    if max(gains, default=0.0) > known.order_mean:
        signs.append(order_sign(gains, known.bands, known.order_mean))
    for each in zip(*(compared(known, look) for look in looks), strict=True):
        kind, words, _, spread = each[0]
        far = distance(np.mean([vector for _, _, vector, _ in each], axis=0), known_directions(spread))
        if far > spread.mean_limit:
            found = f"{words} are far from training in the mean"
            signs.append(Sign(kind, found, far, spread.mean_limit))
    return tuple(signs)


def _scene(model: Network, path: Path, pixel_size: float | None) -> list[tuple[str, ShiftReport]]:
    """Windows along the diagonal of a scene, those without data left out."""
    reports = []
    with open_scene(path, pixel_size=pixel_size) as reader:
        facts = reader.facts
        windows = SceneReader(reader, drop_alpha=facts.alpha and facts.bands == model.bands + 1)
        for part in range(WINDOWS):
            top, left = (max(0, side - _SIDE) * (2 * part + 1) // (2 * WINDOWS) for side in facts.size)
            box = Box(top, left, min(facts.height, top + _SIDE), min(facts.width, left + _SIDE))
            image, empty = windows.read(box)
            if empty is not None and empty.mean() > 0.2:
                continue
            reports.append((path.name, input_shift(model, image, pixel_size=facts.place.pixel_size)))
    return reports


def _pixel_size(path: Path) -> float | None:
    with open_raster(path) as reader:
        return reader.facts.place.pixel_size


def _evenly(paths: Sequence[Path], count: int) -> list[Path]:
    if len(paths) <= count:
        return list(paths)
    return [paths[int(place)] for place in np.linspace(0, len(paths) - 1, count)]
