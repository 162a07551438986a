from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelwise.data.classes import ClassTable
from pixelwise.data.classfile import parse_document, read_classes
from pixelwise.data.discover import discover
from pixelwise.data.palette import default_colors, packed, unpacked
from pixelwise.data.read import RawMask, read_mask
from pixelwise.errors import ClassesError, MaskError
from pixelwise.types import IGNORE, ClassSpec

TWO = parse_document([{"name": "ground", "color": "#102030"}, {"name": "roof", "color": "#c0392b"}])


def mask(*rows: list[int]) -> RawMask:
    return RawMask(np.array(rows))


def colors(*rows: list[str]) -> RawMask:
    return RawMask(np.array([[ClassSpec("", color).rgb for color in row] for row in rows], np.uint8))


def test_values_are_indices_and_255_is_ignored() -> None:
    assert TWO.to_labels(mask([0, 1, 255])).tolist() == [[0, 1, 255]]
    assert TWO.to_labels(mask([0, 1])).dtype == np.uint8


def test_colors_are_looked_up() -> None:
    assert TWO.to_labels(colors(["#102030", "#c0392b"], ["#c0392b", "#102030"])).tolist() == [[0, 1], [1, 0]]


def test_unknown_value_is_named_with_count_and_place() -> None:
    with pytest.raises(
        MaskError, match=r"value 7 is in no class: 3 pixels, first at row 1, column 2"
    ) as caught:
        TWO.to_labels(mask([0, 1, 1, 9], [0, 0, 7, 7], [7, 0, 0, 0]), "m.png")
    assert caught.value.file == Path("m.png")
    assert "also 9" in caught.value.found
    assert "ignore: [7, 9]" in caught.value.remedy


def test_unknown_color_is_named_with_count_and_place() -> None:
    with pytest.raises(
        MaskError, match=r"colour #102031 is in no class: 1 pixels, first at row 0, column 1"
    ) as caught:
        TWO.to_labels(colors(["#102030", "#102031"]))
    assert "ignore: ['#102031']" in caught.value.remedy


def test_color_mask_with_classes_that_have_no_colors() -> None:
    with pytest.raises(MaskError, match="have no colours") as caught:
        parse_document(["a", "b"]).to_labels(colors(["#102030"]))
    assert "give every class" in caught.value.remedy


def test_the_remedies_work_when_pasted() -> None:
    with pytest.raises(MaskError) as caught:
        TWO.to_labels(mask([0, 7]))
    line = caught.value.remedy.rpartition("nowhere: ")[2]
    table = parse_document(TWO.as_dict() | yaml.safe_load(line))
    assert table.to_labels(mask([0, 7])).tolist() == [[0, 255]]


@pytest.mark.parametrize("document", [["ground", "roof"], ["no", "a b: c"], ["only"]])
def test_undeclared_binary_mask(document: list[str]) -> None:
    with pytest.raises(
        MaskError, match=r"only the values 0 and 255 \(1 pixels of 255, first at row 0, column 1\)"
    ) as c:
        parse_document(document).to_labels(mask([0, 255, 0]))
    pasted, _, otherwise = c.value.remedy.partition("\n  or,")
    table = parse_document(yaml.safe_load(pasted.partition("\n")[2]))
    assert table.to_labels(mask([0, 255, 0])).tolist() == [[0, 1, 0]]
    assert len(document) == 1 or list(table.names) == document
    ignoring = parse_document({"classes": document} | yaml.safe_load(otherwise.partition("line: ")[2]))
    assert ignoring.to_labels(mask([0, 255, 0])).tolist() == [[0, 255, 0]]


def test_values_map_and_ignore() -> None:
    table = parse_document({"classes": ["a", "b"], "values": {10: "a", 255: "b", 12: "a"}, "ignore": [0, -1]})
    assert table.to_labels(mask([10, 255], [12, 0], [-1, 10])).tolist() == [[0, 1], [0, 255], [255, 0]]
    with pytest.raises(MaskError, match="value 1 "):
        table.to_labels(mask([1]))


