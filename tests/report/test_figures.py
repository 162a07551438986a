"""Figures: they are drawn for every odd input, the same bytes each time, and nothing stays open."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree

import numpy as np
import PIL.Image
import pytest

from pixelwise.report.figures import Panel, _smooth, confusion_figure, curves_figure, montage
from pixelwise.types import ClassSpec

CLASSES = [ClassSpec("road", "#ff0000"), ClassSpec("$x$ 道路", "#00ff00")]


def training_rows(count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for step in range(count):
        rows.append({"step": step, "seconds": step * 2.0, "loss": 1 / (step + 1), "lr": 0.1})
        if step % 5 == 4:
            rows.append(
                {"step": step, "seconds": step * 2.0, "mean_iou": step / count, "class_iou": [0.5, None]}
            )
    return rows


@pytest.mark.parametrize("count", [0, 1, 7, 60])
def test_curves_of_short_and_long_runs(count: int) -> None:
    svg = curves_figure(training_rows(count), CLASSES)
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert curves_figure(training_rows(count), CLASSES) == svg
    assert curves_figure(training_rows(count), CLASSES, dark=True) != svg


def test_curves_show_what_they_are_given() -> None:
    rows = training_rows(60)
    svg = curves_figure(rows)
    assert (
        curves_figure([{**row, "loss": row["loss"] * 1.5} if "loss" in row else row for row in rows]) != svg
    )
    assert curves_figure([row for row in rows if "loss" in row]) != svg
    assert curves_figure(rows, CLASSES) != svg


def test_curves_pass_over_values_that_are_no_numbers() -> None:
    rows = [*training_rows(20), {"step": 20, "seconds": 40.0, "loss": float("nan")}]
    rows.append({"step": 20, "seconds": 40.0, "mean_iou": None, "class_iou": [None, None]})
    assert curves_figure(rows, CLASSES) == curves_figure(training_rows(20), CLASSES)


def test_smoothing_keeps_a_straight_line() -> None:
    line = np.arange(20.0)
    np.testing.assert_allclose(_smooth(line, 3)[3:-3], line[3:-3])
    np.testing.assert_allclose(_smooth(line, 3)[0], line[:4].mean())


def test_a_png_of_a_large_confusion_matrix() -> None:
    data = confusion_figure(np.diag(np.arange(60)), [f"class {k}" for k in range(60)])
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert opened.format == "PNG" and min(opened.size) > 900


def test_the_montage_holds_image_truth_and_prediction_side_by_side() -> None:
    rgb = np.full((40, 60, 3), (10, 20, 200), np.uint8)
    zeros, ones = np.zeros((40, 60), np.uint8), np.ones((40, 60), np.uint8)
    data = montage([Panel("a", rgb, zeros, ones), Panel("b", rgb, ones, zeros)], CLASSES)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        shown = np.array(opened.convert("RGB"))
    height, width = shown.shape[0] * 0.25, shown.shape[1] / 6
    row, columns = int(height), [int(width), int(3 * width), int(5 * width)]
    assert [tuple(shown[row, column]) for column in columns] == [(10, 20, 200), (255, 0, 0), (0, 255, 0)]
    blend = montage([Panel("a", rgb, zeros, ones)], CLASSES, alpha=0.5, legend=False)
    with PIL.Image.open(io.BytesIO(blend)) as opened:
        mixed = np.array(opened.convert("RGB"))
    np.testing.assert_allclose(mixed[mixed.shape[0] // 2, mixed.shape[1] // 2], (132, 10, 100), atol=1)


def test_importing_the_reports_does_not_load_the_drawing_libraries() -> None:
    code = (
        "import sys, pixelwise.report.page, pixelwise.report.figures;"
        "sys.exit(any(name in sys.modules for name in ('matplotlib', 'jinja2', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_drawing_opens_no_window_system() -> None:
    code = (
        "import sys; from pixelwise.report.figures import curves_figure;"
        "curves_figure([{'step': k, 'seconds': 2.0 * k, 'loss': 1.0, 'lr': 0.1} for k in range(3)]);"
        "sys.exit('matplotlib' not in sys.modules or 'matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
