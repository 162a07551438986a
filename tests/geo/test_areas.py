"""Areas of maps and of samples, judged by a published example, by simulation and by pyproj."""

import json

import numpy as np
import pytest

from pixelwise.errors import ClassesError, DataError, OptionError, UnreadableError
from pixelwise.geo.areas import class_areas, error_adjusted
from pixelwise.geo.classmaps import ArrayMap, Grid
from pixelwise.geo.samples import read_sample, read_scores

# Olofsson et al. 2014, section 5: deforestation, forest gain, stable forest, stable non-forest; 10 million pixels of
# 30 m. Table 8 has the sample; areas with their intervals stand in the text.
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
MAPPED = np.array([200_000, 150_000, 3_200_000, 6_450_000]) * 0.09


def test_the_worked_example_of_the_paper():
    found = error_adjusted(COUNTS, MAPPED)
    assert found.areas.round().tolist() == [21_158, 11_686, 285_770, 581_386]
    # the paper uses 1.96
    assert (1.96 * found.errors).round().tolist() == pytest.approx([6_158, 3_756, 15_510, 16_282], abs=1)
    assert found.overall[0] == pytest.approx(0.947, abs=5e-4)
    assert 1.96 * found.overall[1] == pytest.approx(0.018, abs=5e-4)
    assert found.users == pytest.approx([0.88, 0.733, 0.927, 0.963], abs=5e-4)
    assert 1.96 * found.users_errors == pytest.approx([0.074, 0.101, 0.040, 0.021], abs=6e-4)
    assert found.producers == pytest.approx([0.749, 0.847, 0.935, 0.962], abs=5e-4)
    assert 1.96 * found.producers_errors == pytest.approx([0.213, 0.254, 0.034, 0.018], abs=6e-4)
    half = np.diff(found.intervals, axis=1)[:, 0] / 2
    assert half == pytest.approx(1.96 * found.errors, rel=1e-4)


def test_95_of_100_intervals_hold_the_truth():
    rng = np.random.default_rng(0)
    truth = np.array(
        [[0.9, 0.07, 0.03], [0.2, 0.7, 0.1], [0.06, 0.04, 0.9]]
    )  # of the pixels mapped as each class
    mapped = np.array([6000.0, 1500.0, 2500.0])
    true = mapped @ truth
    places = [150, 100, 100]
    inside, estimates, errors = np.zeros(3), [], []
    for _ in range(3000):
        counts = np.array([rng.multinomial(n, row) for n, row in zip(places, truth, strict=True)])
        found = error_adjusted(counts, mapped)
        estimates.append(found.areas)
        errors.append(found.errors)
        inside += (found.intervals[:, 0] <= true) & (true <= found.intervals[:, 1])
    assert inside / 3000 == pytest.approx(0.95, abs=0.02)
    assert np.mean(estimates, axis=0) == pytest.approx(true, rel=8e-3)  # 3 standard errors
    assert np.mean(errors, axis=0) == pytest.approx(np.std(estimates, axis=0), rel=0.05)


def test_a_perfect_sample_changes_nothing():
    found = error_adjusted(np.diag([5, 9]), np.array([3.0, 4.0]))
    assert (found.areas.tolist(), found.errors.tolist()) == ([3, 4], [0, 0])
    assert found.overall == (1, 0)


def test_a_class_that_was_never_mapped_can_be_found():
    found = error_adjusted(np.array([[8, 2, 0], [0, 0, 0], [0, 0, 10]]), np.array([50.0, 0.0, 50.0]))
    assert found.areas.tolist() == [40, 10, 50]
    assert np.isnan(found.users[1])
    assert found.producers[1] == 0


@pytest.mark.parametrize(
    ("counts", "mapped", "message"),
    [
        ([[1, 0], [3, 3]], [1, 1], "fewer than 2 places mapped as wood"),
        ([[4, 0], [3, 3]], [1, 0], "mapped as road, and the map has no such pixel"),
        ([[4, 0]], [1, 1], r"counts are \[1, 2\]"),
        ([[4, -1], [3, 3]], [1, 1], "none of them negative"),
    ],
)
def test_samples_that_say_nothing(counts, mapped, message):
    with pytest.raises(DataError, match=message):
        error_adjusted(np.array(counts), np.array(mapped, float), ["wood", "road"])