def test_colors_can_be_ignored_and_shared() -> None:
    table = parse_document({
        "classes": [{"name": "a", "color": "#ff0000"}, {"name": "b", "color": [0, 255, 0]}],
        "ignore": ["#000000"],
        "values": {"#0000FF": "b"},
    })  # fmt: skip
    assert table.to_labels(colors(["#ff0000", "#00ff00", "#0000ff", "#000000"])).tolist() == [[0, 1, 1, 255]]


def test_palette_masks_are_indices_unless_told() -> None:
    shown = {0: "#c0392b", 1: "#102030"}
    raw = RawMask(np.array([[0, 1]], np.uint8), palette=shown)
    assert TWO.to_labels(raw).tolist() == [[0, 1]]
    assert TWO.contradictions(raw) == [
        "value 0 is read as ground but shown as roof (#c0392b)",
        "value 1 is read as roof but shown as ground (#102030)",
    ]
    by_color = parse_document(TWO.as_dict() | {"palette": "colors"})
    assert by_color.to_labels(raw).tolist() == [[1, 0]]
    assert by_color.contradictions(raw) == []


def test_nodata_is_ignored_unless_it_is_a_class() -> None:
    assert TWO.to_labels(RawMask(np.array([[0, 9]]), nodata=9)).tolist() == [[0, 255]]
    with pytest.raises(MaskError, match="declares 0 as nodata, and 0 is class"):
        TWO.to_labels(RawMask(np.array([[0, 1]]), nodata=0))
    declared = replace(TWO, values={0: 0, 1: 1})
    assert declared.to_labels(RawMask(np.array([[0, 1]]), nodata=0)).tolist() == [[0, 1]]


specs = st.lists(st.integers(0, 0xFFFFFF), min_size=2, max_size=8, unique=True)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), chosen=specs)
def test_labels_equal_a_plain_loop(data: st.DataObject, chosen: list[int]) -> None:
    names = [f"c{index}" for index in range(len(chosen))]
    keys = data.draw(st.lists(st.integers(-300, 70_000), min_size=1, max_size=12, unique=True))
    ignore = data.draw(
        st.lists(st.integers(-300, 70_000).filter(lambda v: v not in keys), max_size=3, unique=True)
    )
    meaning = {key: data.draw(st.sampled_from(names)) for key in keys}
    classes = [{"name": name, "color": unpacked(color)} for name, color in zip(names, chosen, strict=True)]
    table = parse_document({"classes": classes,
                            "values": meaning, "ignore": ignore})  # fmt: skip
    cells = data.draw(st.lists(st.sampled_from([*keys, *ignore]), min_size=6, max_size=6))
    values = np.array(cells).reshape(2, 3)
    if set(cells) != {0, 255} or 255 in keys or 255 in ignore:
        expected = [
            [IGNORE if v in ignore else names.index(meaning[v]) for v in row] for row in values.tolist()
        ]
        assert table.to_labels(RawMask(values)).tolist() == expected
    picked = data.draw(st.lists(st.integers(0, len(chosen) - 1), min_size=6, max_size=6))
    rgb = np.array([ClassSpec("", unpacked(chosen[i])).rgb for i in picked], np.uint8).reshape(2, 3, 3)
    assert table.to_labels(RawMask(rgb)).ravel().tolist() == picked
    again = ClassTable.from_dict(json.loads(json.dumps(table.as_dict())))
    assert again.classes == table.classes and again.ignore == table.ignore and again.values == table.values
    assert dict(again.colors) == dict(table.colors)


def test_large_color_masks_are_converted_whole() -> None:
    table = parse_document([{"name": f"c{i}", "color": color} for i, color in enumerate(default_colors(6))])
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 6, (100, 75)), np.ones((20, 20), int))
    rgb = np.array([spec.rgb for spec in table.classes], np.uint8)[blocks]
    assert np.array_equal(table.to_labels(RawMask(rgb)), blocks)


