"""Places to look at: how many, where, and what comes of them; judged by the published example and by plain NumPy."""

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from pixelwise.errors import DataError, OptionError, UnreadableError
from pixelwise.geo.areas import class_areas, error_adjusted
from pixelwise.geo.classmaps import ArrayMap, Grid
from pixelwise.geo.sampleplan import allocate, plan_sample, write_plan
from pixelwise.geo.samples import read_sample

NAMES = ("wood", "road", "lake")
LABELS = np.digitize(np.random.default_rng(3).random((200, 150)), [0.8, 0.98]).astype(np.uint8)
LABELS[:, :9] = 255
UTM = Grid(200, 150, (10.0, 0.0, 5e5, 0.0, -10.0, 5.2e6), "EPSG:32631")
SOURCE = ArrayMap(LABELS, UTM, NAMES, rows=37)
AREAS = class_areas(SOURCE)


def test_the_published_example_of_an_allocation():
    # Olofsson et al. 2014, section 5.1.2 and table 5: 75 places for each of the two rare classes, shares for the others
    # (165 and 325 there, rounded by hand)
    counts = allocate(641, np.array([200_000, 150_000, 3_200_000, 6_450_000.0]), fewest=75)
    assert counts.tolist() == [75, 75, round(491 * 320 / 965), round(491 * 645 / 965)]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8).filter(lambda a: max(a) > 1), st.integers(16, 900))
