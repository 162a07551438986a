"""Boundary scores, judged by loops over pairs of pixels, by SciPy's morphology and by scikit-learn."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import jaccard_score

from pixelwise.errors import DataError, MaskError, OptionError
from pixelwise.metrics.boundary import BoundaryCounter
from pixelwise.metrics.boundaryscores import BoundaryScores, boundary_f, boundary_iou
from pixelwise.metrics.contours import FRAME, Sides, contour_counts, halo_rows

Map = NDArray[np.uint8]
NO_FRAME = Sides(False, False, False, False)
NAMES = ("a", "b", "c", "d")

seeds = st.integers(0, 2**32 - 1)


def random_map(rng: np.random.Generator, shape: tuple[int, int], classes: int, ignored: float = 0.1) -> Map:
    """Patches of some pixels with noise and holes."""
    coarse = rng.integers(0, classes, (-(-shape[0] // 3), -(-shape[1] // 3)))
    labels = np.kron(coarse, np.ones((3, 3), int))[: shape[0], : shape[1]]
    noisy = np.where(rng.random(shape) < 0.1, rng.integers(0, classes, shape), labels)
    return np.where(rng.random(shape) < ignored, 255, noisy).astype(np.uint8)


def blobs(rng: np.random.Generator, shape: tuple[int, int], classes: int) -> Map:
    smooth = [ndimage.gaussian_filter(rng.normal(size=shape), 6) for _ in range(classes)]
    return np.argmax(smooth, axis=0).astype(np.uint8)


def brute(labels: Map, k: int, width: int, frame: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Band and contour of a class as rows and columns, by looking at all pairs of pixels."""
    own = np.argwhere(labels == k)
    others = np.argwhere((labels != k) & (labels != 255))
    if frame:
        height, width_ = labels.shape
        ring = np.ones((height + 2, width_ + 2), bool)
        ring[1:-1, 1:-1] = False
        others = np.concatenate((others, np.argwhere(ring) - 1))
    if not len(own) or not len(others):
        return own[:0], own[:0]
    away = np.abs(own[:, None] - others[None])
    return own[(away.max(axis=2) <= width).any(axis=1)], own[(away.sum(axis=2) == 1).any(axis=1)]