def test_classes_without_colors_get_distinct_ones() -> None:
    table = parse_document([{"name": "a", "color": default_colors(1)[0]}, *(f"c{i}" for i in range(254))])
    assert len({spec.color for spec in table.classes}) == 255
    assert list(table.colors) == [packed(default_colors(1)[0])]


@pytest.mark.parametrize(("text", "found", "remedy"), [
    ("classes: [{name: a, colour: '#000000'}]", "unknown key 'colour'", "did you mean 'color'"),
    ("clases: [a]\nclasses: [a]", "unknown key 'clases'", "did you mean 'classes'"),
    ("[a, b, a]", "class name 'a' is given 2 times (positions 0, 2)", "keep one"),
    ("[{name: a, color: '#ff0000'}, {name: b, color: '#FF0000'}]", "colour '#ff0000' is given 2 times",
     "keep one"),
    ("[{name: no}, {name: b}]", "name of class 0 is False", 'name: "no"'),
    ("[no, b]", "class 0 is False", "write {name"),
    ("[{name: 1}]", "name of class 0 is 1", 'name: "1"'),
    ("[{name: }]", "name of class 0 is None", "quotes"),
    ("[{name: a, color: red}]", "colour of class 'a' is 'red'", "#3c1098"),
    ("- name: a\n  color: #3C1098", "unquoted # for a comment", "quotes"),
    ("[{name: a, color: [0, 0, 256]}]", "colour of class 'a' is [0, 0, 256]", "#3c1098"),
    ("classes: [a\nvalues: }", "broken YAML at line 2", "write for instance"),
    ("", "lists no classes", "write for instance"),
    ("classes: a", "not a list", "write for instance"),
    ("{classes: [a, b], values: {0: a, 1: c}}", "maps 1 to 'c'", "the classes are: a, b"),
    ("{classes: [roof, b], values: {0: rof}}", "maps 0 to 'rof'", "did you mean 'roof'"),
    ("{classes: [a, b], values: {0: []}}", "maps 0 to []", "the classes are: a, b"),
    ("{classes: [a, b], values: {x: a}}", "values holds 'x'", "whole numbers"),
    ("{classes: [a, b], values: {0: a, 0: b}}", "key '0' is given 2 times", "keep one"),
    ("{classes: [a, b], ignore: [1]}", "value 1 is class 'b' and is in ignore", "values: "),
    ("{classes: [a, b], ignore: [5], values: {5: a}}", "value 5 is class 'a' and is in ignore", "take 5 out"),
    ("{classes: [a, b], ignore: 5}", "ignore is not a list", "ignore: [11]"),
    ("{classes: [a, b], ignore: [1.5]}", "ignore holds 1.5", "whole numbers"),
    ("{classes: [{name: a, color: '#000000'}], ignore: ['#000000']}", "is class 'a' and is in ignore",
     "out of one"),
    ("{classes: [a], palette: yes}", "palette is True", "palette: colors"),
    (str([f"c{i}" for i in range(256)]), "256 classes; at most 255", "merge"),
    ("!!python/object/apply:os.system ['true']", "broken YAML", "write for instance"),
])  # fmt: skip
def test_wrong_class_files(tmp_path: Path, text: str, found: str, remedy: str) -> None:
    path = tmp_path / "classes.yaml"
    path.write_text(text)
    with pytest.raises(ClassesError) as caught:
        read_classes(path)
    assert found in caught.value.found
    assert remedy in caught.value.remedy
    assert caught.value.file == path


