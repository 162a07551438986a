"""Pages: well formed, complete, in one file, and deaf to names that look like markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from pixelwise.metrics import scores_from_confusion
from pixelwise.report.figures import Panel
from pixelwise.report.page import TABLE_CLASSES, evaluation_page, training_page
from pixelwise.types import ClassSpec

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
VOID = {"meta", "img", "source", "br", "link", "input"}


class Outline(HTMLParser):
    """Tags with attributes, the text, and whether every tag was closed in order."""

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

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def classes_of(count: int, name: str = "kind") -> list[ClassSpec]:
    return [ClassSpec(f"{name} {k}", f"#{k:02x}8040") for k in range(count)]


def scores_of(classes: list[ClassSpec]) -> dict[str, Any]:
    matrix = np.random.default_rng(0).integers(1, 90, (len(classes), len(classes)))
    matrix[-1] = matrix[:, -1] = 0
    matrix[0, 1] = 1234
    return scores_from_confusion(matrix, [spec.name for spec in classes], images=7).as_dict()


def panel(name: str, score: float = 0.25) -> Panel:
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    truth = np.zeros((20, 30), np.uint8)
    truth[:3] = 255
    return Panel(name, rgb, truth, np.ones((20, 30), np.uint8), score)


def check_offline(page: str, outline: Outline) -> None:
    assert outline.open == []
    assert not outline.named("script") and not outline.named("link") and not outline.named("iframe")
    for _, attributes in outline.tags:
        assert not any(key.startswith("on") for key in attributes)
        for key in ("src", "href", "srcset"):
            value = attributes.get(key)
            assert value is None or value.startswith("data:image/")
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page).replace("http-equiv", "")
    assert "url(" not in page and "@import" not in page
    assert all(image.get("alt") for image in outline.named("img"))
    policy = [tag.get("content") for tag in outline.named("meta") if tag.get("http-equiv")]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


@pytest.fixture
def page() -> str:
    classes = classes_of(5)
    return evaluation_page(
        scores_of(classes),
        classes,
        title="unet on town",
        facts={"model": "unet", "split": "test"},
        galleries={
            "Worst images": [panel("bad.png", 0.125), panel("none.png", float("nan"))],
            "Best images": [panel("good.png", 0.875)],
            "Typical images": [],
        },
    )


def test_the_page_opens_offline(page: str) -> None:
    check_offline(page, Outline(page))


def test_the_page_says_what_was_asked_for(page: str) -> None:
    outline, scores = Outline(page), scores_of(classes_of(5))
    text = " ".join(outline.text.split())
    for key in ("mean_iou", "pixel_accuracy", "mean_dice", "frequency_weighted_iou"):
        assert f"{scores[key]:.3f}" in text
    for row in scores["classes"][:-1]:
        for key in ("iou", "dice", "precision", "recall"):
            assert f"{row[key]:.3f}" in text
    assert "modelunet splittest" in text
    assert "left out of the means: kind 4." in text
    assert "kind 0 mapped as kind 1: 1,234 pixels" in text
    assert "bad.png 0.125" in text and "good.png 0.875" in text and "none.png –" in text
    assert (
        text.index("Worst images")
        < text.index("bad.png")
        < text.index("Best images")
        < text.index("good.png")
    )
    assert "Mean IoU is the dataset value" in text
    assert len(outline.named("figure")) == 4 * 3


def test_the_matrix_is_a_table_of_row_percentages(page: str) -> None:
    matrix = np.array(scores_of(classes_of(5))["confusion"])
    cells = [tag for tag in Outline(page).named("td") if "pixels of" in (tag.get("title") or "")]
    assert len(cells) == 25
    assert cells[1]["title"] == "1,234 pixels of kind 0 were mapped as kind 1"
    style = cells[1]["style"] or ""
    assert float(style.split("/")[1].strip(" )")) == pytest.approx(1234 / matrix[0].sum(), abs=1e-3)
    assert f">{100 * 1234 / matrix[0].sum():.0f}</td>" in page


@pytest.mark.parametrize(("count", "table"), [(2, True), (TABLE_CLASSES, True), (TABLE_CLASSES + 1, False)])
def test_many_classes_get_a_picture_instead(count: int, table: bool) -> None:
    classes = classes_of(count)
    page = evaluation_page(scores_of(classes), classes, title="t", facts={})
    check_offline(page, Outline(page))
    assert ('class="confusion"' in page) is table
    assert ('class="heat"' in page) is not table


def test_names_are_shown_and_never_run() -> None:
    classes = classes_of(3, EVIL)
    facts = {EVIL: EVIL}
    pages = [
        evaluation_page(
            scores_of(classes),
            classes,
            title=EVIL,
            facts=facts,
            galleries={EVIL: [panel(EVIL)]},
            findings=[dict.fromkeys(("level", "code", "file", "found", "remedy"), EVIL)],
            again={EVIL: EVIL, f"2{EVIL}": f"a: {EVIL}\nb: 2"},
        ),
        training_page([], classes, title=EVIL, settings=facts, facts=facts, scores=scores_of(classes)),
    ]
    for page in pages:
        outline = Outline(page)
        check_offline(page, outline)
        assert EVIL in outline.text
        assert not any("onerror" in attributes for _, attributes in outline.tags)


def test_no_score_at_all_is_a_dash() -> None:
    classes = classes_of(2)
    scores = scores_from_confusion(np.zeros((2, 2), np.int64), [spec.name for spec in classes]).as_dict()
    page = evaluation_page(scores, classes, title="t", facts={})
    assert "nan" not in Outline(page).text.lower()
    assert "<b>–</b>mean IoU" in page


def test_the_page_of_a_run() -> None:
    classes = classes_of(3)
    rows = [
        {"step": 0, "seconds": 1.0, "loss": 2.0},
        {"step": 0, "seconds": 2.0, "mean_iou": 0.5, "class_iou": None},
    ]
    settings = {"seed": 3, "network": {"encoder": "resnet18", "dropout": None}, "long": list(range(500))}
    page = training_page(rows, classes, title="unet on resnet18", settings=settings)
    outline = Outline(page)
    check_offline(page, outline)
    text = " ".join(outline.text.split())
    assert "seed3 network.encoderresnet18 network.dropout– long500 values" in text
    assert "Scores on the validation images" not in text and len(outline.named("source")) == 1
    full = training_page(
        rows,
        classes,
        title="t",
        settings={},
        scores=scores_of(classes),
        galleries={"Worst images": [panel("bad.png")]},
    )
    check_offline(full, Outline(full))
    assert "Scores on the validation images" in full and "bad.png" in full