def test_areas_of_a_map_in_strips():
    labels = np.random.default_rng(0).integers(0, 3, (90, 70)).astype(np.uint8)
    labels[:10] = 255
    grid = Grid(90, 70, (0.01, 0, 10, 0, -0.01, 70), "EPSG:4326")
    found = class_areas(ArrayMap(labels, grid, rows=13), ["a", "b", "c"])
    assert found.pixels.tolist() == [int((labels == value).sum()) for value in range(3)]
    import pyproj

    geod = pyproj.Geod(ellps="WGS84")
    rows = []  # a pixel of each row, along geodesics cut fine enough to follow the parallels
    for row in range(90):
        north, south = 70 - 0.01 * row, 70 - 0.01 * (row + 1)
        east = np.linspace(10, 10.01, 20)
        x, y = np.concatenate((east, east[::-1])), np.repeat([south, north], 20)
        rows.append(abs(geod.polygon_area_perimeter(x, y)[0]))
    expected = [(np.array(rows)[:, None] * (labels == value)).sum() for value in range(3)]
    assert found.areas == pytest.approx(expected, rel=1e-6)
    assert class_areas(ArrayMap.of(labels)).areas.tolist() == found.pixels.tolist()
    with pytest.raises(OptionError, match="class index 2, and there are 2"):
        class_areas(ArrayMap.of(labels), ["a", "b"])
    with pytest.raises(DataError, match="no pixel of the map has a class"):
        class_areas(ArrayMap.of(np.full((2, 2), 255, np.uint8)))


LABELS = np.array([[0, 0, 1], [1, 1, 255]], np.uint8)
PLACED = ArrayMap(LABELS, Grid(2, 3, (10.0, 0.0, 500.0, 0.0, -10.0, 900.0), "EPSG:32631"), rows=1)


def test_a_sample_of_places_looks_the_map_up(tmp_path):
    file = tmp_path / "places.csv"
    file.write_text(
        "\ufeffid,X,Y,Reference\n1,501,899,wood\n2,519.9,890.1,road\n3,525,895,1\n4,505,885,road\n5,525,881,wood\n"
    )
    checked = read_sample(file, PLACED, ["wood", "road"])
    assert checked.counts.tolist() == [[1, 1], [0, 2]]
    assert checked.left_out == 1
    file.write_text("map,reference\nwood,road\nroad,road\n")
    assert read_sample(file, PLACED, ["wood", "road"]).counts.tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("x,y\n1,2\n", DataError, "has the columns x, y"),
        ("x,y,reference\n", DataError, "holds no row"),
        ("x,y,reference\n501,899,wod\n", ClassesError, "line 2: 'wod' is no class"),
        ("x,y,reference\n501,here,wood\n", DataError, "'501' and 'here'"),
        ("x,y,reference\n501,899,wood\n2.5,48,wood\n", DataError, "line 3: 2.5, 48 lies outside the map"),
        ("x,y,reference\nnan,899,wood\n", DataError, "outside the map, as do all"),
    ],
)
def test_samples_with_mistakes(tmp_path, text, error, message):
    file = tmp_path / "places.csv"
    file.write_text(text)
    with pytest.raises(error, match=message):
        read_sample(file, PLACED, ["wood", "road"])
    with pytest.raises(UnreadableError, match="cannot be read"):
        read_sample(tmp_path / "none.csv", PLACED, ["wood", "road"])


def test_a_confusion_matrix_is_turned_round(tmp_path):
    file = tmp_path / "scores.json"
    file.write_text(json.dumps({"classes": [{"name": "a"}, {"name": "b"}], "confusion": [[5, 1], [2, 7]]}))
    assert read_scores(file, ("a", "b")).counts.tolist() == [[5, 2], [1, 7]]
    with pytest.raises(ClassesError, match="its classes are a, b"):
        read_scores(file, ("a", "c"))
    file.write_text("{}")
    with pytest.raises(UnreadableError, match=r"no scores\.json"):
        read_scores(file, ("a", "b"))