def test_class_file_that_is_missing_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ClassesError, match="no such file"):
        read_classes(tmp_path / "classes.yaml")
    (tmp_path / "classes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ClassesError, match="not UTF-8"):
        read_classes(tmp_path / "classes.yaml")


def test_text_files_of_names(tmp_path: Path) -> None:
    (tmp_path / "codes.txt").write_text("Animal\nNo\n\nvoid thing\n")
    assert read_classes(tmp_path / "codes.txt").names == ("Animal", "No", "void thing")
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:0,128,0::\n"
    )
    table = read_classes(tmp_path / "labelmap.txt")
    assert table.classes == (ClassSpec("background", "#000000"), ClassSpec("cat", "#008000"))
    assert table.to_labels(colors(["#008000", "#000000"])).tolist() == [[1, 0]]
    (tmp_path / "labelmap.txt").write_text("cat:0,128::\n")
    with pytest.raises(ClassesError, match="line 1"):
        read_classes(tmp_path / "labelmap.txt")


def found(*masks: RawMask) -> tuple[ClassTable, str]:
    return discover((Path(f"{index}.png"), raw) for index, raw in enumerate(masks))


def test_classes_are_found_from_the_largest_value() -> None:
    table, note = found(mask([0, 1]), mask([4, 255]))
    assert table.names == ("class_0", "class_1", "class_2", "class_3", "class_4")
    assert table.ignore == {255}
    assert "2 of these values never occur" in note and "255 is ignored" in note
    assert table.to_labels(mask([0, 255])).tolist() == [[0, 255]]  # 255 is known from the other masks


def test_found_classes_take_the_colors_of_a_common_palette() -> None:
    shown = {0: "#000000", 1: "#800000"}
    raw = RawMask(np.array([[0, 1]], np.uint8), palette=shown)
    assert [spec.color for spec in found(raw, raw)[0].classes] == ["#000000", "#800000"]
    assert found(raw, mask([1]))[0].classes[1].color == default_colors(2)[1]


def test_color_masks_without_classes_offer_the_file_to_paste() -> None:
    raw = colors(["#ff0000", "#00ff00", "#00ff00"])
    with pytest.raises(ClassesError, match="2 of them") as caught:
        found(mask([0]), raw)
    assert caught.value.file == Path("1.png")
    table = parse_document(yaml.safe_load(caught.value.remedy.partition("\n")[2]))
    assert [spec.color for spec in table.classes] == ["#00ff00", "#ff0000"]  # the most frequent first
    assert table.to_labels(raw).tolist() == [[1, 0, 0]]


def test_many_colors_are_cut_or_called_a_photograph() -> None:
    rng = np.random.default_rng(1)
    some = RawMask(rng.integers(0, 256, (5, 10, 3), dtype=np.uint8))
    with pytest.raises(ClassesError, match="50 of them") as caught:
        found(some)
    assert caught.value.remedy.count("name:") == 30
    with pytest.raises(ClassesError, match="look like photographs"):
        found(RawMask(rng.integers(0, 256, (50, 50, 3), dtype=np.uint8)))


def test_found_masks_that_make_no_classes(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="only the values 0 and 255"):
        found(mask([0, 255]), mask([0]))
    with pytest.raises(MaskError, match=r"value -1 is negative \(1 pixels, first at row 0, column 1\)"):
        found(mask([0, -1]))
    tifffile.imwrite(tmp_path / "m.tif", np.array([[0, 1], [300, 2]], np.uint16))
    with pytest.raises(
        ClassesError, match=r"value 300 \(1 pixels, first at row 1, column 0\) would mean 301 classes"
    ):
        found(read_mask(tmp_path / "m.tif"))
    with pytest.raises(ClassesError, match="all pixels"):
        found(mask([255]))


def test_sixteen_bit_masks_with_a_few_large_values(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 40000]], np.uint16)).save(tmp_path / "m.png")
    table = parse_document({"classes": ["a", "b"], "values": {0: "a", 40000: "b"}})
    assert table.to_labels(read_mask(tmp_path / "m.png")).tolist() == [[0, 1]]
