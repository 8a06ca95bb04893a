"""The ring as a picture: nodes on a circle by their ids, clockwise from the top, and their links."""

from __future__ import annotations

from collections.abc import Iterable
from math import cos, pi, sin
from typing import Final

from ipop_core.bus.api import JsonObject

SIZE: Final = 900
RADIUS: Final = 380
COLOURS: Final = {"near": "#1f4e79", "long": "#c0504d", "shortcut": "#e0a000", "other": "#9bbb59"}
WIDTHS: Final = {"near": 2.5, "shortcut": 2.0}
DASHES: Final = {"shortcut": ' stroke-dasharray="8 4"'}
NAMED: Final = 64
"""Up to so many nodes bear the beginning of their ids."""


def draw(nodes: Iterable[JsonObject]) -> str:
    """SVG of nodes as the action `survey` tells them; each kind of link has a colour, shortcuts are dashed."""
    nodes = list(nodes)
    drawn: dict[frozenset[str], str] = {}
    for kind in reversed(COLOURS):
        drawn |= {frozenset((node["node"], other)): kind for node in nodes for other in node.get(kind, ())}
    known = {node["node"] for node in nodes}
    lines = [_line(min(pair), max(pair), kind) for pair, kind in drawn.items() if len(pair) == 2 and pair <= known]
    dots = [_dot(node["node"], named=len(nodes) <= NAMED) for node in nodes]
    legend = [
        f'<text x="20" y="{30 + 22 * row}" fill="{colour}">{kind}</text>'
        for row, (kind, colour) in enumerate(COLOURS.items())
    ]
    middle = SIZE // 2
    circle = f'<circle cx="{middle}" cy="{middle}" r="{RADIUS}" fill="none" stroke="#ddd"/>'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" font-family="sans-serif" font-size="14">'
    )
    return "\n".join((head, circle, *sorted(lines), *dots, *legend, "</svg>\n"))


def _turn(node: str) -> float:
    """Where on the circle a node is: 0 at the top, 1 once round clockwise."""
    return int(node, 16) / (1 << 4 * len(node))


def _place(node: str) -> tuple[float, float]:
    angle, radius = 2 * pi * _turn(node), RADIUS
    return SIZE / 2 + radius * sin(angle), SIZE / 2 - radius * cos(angle)


def _line(one: str, other: str, kind: str) -> str:
    (x1, y1), (x2, y2) = _place(one), _place(other)
    return (
        f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{COLOURS[kind]}" stroke-width="{WIDTHS.get(kind, 1)}"{DASHES.get(kind, "")} stroke-opacity="0.6"/>'
    )


def _dot(node: str, *, named: bool) -> str:
    x, y = _place(node)
    label = _label(node, x, y) if named else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{node}</title></circle>{label}'


def _label(node: str, x: float, y: float) -> str:
    """The beginning of the id, along the radius, so that close neighbours' labels leave room for each other."""
    degrees = 360 * _turn(node) - 90
    turned, away, anchor = (degrees, 10, "start") if degrees < 90 else (degrees - 180, -10, "end")
    return (
        f'<text x="{x + away:.1f}" y="{y + 4:.1f}" font-size="11" text-anchor="{anchor}" '
        f'transform="rotate({turned:.1f} {x:.1f} {y:.1f})">{node[:6]}</text>'
    )