def brute_away(points: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    if not len(points) or not len(others):
        return np.full(len(points), np.inf)
    return np.sqrt(((points[:, None] - others[None]) ** 2).sum(axis=2).min(axis=1))


def same(first: NDArray[Any], second: NDArray[Any]) -> int:
    return len({tuple(x) for x in first.tolist()} & {tuple(x) for x in second.tolist()})


def check_against_brute_force(truth: Map, prediction: Map, width: int, tolerance: float, frame: bool) -> None:
    counts = contour_counts(
        truth,
        prediction,
        len(NAMES),
        width=width,
        tolerance=tolerance,
        sides=FRAME if frame else NO_FRAME,
        distances=True,
    )
    seen = np.where(truth == 255, 255, prediction).astype(np.uint8)
    for k in range(len(NAMES)):
        (band, edge), (band_p, edge_p) = (brute(labels, k, width, frame) for labels in (truth, seen))
        assert counts.band[k].tolist() == [same(band, band_p), len(band), len(band_p)]
        there, back = brute_away(edge, edge_p), brute_away(edge_p, edge)
        near = [int((there <= tolerance).sum()), len(edge), int((back <= tolerance).sum()), len(edge_p)]
        assert counts.edge[k].tolist() == near
        pair = counts.distances[k]
        if len(edge) and len(edge_p):
            assert pair is not None
            np.testing.assert_array_equal(np.sort(pair[0]), np.sort(there))
            np.testing.assert_array_equal(np.sort(pair[1]), np.sort(back))
        else:
            assert pair is None


@given(
    seeds,
    st.tuples(st.integers(1, 11), st.integers(1, 13)),
    st.integers(1, 15),
    st.floats(0, 9),
    st.booleans(),
    st.floats(0, 0.6),
)
@settings(deadline=None, max_examples=120)
def test_counts_are_those_of_all_pairs_of_pixels(
    seed: int, shape: tuple[int, int], width: int, tolerance: float, frame: bool, ignored: float
) -> None:
    rng = np.random.default_rng(seed)
    truth = random_map(rng, shape, 3, ignored)
    check_against_brute_force(truth, random_map(rng, shape, 4, 0), width, tolerance, frame)


def adversarial() -> dict[str, tuple[Map, Map]]:
    zeros = np.zeros((9, 11), np.uint8)
    rows = np.broadcast_to((np.arange(9) % 2).astype(np.uint8)[:, None], (9, 11)).copy()
    touching, cross, hole = zeros.copy(), zeros.copy(), zeros.copy()
    touching[:, :2], touching[0], cross[4], cross[:, 5], hole[3:6, 3:6] = 1, 1, 2, 2, 255
    island = np.full((9, 11), 255, np.uint8)
    island[4, 5] = 1
    return {
        "one pixel": (np.zeros((1, 1), np.uint8), np.ones((1, 1), np.uint8)),
        "one row": (rows[:, :1].T.copy(), zeros[:1, :9]),
        "all ignored": (np.full((9, 11), 255, np.uint8), rows),
        "one class": (zeros, zeros),
        "another class": (zeros, zeros + 1),
        "stripes, shifted": (rows, 1 - rows),
        "at the frame": (touching, np.roll(touching, 1, axis=1)),
        "thin lines": (cross, np.roll(cross, 1, axis=0)),
        "a hole": (hole, cross),
        "one known pixel": (island, zeros + 1),
    }


@pytest.mark.parametrize("name", adversarial())
@pytest.mark.parametrize("frame", [True, False])
@pytest.mark.parametrize(("width", "tolerance"), [(1, 0.0), (2, 1.5), (40, math.sqrt(2))])
def test_hard_maps(name: str, frame: bool, width: int, tolerance: float) -> None:
    check_against_brute_force(*adversarial()[name], width, tolerance, frame)


@pytest.mark.parametrize("frame", [True, False])
@pytest.mark.parametrize("width", [1, 3, 12])
def test_scores_of_large_maps_by_morphology_and_scikit_learn(width: int, frame: bool) -> None:
    rng = np.random.default_rng(width)
    pairs = [(blobs(rng, (90, 120), 4), blobs(rng, (90, 120), 4)) for _ in range(3)]
    pairs.append((pairs[0][0], np.roll(pairs[0][0], 2, axis=1)))
    counter = BoundaryCounter(NAMES, width=width, tolerance=2.5, frame=frame)
    for truth, prediction in pairs:
        counter.add(truth, prediction)
    scores = counter.scores()
    for k, name in enumerate(NAMES):
        bands, near, away = [], [], []
        for labels in pairs:
            masks = [one == k for one in labels]
            bands.append([mask & ~eroded(mask, np.ones((3, 3)), width, frame) for mask in masks])
            edges = [mask & ~eroded(mask, None, 1, frame) for mask in masks]
            fields = [ndimage.distance_transform_edt(~edge) for edge in edges]
            away.append((fields[1][edges[0]], fields[0][edges[1]]))
            near.append([away[-1][0] <= 2.5, away[-1][1] <= 2.5])
        one = scores.by_name(name)
        flat = [np.concatenate([pair[place].reshape(-1) for pair in bands]) for place in (0, 1)]
        assert one.boundary_iou == pytest.approx(jaccard_score(*flat), abs=1e-9)
        recall, precision = (float(np.concatenate([n[place] for n in near]).mean()) for place in (0, 1))
        assert one.boundary_recall == pytest.approx(recall, abs=1e-9)
        assert one.boundary_precision == pytest.approx(precision, abs=1e-9)
        assert one.boundary_f == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-9)
        hd95 = [max(np.percentile(a, 95), np.percentile(b, 95)) for a, b in away]
        assd = [np.concatenate(pair).mean() for pair in away]
        assert one.image_mean_hd95 == pytest.approx(np.mean(hd95), abs=1e-9)
        assert one.image_mean_assd == pytest.approx(np.mean(assd), abs=1e-9)
        pooled = [np.concatenate([pair[place] for pair in away]) for place in (0, 1)]
        assert one.pooled_hd95 == pytest.approx(max(np.percentile(a, 95) for a in pooled), abs=1e-9)
        assert one.pooled_assd == pytest.approx(np.concatenate(pooled).mean(), abs=1e-9)
        np.testing.assert_allclose(scores.distances[:, k], np.column_stack((hd95, assd)), rtol=0, atol=1e-9)
    assert scores.mean_boundary_iou == pytest.approx(
        np.mean([c.boundary_iou for c in scores.classes]), abs=1e-9
    )
    assert scores.mean_boundary_f == pytest.approx(np.mean([c.boundary_f for c in scores.classes]), abs=1e-9)


def eroded(mask: NDArray[np.bool_], structure: Any, times: int, frame: bool) -> NDArray[np.bool_]:
    out: NDArray[np.bool_] = ndimage.binary_erosion(mask, structure, times, border_value=0 if frame else 1)
    return out