def test_every_place_is_given_away_and_no_class_is_forgotten(areas, places):
    areas = np.array(areas)
    counts = allocate(places, areas)
    mapped = areas > 0
    assert counts.sum() == places
    assert (counts[~mapped] == 0).all()
    assert (counts[mapped] >= min(50, places // mapped.sum())).all()
    order = np.argsort(areas[mapped], kind="stable")
    assert (np.diff(counts[mapped][order]) >= -1).all()  # larger classes get no fewer, but for rounding


def test_places_lie_in_their_classes_once_and_anywhere():
    plan = plan_sample(SOURCE, AREAS, 300, seed=1)
    columns, rows = np.floor(UTM.to_pixels(plan.points)).astype(int).T
    assert np.array_equal(LABELS[rows, columns], plan.values)
    assert len({*zip(rows.tolist(), columns.tolist(), strict=True)}) == 300
    assert np.bincount(plan.values).tolist() == plan.counts.tolist() == allocate(300, AREAS.areas).tolist()
    assert np.array_equal(plan.points, plan_sample(SOURCE, AREAS, 300, seed=1).points)
    assert not np.array_equal(plan.points, plan_sample(SOURCE, AREAS, 300, seed=2).points)
    # of wood, every tenth of the rows holds a tenth of the places (200 in 20 draws each: chi-squared of 9, 99.9 %)
    found = np.concatenate([UTM.to_pixels(p.points)[p.values == 0, 1] for p in (
        plan_sample(SOURCE, AREAS, 300, seed=seed) for seed in range(20))])  # fmt: skip
    expected = len(found) * (LABELS == 0).reshape(10, 20, 150).sum(axis=(1, 2)) / (LABELS == 0).sum()
    counts = np.bincount((found // 20).astype(int), minlength=10)
    assert ((counts - expected) ** 2 / expected).sum() < 27.9


def test_ground_counts_and_not_pixels():
    """In degrees a pixel at 60 to 80 degrees north has a half to a sixth of the ground of one at the equator."""
    labels = np.zeros((80, 400), np.uint8)
    source = ArrayMap(labels, Grid(80, 400, (0.1, 0, 0, 0, -1.0, 80), "EPSG:4326"), ("land",), rows=30)
    plan = plan_sample(source, class_areas(source), 4000)
    north = plan.points[:, 1]
    assert (north > 60).mean() == pytest.approx(
        (np.sin(np.deg2rad(80)) - np.sin(np.deg2rad(60))) / np.sin(np.deg2rad(80)), abs=0.02
    )  # on a sphere


def test_a_plan_with_its_references_gives_the_estimate_of_plain_numpy(tmp_path):
    truth = np.where(np.random.default_rng(5).random(LABELS.shape) < 0.1, (LABELS + 1) % 3, LABELS)
    plan = plan_sample(SOURCE, AREAS, 400, seed=4)
    columns, rows = np.floor(UTM.to_pixels(plan.points)).astype(int).T
    reference = truth[rows, columns]
    table = write_plan(plan, tmp_path / "places.csv")
    head, *lines = table.read_text().splitlines()
    assert head == "id,x,y,reference"
    assert not any(name in table.read_text() for name in NAMES)  # who looks must not know
    table.write_text("\n".join([head, *(line + NAMES[k] for line, k in zip(lines, reference, strict=True))]))
    points = write_plan(plan, tmp_path / "places.gpkg")
    meta, _, _, fields = pyogrio.raw.read(points)
    assert list(meta["fields"]) == ["id", "reference"]
    assert all(value is None for value in fields[1])
    moved = pyproj.Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True).transform(*plan.points.T)
    pyogrio.raw.write(  # as a GIS saves it: in another coordinate system
        str(tmp_path / "seen.gpkg"), shapely.to_wkb(shapely.points(*moved)), [np.array(NAMES, object)[reference]],
        ["reference"], geometry_type="Point", crs="EPSG:4326", driver="GPKG",
    )  # fmt: skip
    expected = np.zeros((3, 3), int)
    for mapped, found in zip(plan.values, reference, strict=True):
        expected[mapped, found] += 1
    for file in (table, tmp_path / "seen.gpkg"):
        assert read_sample(file, SOURCE, NAMES).counts.tolist() == expected.tolist()
    adjusted = error_adjusted(expected, AREAS.areas)
    weight = AREAS.areas / AREAS.areas.sum()
    for k in range(3):
        share = [expected[i, k] / expected[i].sum() for i in range(3)]
        spread = sum(weight[i] ** 2 * share[i] * (1 - share[i]) / (expected[i].sum() - 1) for i in range(3))
        assert adjusted.areas[k] == pytest.approx(AREAS.areas.sum() * np.dot(weight, share))
        assert adjusted.errors[k] == pytest.approx(AREAS.areas.sum() * spread**0.5)


def test_the_mean_of_many_estimates_is_the_truth():
    truth = np.where(np.random.default_rng(5).random(LABELS.shape) < 0.1, (LABELS + 1) % 3, LABELS)
    estimates = []
    for seed in range(40):
        plan = plan_sample(SOURCE, AREAS, 400, seed=seed)
        columns, rows = np.floor(UTM.to_pixels(plan.points)).astype(int).T
        counts = np.zeros((3, 3), int)
        np.add.at(counts, (plan.values, truth[rows, columns]), 1)
        estimates.append(error_adjusted(counts, AREAS.areas).areas)
    true = np.bincount(truth[LABELS != 255], minlength=3) / (LABELS != 255).sum() * AREAS.areas.sum()
    error = np.std(estimates, axis=0) / 40**0.5
    assert (np.abs(np.mean(estimates, axis=0) - true) < 3.5 * error).all()


def test_what_cannot_be_planned_or_read(tmp_path):
    with pytest.raises(OptionError, match="5 places for 3 mapped classes"):
        plan_sample(SOURCE, AREAS, 5)
    plan = plan_sample(SOURCE, AREAS, 20)
    with pytest.raises(OptionError, match=r"NAME\.gpkg"):
        write_plan(plan, tmp_path / "a.shp")
    bare = ArrayMap.of(LABELS)
    nowhere = plan_sample(bare, class_areas(bare), 20)
    with pytest.raises(DataError, match="no coordinate system"):
        write_plan(nowhere, tmp_path / "a.gpkg")
    assert not list(tmp_path.iterdir())
    table = write_plan(nowhere, tmp_path / "a.csv")
    for file in (table, write_plan(plan, tmp_path / "a.gpkg")):
        with pytest.raises(DataError, match="20 of 20 places have no reference"):
            read_sample(file, SOURCE, NAMES)
    (tmp_path / "b.gpkg").write_text("id,x,y,reference\n")
    with pytest.raises(UnreadableError, match=r"is no \.gpkg file"):
        read_sample(tmp_path / "b.gpkg", SOURCE, NAMES)


def test_small_classes_give_all_of_their_pixels():
    labels = np.zeros((40, 40), np.uint8)
    labels[7, 8:11] = 1
    source = ArrayMap(labels, Grid(40, 40), ("sea", "rock"))
    plan = plan_sample(source, class_areas(source), 100)
    assert plan.counts.tolist() == [50, 3]
    assert sorted(plan.points[plan.values == 1].tolist()) == [[8.5, 7.5], [9.5, 7.5], [10.5, 7.5]]
