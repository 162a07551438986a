"""Drawn networks: well-formed, complete, to scale, and nothing outside of the page."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelwise.report.diagram import FACES, JOINS, Arrow, Block, Diagram, network_svg

SVG = "{http://www.w3.org/2000/svg}"


def block(part, channels, stride, *arrows, side=64):
    return Block(part, channels, side // stride, side // stride, f"stride {stride}", "2 conv", arrows)


SMALL = Diagram(
    title="unet <on> \x00net & co",
    facts=("1,000 parameters", "halo 8"),
    image=(3, 64, 64),
    source="image",
    result=(5, 64, 64),
    ending="classes",
    blocks=(
        block("encoder", 16, 1, Arrow(-1)),
        block("encoder", 64, 2, Arrow(0)),
        block("encoder", 128, 4, Arrow(1)),
        block("decoder", 64, 2, Arrow(2), Arrow(1, "concatenate")),
        block("decoder", 16, 1, Arrow(3), Arrow(0, "switches")),
    ),
)


def parsed(diagram):
    return ElementTree.fromstring(network_svg(diagram))


def corners(element):
    return [tuple(map(float, pair.split(","))) for pair in element.get("points").split()]


def fronts(root, color):
    """Left, top, width and height of every front of a colour."""
    shapes = [corners(p) for p in root.iter(f"{SVG}polygon") if p.get("fill") == color]
    return [(p[0][0], p[0][1], p[2][0] - p[0][0], p[2][1] - p[0][1]) for p in shapes]


def words(root):
    return [element.text for element in root.iter(f"{SVG}text")]


def test_names_are_escaped_and_everything_is_named():
    root = parsed(SMALL)
    assert root.find(f"{SVG}title").text == "unet <on> net & co"
    found = words(root)
    for word in (
        "unet <on> net & co",
        "1,000 parameters",
        "halo 8",
        "64 × 64",
        "stride 4",
        "image",
        "classes",
    ):
        assert word in found
    assert {"concatenate", "switches", "encoder", "decoder"} <= {*found}
    assert "add" not in found
    assert [word for word in found if word.isdigit()] == ["3", "16", "64", "128", "64", "16", "5"]


def test_height_follows_size_and_width_follows_channels():
    root = parsed(SMALL)
    (x1, y1, w1, h1), (x2, y2, w2, h2), (x3, y3, w3, h3) = fronts(root, FACES["encoder"][0])
    assert h1 > h2 > h3
    assert w1 < w2 < w3
    assert w3 / w2 == pytest.approx((128 / 64) ** 0.5, rel=0.02)
    assert x1 < x2 < x3
    assert y1 < y2 < y3
    up, last = fronts(root, FACES["decoder"][0])
    assert (up[1], up[3]) == (y2, h2)  # one level
    assert (last[1], last[3]) == (y1, h1)
    assert x3 < up[0] < last[0]


def test_ways_around_go_from_the_right_block_to_the_right_block():
    root = parsed(SMALL)
    color = JOINS["concatenate"][0]
    lines = [p.get("d") for p in root.iter(f"{SVG}path") if p.get("stroke") == color]
    start, *_, end = [float(x) for x in re.findall(r"[ML]([\d.]+) ", lines[0])]
    left, _, width, _ = fronts(root, FACES["encoder"][0])[1]
    assert left + width < start < left + width + 20
    assert end == pytest.approx(fronts(root, FACES["decoder"][0])[0][0], abs=8)
    dashed = [p for p in root.iter(f"{SVG}path") if p.get("stroke-dasharray")]
    assert len(dashed) == 2  # the way itself and the legend
    assert all(p.get("stroke") == JOINS["switches"][0] for p in dashed)


def test_a_way_around_does_not_run_through_blocks_of_its_level():
    """Encoders that dilate have several blocks of one size, and the way passes over those in between."""
    diagram = Diagram(
        title="",
        facts=(),
        image=(3, 64, 64),
        source="image",
        result=None,
        ending="",
        blocks=(
            block("encoder", 8, 4, Arrow(-1)),
            block("encoder", 8, 4, Arrow(0)),
            block("decoder", 8, 4, Arrow(1), Arrow(0, "add")),
        ),
    )
    root = parsed(diagram)
    (line, _) = [p.get("d") for p in root.iter(f"{SVG}path") if p.get("stroke") == JOINS["add"][0]]
    heights = [float(y) for y in re.findall(r" ([\d.]+)(?=[LQ]|$)", line)]
    top = min(
        y for p in root.iter(f"{SVG}polygon") for _, y in corners(p) if p.get("fill") in FACES["encoder"]
    )
    assert min(heights) < top


def test_the_same_network_gives_the_same_bytes():
    assert network_svg(SMALL) == network_svg(SMALL)


@st.composite
def diagrams(draw):
    strides = draw(st.lists(st.sampled_from([1, 2, 4, 8, 16, 32]), min_size=1, max_size=14))
    blocks = []
    for place, stride in enumerate(strides):
        others = draw(st.lists(st.integers(-1, place - 1), max_size=2, unique=True)) if place else []
        joins = [Arrow(source, draw(st.sampled_from([*JOINS]))) for source in others]
        part = draw(st.sampled_from(["encoder", "decoder", "head"]))
        channels = draw(st.integers(1, 4096))
        blocks.append(block(part, channels, stride, Arrow(place - 1), *joins, side=512))
    result = draw(st.sampled_from([None, (2, 512, 512), (2, 1, 1)]))
    return Diagram(draw(st.text()), (draw(st.text()),), (3, 512, 512), "image", result, "x", tuple(blocks))


@given(diagrams())
def test_any_network_stays_on_the_page(diagram):
    root = parsed(diagram)
    _, _, width, height = map(float, root.get("viewBox").split())
    points = [point for p in root.iter(f"{SVG}polygon") for point in corners(p)]
    for element in root.iter(f"{SVG}path"):
        numbers = re.findall(r"[-\d.]+", element.get("d"))
        points += [tuple(map(float, pair)) for pair in zip(numbers[::2], numbers[1::2], strict=True)]
    assert all(0 < x < width and 60 < y < height for x, y in points)
    fronts_drawn = sum(len(fronts(root, faces[0])) for faces in FACES.values())
    assert fronts_drawn == len(diagram.blocks) + 1 + (diagram.result is not None)


def test_the_legend_of_a_narrow_network_stays_on_the_page():
    """Few blocks and many ways around: the legend is wider than the drawing."""
    joins = ("concatenate", "multiply", "switches")
    arrows = (Arrow(0, ""), *(Arrow(0, join) for join in joins))
    blocks = (
        Block("encoder", 8, 64, 64, "stride 1", "", (Arrow(-1, ""),)),
        Block("decoder", 8, 64, 64, "stride 1", "", arrows),
    )
    root = parsed(Diagram("", ("",), (3, 64, 64), "image", None, "", blocks))
    width = float(root.get("viewBox").split()[2])
    last = [element for element in root.iter(f"{SVG}text") if element.text == "numbers: channels"]
    assert float(last[0].get("x")) + 7 * len("numbers: channels") < width