def scored(*pairs: tuple[Map, Map], **options: Any) -> BoundaryScores:
    counter = BoundaryCounter(NAMES, **options)
    for truth, prediction in pairs:
        counter.add(truth, prediction)
    return counter.scores()


@given(seeds)
@settings(deadline=None, max_examples=30)
def test_what_is_predicted_where_the_truth_ignores_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, prediction = random_map(rng, (12, 15), 4, 0.3), random_map(rng, (12, 15), 4, 0)
    other = np.where(truth == 255, rng.integers(0, 4, truth.shape), prediction).astype(np.uint8)
    assert scored((truth, prediction), width=2).as_dict() == scored((truth, other), width=2).as_dict()


@given(seeds)
@settings(deadline=None, max_examples=30)
def test_changing_places_changes_precision_and_recall_and_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pair = random_map(rng, (12, 15), 4, 0), random_map(rng, (12, 15), 4, 0)
    there, back = scored(pair, width=2), scored(pair[::-1], width=2)
    for one, other in zip(there.classes, back.classes, strict=True):
        assert one.boundary_recall == pytest.approx(other.boundary_precision, nan_ok=True)
        assert one.boundary_iou == pytest.approx(other.boundary_iou, nan_ok=True)
        assert one.pooled_assd == pytest.approx(other.pooled_assd, nan_ok=True)


def test_absent_classes() -> None:
    truth, prediction = np.zeros((6, 6), np.uint8), np.zeros((6, 6), np.uint8)
    truth[2, 2], prediction[4, 4] = 1, 2
    scores = scored((truth, prediction), (truth, truth), width=1)
    assert scores.undefined == ("d",)
    absent, invented, missed = scores.by_name("d"), scores.by_name("c"), scores.by_name("b")
    assert math.isnan(absent.boundary_iou) and math.isnan(absent.boundary_f)
    assert (invented.boundary_iou, invented.boundary_f, invented.boundary_precision) == (0, 0, 0)
    assert math.isnan(invented.boundary_recall) and math.isnan(invented.image_mean_hd95)
    assert (invented.one_sided_images, invented.distance_images) == (1, 0)
    # seen once, found perfectly once: half the contour pixels, and one image with distances
    assert (missed.boundary_iou, missed.boundary_recall, missed.boundary_precision) == (0.5, 0.5, 1.0)
    assert (missed.one_sided_images, missed.distance_images, missed.pooled_hd95) == (1, 1, 0.0)
    assert scores.mean_boundary_iou == pytest.approx((scores.by_name("a").boundary_iou + 0.5 + 0) / 3)
    plain = scores.as_dict()
    json.dumps(plain, allow_nan=False)
    assert plain["classes"][3]["boundary_iou"] is None
    assert plain["undefined"] == ["d"]


def test_nothing_added_and_nothing_known() -> None:
    empty = scored()
    assert empty.undefined == NAMES and math.isnan(empty.mean_boundary_iou)
    ignored = scored((np.full((5, 5), 255, np.uint8), np.zeros((5, 5), np.uint8)))
    assert ignored.undefined == NAMES
    assert ignored.band.shape == (1, 4, 3) and not ignored.band.any()
    json.dumps(empty.as_dict(), allow_nan=False)


def test_the_width_follows_each_image_and_is_stated() -> None:
    small, large = np.zeros((30, 40), np.uint8), np.zeros((360, 480), np.uint8)
    scores = scored((small, small), (large, large))
    assert scores.width == (1, 12)
    assert scores.tolerance == pytest.approx((0.375, 4.5))
    assert "2%" in scores.rule and "0.75%" in scores.rule
    given_ = scored((small, small), width=3)
    assert (given_.width, given_.tolerance) == ((3, 3), (3.0, 3.0))
    # a frame of 3 pixels is all that a map of one class has
    assert given_.band[0, 0].tolist() == [30 * 40 - 24 * 34] * 3


def test_metres_are_pixels_times_their_size() -> None:
    rng = np.random.default_rng(0)
    pair = blobs(rng, (50, 60), 4), blobs(rng, (50, 60), 4)
    pixels, metres = scored(pair), scored(pair, pixel_size=0.25)
    assert (pixels.unit, metres.unit) == ("px", "m")
    for one, other in zip(pixels.classes, metres.classes, strict=True):
        assert other.image_mean_hd95 == pytest.approx(one.image_mean_hd95 / 4)
        assert other.pooled_assd == pytest.approx(one.pooled_assd / 4)
        assert other.boundary_iou == one.boundary_iou


