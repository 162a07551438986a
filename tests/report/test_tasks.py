"""Pages of the tasks that answer per image, and what they are made of."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from pixelwise.classification import classification_scores
from pixelwise.report.figures import roc_figure
from pixelwise.report.frames import framed
from pixelwise.report.page import TABLE_CLASSES
from pixelwise.report.pictures import heat
from pixelwise.report.tables import csv_text
from pixelwise.report.tasks import (
    Copy,
    Find,
    Guess,
    classification_page,
    localization_page,
    reconstruction_page,
)
from pixelwise.types import ClassSpec

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
VOID = {"meta", "img", "source", "br"}
RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


class Outline(HTMLParser):
    """The text, and every tag, each closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def classes_of(count: int, name: str = "kind") -> list[ClassSpec]:
    return [ClassSpec(f"{name} {k}", f"#{k:02x}8040") for k in range(count)]


def classification(count: int, name: str = "kind") -> str:
    classes = classes_of(count, name)
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(count), 40)
    targets = (
        rng.integers(0, count - 1, 40) if count > 2 else rng.integers(0, 2, 40)
    )  # the last one is missing
    scores = classification_scores(shares, targets, [spec.name for spec in classes]).as_dict()
    worst = [Guess(f"{name}.png", RGB, 1, shares[k].tolist()) for k in range(3)]
    return classification_page(scores, classes, title=name, facts={name: name}, worst=worst)


def reconstruction(name: str = "tile", psnr: float | None = 20.5) -> str:
    scores = {
        "explained_variance": None,
        "mean_squared_error": 0.000123,
        "mean_absolute_error": 0.5,
        "images": 2,
    }
    copies = [Copy(name, RGB, RGB, RGB, 0.25)]
    return reconstruction_page(
        {**scores, "psnr": psnr}, title=name, facts={name: name}, worst=copies, best=copies
    )


def localization(name: str = "tile") -> str:
    classes = classes_of(2, name)
    rows = [{"name": spec.name, "recall": 0.5, "mean_box_iou": None, "images": 1} for spec in classes]
    scores = {
        "mean_box_iou": None,
        "accuracy": 0.5,
        "accuracy_interval": [0.25, 0.75],
        "found": None,
        "found_interval": [0, 1],
        "images": 2,
        "without_object": 2,
        "left_out": 0,
        "classes": rows,
        "confusion": [[1, 0], [1, 0]],
    }
    finds = [Find(name, RGB, classes[0].name, classes[1].name, 0.125)]
    return localization_page(scores, classes, title=name, facts={name: name}, worst=finds)


@pytest.mark.parametrize(
    "page",
    [classification(2, EVIL), classification(4), reconstruction(EVIL), localization(EVIL)],
    ids=["two classes", "four classes", "reconstruction", "localization"],
)
def test_pages_open_offline_and_run_no_name(page: str) -> None:
    outline = Outline(page)
    assert outline.open == []
    names = {tag for tag, _ in outline.tags}
    assert not names & {"script", "link", "iframe"}
    for tag, attributes in outline.tags:
        assert not any(key.startswith("on") for key in attributes)
        assert tag != "img" or attributes["alt"]
        for key in ("src", "href", "srcset"):
            value = attributes.get(key)
            assert value is None or value.startswith("data:image/")
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page).replace("http-equiv", "")
    assert "nan" not in outline.text.lower().replace("<script>", "")
    if EVIL in page.replace("&lt;", "<").replace("&gt;", ">").replace("&#34;", '"').replace("&#39;", "'"):
        assert EVIL in outline.text and EVIL not in page


def test_a_guess_lists_the_true_class_even_when_it_is_improbable() -> None:
    classes = classes_of(5)
    shares = [0.4, 0.3, 0.2, 0.07, 0.03]
    scores = classification_scores(
        np.array([shares]), np.array([4]), [spec.name for spec in classes]
    ).as_dict()
    guess = Guess("a.png", RGB, 4, shares)
    page = classification_page(scores, classes, title="t", facts={}, worst=[guess])
    gallery = page[page.index("Worst images") :]
    assert re.findall(r'<tr><th scope="row"( class="true")?>(kind \d)', gallery) == [
        ("", "kind 0"),
        ("", "kind 1"),
        ("", "kind 2"),
        (' class="true"', "kind 4"),
    ]
    assert "kind 4 taken for kind 0" in gallery and "ROC" not in page


@pytest.mark.parametrize(("count", "curve", "table"), [(2, True, True), (TABLE_CLASSES + 1, False, False)])
def test_the_curve_is_for_two_classes_and_the_table_for_few(count: int, curve: bool, table: bool) -> None:
    page = classification(count)
    assert ("ROC curve</h2>" in page) is curve and ('class="confusion"' in page) is table


def test_what_is_undefined_is_a_dash_and_what_is_small_keeps_its_digits() -> None:
    page = reconstruction()
    assert "<b>–</b>explained variance" in page and "<b>0.000123</b>mean squared error" in page
    assert "20.50 dB" in page and "dB" not in reconstruction(psnr=None)
    assert "2 images have no object" in localization()


def test_the_curve_is_drawn_the_same_each_time_and_shows_its_points() -> None:
    svg = roc_figure([0, 0.2, 1], [0, 0.9, 1], name="$x$ <b>")
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert roc_figure([0, 0.2, 1], [0, 0.9, 1], name="$x$ <b>") == svg
    assert roc_figure([0, 0.2, 1], [0, 0.8, 1], name="$x$ <b>") != svg
    assert roc_figure([0, 0.2, 1], [0, 0.9, 1], name="$x$ <b>", dark=True) != svg


def test_frames_lie_inside_their_boxes() -> None:
    grey = np.full((60, 80, 3), 128, np.uint8)
    red, blue = ClassSpec("a", "#ff0000"), ClassSpec("b", "#0000ff")
    drawn = framed(grey, [((10.4, 5, 40, 29.6), red), ((50, 70, 90, 99), blue), ((3, 3, 3, 9), blue)])
    assert (grey == 128).all()
    rows, columns = np.nonzero((drawn == (255, 0, 0)).all(axis=2))
    assert (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1) == (10, 5, 40, 30)
    assert len(rows) == 2 * (30 + 25) - 4
    assert (drawn[11, 6:29] == 0).all() and (drawn[11:39, 6] == 0).all()  # a dark line along it
    assert (drawn[12:38, 7:28] == 128).all()  # the inside is left alone
    assert (drawn[50, 70:] == (0, 0, 255)).all() and (
        drawn[50:, 70] == (0, 0, 255)
    ).all()  # cut at the border
    assert (drawn[:9] == 128).all()  # an empty box is nothing


def test_heat_runs_from_black_to_white() -> None:
    shown = heat(np.array([[0, 1 / 6, 1 / 3, 2 / 3, 1, 7]]))
    assert shown[0].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [255, 0, 0],
        [255, 255, 0],
        [255, 255, 255],
        [255] * 3,
    ]


def test_tables_come_back_as_they_were_but_for_formulas() -> None:
    rows = [["a,b", 'say "x"', 3, 0.5], ["=1+1", "-x", -4, ""]]
    read = list(csv.reader(io.StringIO(csv_text(["one", "@two", "3", "4"], rows))))
    assert read == [["one", "'@two", "3", "4"], ["a,b", 'say "x"', "3", "0.5"], ["'=1+1", "'-x", "-4", ""]]
