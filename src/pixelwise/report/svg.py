"""The few SVG elements that drawings here consist of, as text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

INK, PAPER = "#30343b", "#ffffff"
Point = tuple[float, float]


def path(points: Sequence[Point], color: str, dashes: str, *, wide: float) -> str:
    """A line with rounded corners and a head."""
    pieces = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(8.0, _apart(before, corner) / 2, _apart(corner, after) / 2)
        enter, leave = _toward(corner, before, radius), _toward(corner, after, radius)
        pieces.append(
            f"L{enter[0]:.1f} {enter[1]:.1f}Q{corner[0]:.1f} {corner[1]:.1f} {leave[0]:.1f} {leave[1]:.1f}"
        )
    x, y = points[-1]
    pieces.append(f"L{x - 6:.1f} {y:.1f}")
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    head = polygon([(x - 1, y), (x - 8, y - 4), (x - 8, y + 4)], color)
    return f'<path d="{"".join(pieces)}" fill="none" stroke="{color}" stroke-width="{wide}"{dashed}/>' + head


def _apart(a: Point, b: Point) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])  # lines are level or upright


def _toward(start: Point, end: Point, distance: float) -> Point:
    share = distance / (_apart(start, end) or 1)
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def polygon(points: Sequence[Point], color: str) -> str:
    """A filled shape."""
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polygon points="{corners}" fill="{color}"/>'


def escaped(content: str) -> str:
    """Text as SVG holds it; what cannot be printed is left out, since XML forbids most of it."""
    return escape("".join(letter for letter in content if letter.isprintable()))


def text(
    x: float,
    y: float,
    content: str,
    *,
    size: float,
    color: str = INK,
    weight: int = 400,
    anchor: str = "start",
) -> str:
    """A line of text, or nothing if there is none; lines behind it are kept away."""
    if not content:
        return ""
    content = escaped(content)
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{color}" paint-order="stroke" stroke="{PAPER}" stroke-width="4">{content}</text>'
    )
