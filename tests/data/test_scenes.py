"""Scenes labelled by polygons as datasets: windows, splits and everything that can be wrong with them."""

import itertools
import json

import numpy as np
import pytest
import rasterio

from pixelwise.data.check import check_dataset
from pixelwise.data.classes import ClassTable
from pixelwise.data.classmaps import open_class_map
from pixelwise.data.dataset import open_dataset
from pixelwise.data.ground import split_ground, windows
from pixelwise.errors import ClassesError, DataError, LayoutError, OptionError, UnreadableError
from pixelwise.geo.classmaps import ArrayMap, Grid
from pixelwise.geo.polygons import polygonize
from pixelwise.geo.vectorfiles import write_polygons

NAMES = ("field", "wood", "road")
CLASSES = "classes: [{name: field}, {name: wood}, {name: road}]\ncolumn: class_name\n"
WEST, NORTH = 4e5, 5.2e6


def scene(root, name, shape=(300, 900), *, west=WEST, north=NORTH, seed=0, suffix=None, **profile):
    """A scene whose grey is its class times 80, and its labels; returns the labels."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 3, (-(-shape[0] // 10), -(-shape[1] // 10))), np.ones((10, 10)))
    labels = labels[: shape[0], : shape[1]].astype(np.uint8)
    place = (0.5, 0.0, west, 0.0, -0.5, north)
    file = root / "scenes" / f"{name}.tif"
    file.parent.mkdir(parents=True, exist_ok=True)
    size = {"height": shape[0], "width": shape[1], "count": 1}
    profile = {"crs": "EPSG:32632", "transform": rasterio.Affine(*place), "dtype": "uint8"} | profile
    with rasterio.open(file, "w", **size, **profile) as out:
        out.write((labels * 80 + 10).astype(profile["dtype"]), 1)
    if suffix:
        grid = Grid(*shape, place, "EPSG:32632")
        found = polygonize(ArrayMap(labels, grid), names=NAMES)
        (root / "labels").mkdir(exist_ok=True)
        write_polygons(found, root / "labels" / f"{file.stem}{suffix}")
    return labels


@pytest.fixture
def town(tmp_path):
    labels = scene(tmp_path, "town", suffix=".gpkg")
    (tmp_path / "classes.yaml").write_text(CLASSES + "tile: 100\n")
    return tmp_path, labels


def test_every_window_has_the_image_and_the_labels_of_its_place(town):
    root, labels = town
    data = open_dataset(root)
    assert [spec.name for spec in data.classes] == list(NAMES)
    assert {split.name: len(split) for split in data.splits} == {"train": 15, "val": 3, "test": 3}
    for split in data.splits:
        for item, sample in zip(split.items, split, strict=True):
            rows, columns = slice(item.box.top, item.box.bottom), slice(item.box.left, item.box.right)
            assert np.array_equal(sample.labels, labels[rows, columns])
            assert np.array_equal(sample.image[:, :, 0], labels[rows, columns] * 80 + 10)
    assert "left out 6 windows between the splits, so that no two of them touch" in data.notes
    assert data.digest() == open_dataset(root).digest()
    stored = json.loads(json.dumps(data.split_names()))
    assert open_dataset(root, split=stored).split_names() == data.split_names()


def test_check_finds_nothing_wrong(town):
    root, labels = town
    report = check_dataset(root)
    assert report.ok
    assert not report.findings
    assert report.images == {"train": 15, "val": 3, "test": 3}
    assert {entry.name for entry in report.classes} == set(NAMES)
    kept = labels[:, :500].size + labels[:, 600:700].size + labels[:, 800:].size
    assert report.pixels == kept


def test_windows_of_two_splits_never_touch(town):
    data = open_dataset(town[0])
    for one, other in itertools.combinations(data.splits, 2):
        for a, b in itertools.product(one.items, other.items):
            apart = max(a.box.left - b.box.right, b.box.left - a.box.right, a.box.top - b.box.bottom)
            assert max(apart, b.box.top - a.box.bottom) >= 100  # the gap is a whole window


@pytest.mark.parametrize("shape", [(100, 900), (900, 100), (130, 1), (512, 512)])
def test_windows_cover_a_scene_once(shape):
    seen = np.zeros(shape, int)
    for box in windows(Grid(*shape), 64):
        seen[box.top : box.bottom, box.left : box.right] += 1
        assert box.height <= 96
        assert box.width <= 96
    assert (seen == 1).all()


def test_small_scenes_are_split_as_wholes_from_west_to_east():
    grids = [Grid(90, 90, (1, 0, WEST + 200 * i, 0, -1, NORTH), "EPSG:32632") for i in (3, 0, 1, 2, 4, 5, 6)]
    parts, origin = split_ground(grids, 64)
    assert "west to east" in origin
    assert [next(iter(part)) for part in parts] == ["train"] * 5 + ["val", "test"]
    with pytest.raises(OptionError, match="cannot be split"):
        split_ground(grids[:2], 64)


def test_folders_give_the_split_and_each_scene_has_its_labels(tmp_path):
    for index, (split, suffix) in enumerate([("train", ".geojson"), ("val", ".fgb"), ("test", ".parquet")]):
        scene(tmp_path, f"{split}/s{index}", (80, 120), west=WEST + 100 * index, seed=index, suffix=suffix)
    (tmp_path / "classes.yaml").write_text(CLASSES + "tile: 40\n")
    data = open_dataset(tmp_path)
    assert [split.names[0] for split in data.splits] == [f"s{i}/r000000_c000000" for i in range(3)]
    assert [len(split) for split in data.splits] == [6, 6, 6]
    assert data.split_origin.startswith("folders below scenes/")


def test_the_same_ground_in_two_splits_is_refused(tmp_path):
    for index, split in enumerate(("train", "val")):
        scene(tmp_path, f"{split}/s{index}", (80, 120), west=WEST + 50 * index, suffix=".gpkg")
    (tmp_path / "classes.yaml").write_text(CLASSES)
    with pytest.raises(LayoutError, match=r"s0.tif in train and s1.tif in val show the same ground, 16.67%"):
        open_dataset(tmp_path)


def test_scenes_that_share_an_edge_do_not_overlap(tmp_path):
    for index, split in enumerate(("train", "val", "test")):
        scene(tmp_path, f"{split}/s{index}", (2000, 80), west=WEST + 40 * index, suffix=".gpkg")
    (tmp_path / "classes.yaml").write_text(CLASSES)
    assert all(len(split) for split in open_dataset(tmp_path).splits)


def test_one_file_for_all_scenes_and_no_data(tmp_path):
    labels = scene(
        tmp_path, "a", (60, 200), suffix=".gpkg", nodata=90
    )  # class 1 is where the scene has no data
    scene(tmp_path, "b", (60, 200), west=WEST + 1000)
    (tmp_path / "labels" / "a.gpkg").rename(tmp_path / "labels.gpkg")
    (tmp_path / "classes.yaml").write_text(CLASSES + "tile: 50\noutside: ignore\n")
    data = open_dataset(tmp_path)
    assert any("none on b.tif" in note for note in data.notes)
    first = data.train[0]
    assert np.array_equal(first.labels, np.where(labels == 1, 255, labels)[:60, :50])
    assert first.image[labels[:60, :50] == 1].max() == 0
    assert (data.train[len(data.train) - 1].labels == 255).all()


def test_numbers_that_are_no_measurements(tmp_path):
    scene(tmp_path, "a", (60, 200), suffix=".gpkg", dtype="float32")
    (tmp_path / "classes.yaml").write_text(CLASSES + "tile: 50\n")
    with rasterio.open(tmp_path / "scenes" / "a.tif", "r+") as file:
        stored = file.read()
    columns = [item.box.left for item in open_dataset(tmp_path).train.items]

    def checked(value, nodata=None):
        values = stored.copy()
        values[0, 20:25, columns[1] + 3] = value
        with rasterio.open(tmp_path / "scenes" / "a.tif", "r+") as file:
            file.nodata = nodata
            file.write(values)
        return check_dataset(tmp_path)

    for value, code in ((np.inf, "image-number"), (-9999.0, "image-blank")):
        (finding,) = checked(value).errors
        assert (finding.problem.code, finding.problem.count) == (code, 5)
        assert finding.problem.position == (columns[1] + 3, 20)
        with pytest.raises(DataError, match="5 pixels"):
            open_dataset(tmp_path).train[1]
    for value, nodata, why in (
        (np.nan, None, "NaN, which is not declared"),
        (np.nan, np.nan, "as declared"),
        (-9999, -9999, "as declared"),
    ):
        report = checked(value, nodata)
        assert report.ok
        assert report.ignored == 5
        assert f"5 pixels without data ({why}) count nowhere: 1 (a.tif)" in report.notes


def test_two_classes_need_no_column(town):
    root = town[0]
    (root / "classes.yaml").write_text("[{name: land}, {name: mapped}]")
    sample = open_dataset(root).train[0]
    assert (sample.labels == 1).all()
    (root / "classes.yaml").write_text("classes: [{name: a}, {name: b}, {name: c}]")
    with pytest.raises(ClassesError, match="no column that says"):
        open_dataset(root)


def test_values_and_ignore_speak_of_the_column(town):
    root, labels = town
    (root / "classes.yaml").write_text(
        "classes: [{name: open}, {name: trees}]\ncolumn: class_index\nvalues: {0: open, 1: trees}\nignore: [2]\n"
        "tile: 100\n"
    )
    sample = open_dataset(root).train[0]
    assert np.array_equal(sample.labels, np.array([0, 1, 255], np.uint8)[labels[:100, :100]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [{name: field}]\ncolumn: clas_name", "did you mean 'class_name'"),
        ("classes: [{name: field}, {name: wood}]\ncolumn: class_name", "holds 'road', no class"),
        (CLASSES + "outside: fields", "did you mean 'field'"),
        (CLASSES + "tile: 4", "tile is 4"),
        (CLASSES + "values: {1: wod}", "did you mean 'wood'"),
        (CLASSES + "colunm: x", "did you mean 'column'"),
    ],
)
def test_class_files_with_mistakes(town, text, message):
    (town[0] / "classes.yaml").write_text(text)
    with pytest.raises(ClassesError, match=message):
        open_dataset(town[0])


def test_without_classes_the_columns_are_named(town):
    (town[0] / "classes.yaml").unlink()
    with pytest.raises(ClassesError, match="its columns are: class_index, class_name, area_m2"):
        open_dataset(town[0])


def test_scenes_and_labels_that_do_not_fit(tmp_path):
    scene(tmp_path, "a", (60, 200), suffix=".gpkg")
    (tmp_path / "classes.yaml").write_text(CLASSES)
    scene(tmp_path, "b", (60, 200), west=WEST + 500)
    with pytest.raises(LayoutError, match="has no file of polygons"):
        open_dataset(tmp_path)
    (tmp_path / "labels" / "b.gpkg").write_bytes((tmp_path / "labels" / "a.gpkg").read_bytes())
    with pytest.raises(DataError, match=r"none of its \d+ polygons lies on b.tif"):
        open_dataset(tmp_path)
    scene(tmp_path, "b", (60, 200), west=WEST + 500, suffix=".geojson")
    with pytest.raises(LayoutError, match="has several files of polygons"):
        open_dataset(tmp_path)
    (tmp_path / "labels" / "b.gpkg").unlink()
    scene(tmp_path, "train/c", (60, 200), west=WEST + 900, suffix=".gpkg")
    with pytest.raises(LayoutError, match="outside the split folders"):
        open_dataset(tmp_path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_scenes_that_cannot_be_used(tmp_path):
    scene(tmp_path, "a", (60, 200), suffix=".gpkg")
    (tmp_path / "classes.yaml").write_text(CLASSES)
    scene(tmp_path, "a", (60, 200), crs=None)
    with pytest.raises(DataError, match="has no coordinate system"):
        open_dataset(tmp_path)
    (tmp_path / "scenes" / "a.tif").write_text("<VRTDataset/>")
    with pytest.raises(UnreadableError, match="is not a TIFF"):
        open_dataset(tmp_path)


def link(root, folder, labels=None):
    (root / "scenes").mkdir(parents=True)
    (root / "scenes" / "scene.tif").symlink_to(folder / "scene.tif")
    if labels:
        (root / f"labels{labels.suffix}").symlink_to(labels)
    return root


def test_footprints_of_kampala_are_the_published_mask(shared_data, tmp_path):
    folder = shared_data("geo/kampala_drone")
    root = link(tmp_path / "kampala", folder, folder / "buildings.geojson")
    (root / "classes.yaml").write_text("[{name: background}, {name: building}]")
    data = open_dataset(root)
    assert any("206 polygons, of which" in note for note in data.notes)
    with rasterio.open(folder / "mask.tif") as source:
        mask = source.read(1)
    differing = total = 0
    for split in data.splits:
        for item, index in zip(split.items, range(len(split)), strict=True):
            box = item.box
            differing += (split.labels(index) != mask[box.top : box.bottom, box.left : box.right]).sum()
            total += box.pixels
    assert differing <= total * 1e-4  # the mask was burnt tile by tile, from polygons that were not mended


def test_footprints_of_atlanta_in_the_coordinates_of_the_scene(shared_data, tmp_path):
    folder = shared_data("geo/spacenet_atlanta_pan")
    root = link(tmp_path / "atlanta", folder, folder / "buildings.geojson")
    (root / "classes.yaml").write_text("[{name: background}, {name: building}]")
    data = open_dataset(root)
    assert data.dtype == "uint16"
    assert any("43 polygons, of which 43 on the scenes" in note for note in data.notes)
    assert any((sample.labels == 1).any() for sample in data.test)


def test_a_colour_map_of_zurich_to_polygons_and_back(shared_data, tmp_path):
    folder = shared_data("geo/eye_in_the_sky_multispectral")
    colors = {"road": 0, "building": 0x646464, "tree": 0x7D00, "grass": 0xFF00, "water": 0x96}
    entries = [{"name": name, "color": f"#{value:06x}"} for name, value in colors.items()]
    table = ClassTable.from_dict({"classes": entries, "ignore": ["#ffffff"]})
    found = polygonize(open_class_map(folder / "gt_rgb.tif", table), names=table.names)
    root = link(tmp_path / "zurich", folder)
    write_polygons(found, root / "labels.gpkg")
    (root / "classes.yaml").write_text(
        f"classes: [{', '.join(f'{{name: {name}}}' for name in colors)}]\ncolumn: class_name\noutside: ignore\n"
    )
    with rasterio.open(folder / "gt_rgb.tif") as source:
        red, green, blue = source.read().astype(int)
    packed = red << 16 | green << 8 | blue
    truth = np.full(packed.shape, 255)
    for index, value in enumerate(colors.values()):
        truth[packed == value] = index
    data = open_dataset(root)
    assert (data.bands, data.dtype) == (4, "uint16")
    for split in data.splits:
        for item, sample in zip(split.items, split, strict=True):
            box = item.box
            assert np.array_equal(sample.labels, truth[box.top : box.bottom, box.left : box.right])