@given(seeds, st.integers(1, 6), st.floats(0, 6), st.integers(1, 9), st.booleans())
@settings(deadline=None, max_examples=60)
def test_parts_with_a_halo_add_up_to_the_whole(
    seed: int, width: int, tolerance: float, rows: int, frame: bool
) -> None:
    rng = np.random.default_rng(seed)
    shape = int(rng.integers(1, 30)), 9
    truth, prediction = random_map(rng, shape, 3, 0.2), random_map(rng, shape, 3, 0)
    halo = halo_rows(width, tolerance)
    reach = {"width": width, "tolerance": tolerance}
    whole = contour_counts(truth, prediction, 4, **reach, sides=Sides(*[frame] * 4))
    band, edge = np.zeros_like(whole.band), np.zeros_like(whole.edge)
    for top in range(0, shape[0], rows):
        bottom = min(top + rows, shape[0])
        above, below = max(0, top - halo), min(shape[0], bottom + halo)
        sides = Sides(frame and above == 0, frame and below == shape[0], frame, frame)
        core = slice(top - above, bottom - above)
        parts = truth[above:below], prediction[above:below]
        part = contour_counts(*parts, 4, **reach, sides=sides, core=core)
        band += part.band
        edge += part.edge
    np.testing.assert_array_equal(band, whole.band)
    np.testing.assert_array_equal(edge, whole.edge)


def test_counts_per_image_give_the_scores_again() -> None:
    rng = np.random.default_rng(3)
    scores = scored(*[(random_map(rng, (20, 20), 4), random_map(rng, (20, 20), 4, 0)) for _ in range(5)])
    iou, rates = boundary_iou(scores.band.sum(axis=0)), boundary_f(scores.edge.sum(axis=0))
    assert iou.tolist() == [one.boundary_iou for one in scores.classes]
    assert rates[:, 0].tolist() == [one.boundary_f for one in scores.classes]
    assert boundary_f(scores.edge).shape == (5, 4, 3)  # of each image, for resampling


@pytest.mark.parametrize(
    "options",
    [
        {"width": 0},
        {"width": 2, "tolerance": -1.0},
        {"tolerance": math.nan},
        {"pixel_size": 0.0},
        {"pixel_size": math.inf},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="fix: give"):
        BoundaryCounter(NAMES, **options)


def test_maps_that_cannot_be_compared_are_refused() -> None:
    counter = BoundaryCounter(NAMES)
    good = np.zeros((4, 5), np.uint8)
    with pytest.raises(DataError, match="4 x 4"):
        counter.add(good, good[:, :4])
    with pytest.raises(MaskError, match="value 9"):
        counter.add(good + 9, good)
    with pytest.raises(DataError, match="value 4"):
        counter.add(good, good + 4)
    with pytest.raises(DataError, match="one by one"):
        counter.add(good[None], good[None])
    with pytest.raises(OptionError, match="did you mean"):
        counter.scores().by_name("aa")
    assert counter.scores().band.shape == (0, 4, 3)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(4))
def test_distances_and_matches_are_those_of_monai(seed: int) -> None:
    metrics = pytest.importorskip("monai.metrics", reason="MONAI is not installed")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    truth, prediction = blobs(rng, (60, 70), 4), blobs(rng, (60, 70), 4)
    scores = scored((truth, prediction), width=5, tolerance=3.0)
    coded = [torch.tensor(np.arange(4)[:, None, None] == labels)[None] for labels in (prediction, truth)]
    shared: dict[str, Any] = {"include_background": True}
    hd95 = metrics.compute_hausdorff_distance(*coded, percentile=95, **shared)[0]
    assd = metrics.compute_average_surface_distance(*coded, symmetric=True, **shared)[0]
    nsd = metrics.compute_surface_dice(*coded, class_thresholds=[3.0] * 4, **shared)[0]
    np.testing.assert_allclose(scores.distances[0, :, 0], hd95, rtol=0, atol=1e-5)  # theirs are float32
    np.testing.assert_allclose(scores.distances[0, :, 1], assd, rtol=0, atol=1e-5)
    edge = scores.edge[
        0
    ]  # their surface Dice pools both contours, ours takes the harmonic mean of two shares
    pooled = (edge[:, 0] + edge[:, 2]) / (edge[:, 1] + edge[:, 3])
    np.testing.assert_allclose(pooled, nsd, rtol=0, atol=1e-5)


def test_the_example_of_the_docs_runs() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "scores.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(code, "scores.md", "exec"), {})
