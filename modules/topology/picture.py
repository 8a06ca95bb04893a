"""The ring as a picture: nodes on a circle by their ids, clockwise from the top, and their links.

Close neighbours' dots may lie on top of each other; their names are moved apart around the circle, and a thin line
leads from each to its dot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import cos, pi, sin
from typing import Final

from ipop_core.bus.api import JsonObject

SIZE: Final = 900
RADIUS: Final = 360
NAMES_AT: Final = 386
"""Radius of the circle on which names begin."""
COLOURS: Final = {"near": "#1f4e79", "long": "#c0504d", "shortcut": "#e08a00", "other": "#8fb04a"}
WIDTHS: Final = {"near": 2.5, "shortcut": 2.5}
DASHES: Final = {"shortcut": ' stroke-dasharray="9 4"'}
NAMED: Final = 128
"""Up to so many nodes bear the beginning of their ids."""
LINE: Final = 13.5
"""Between names, along their circle."""
MOVES: Final = 400


def draw(nodes: Iterable[JsonObject]) -> str:
    """SVG of nodes as the action `survey` tells them, the one that the walk began at first.

    Each kind of link has a colour, shortcuts are dashed; of a link that its ends see differently the first kind counts.
    """
    nodes = list(nodes)
    drawn: dict[frozenset[str], str] = {}
    for kind in reversed(COLOURS):
        drawn |= {frozenset((node["node"], other)): kind for node in nodes for other in node.get(kind, ())}
    known = {node["node"] for node in nodes}
    pairs = {pair: kind for pair, kind in drawn.items() if len(pair) == 2 and pair <= known}
    middle = SIZE // 2
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" font-family="sans-serif">',
            f'<rect width="{SIZE}" height="{SIZE}" fill="white"/>',
            f'<circle cx="{middle}" cy="{middle}" r="{RADIUS}" fill="none" stroke="#ddd"/>',
            *(_lines(pairs, kind) for kind in reversed(COLOURS)),
            *(_names(sorted(known)) if len(known) <= NAMED else ()),
            *(_dot(node["node"]) for node in nodes),
            *(_here(*_place(_turn(node["node"]), RADIUS)) for node in nodes[:1]),
            *_legend(len(nodes), Counter(pairs.values())),
            "</svg>\n",
        )
    )


def spread(turns: Sequence[float], gap: float) -> list[float]:
    """Places around the circle, in the order of `turns` and as near to them as they can be `gap` apart.

    Both in turns of the circle; there must be room for all.
    """
    placed = list(turns)
    for _ in range(MOVES if len(placed) > 1 else 0):
        is_apart = True
        for at in range(len(placed)):
            before = placed[at - 1] - (at == 0)
            lacking = gap - (placed[at] - before)
            if lacking > gap / 100:
                placed[at - 1] -= lacking / 2
                placed[at] += lacking / 2
                is_apart = False
        if is_apart:
            break
    return placed


def _turn(node: str) -> float:
    """Where on the circle a node is: 0 at the top, 1 once round clockwise."""
    return int(node, 16) / (1 << 4 * len(node))


def _place(turn: float, radius: float) -> tuple[float, float]:
    angle = 2 * pi * turn
    return SIZE / 2 + radius * sin(angle), SIZE / 2 - radius * cos(angle)


def _stroke(kind: str) -> str:
    return f'stroke="{COLOURS[kind]}" stroke-width="{WIDTHS.get(kind, 1)}"{DASHES.get(kind, "")}'


def _lines(pairs: dict[frozenset[str], str], kind: str) -> str:
    """All links of one kind; those of the first kind lie above the others."""
    lines = []
    for one, other in sorted((min(pair), max(pair)) for pair, of_kind in pairs.items() if of_kind == kind):
        (x1, y1), (x2, y2) = _place(_turn(one), RADIUS), _place(_turn(other), RADIUS)
        lines.append(f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')
    return "\n".join((f'<g {_stroke(kind)} stroke-opacity="0.65">', *lines, "</g>"))


def _dot(node: str) -> str:
    x, y = _place(_turn(node), RADIUS)
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{node}</title></circle>'


def _here(x: float, y: float) -> str:
    return f'<circle class="here" cx="{x:.1f}" cy="{y:.1f}" r="9" fill="none" stroke="black" stroke-width="2"/>'


def _names(nodes: Sequence[str]) -> list[str]:
    """The beginnings of the ids, along the radius."""
    turns = [_turn(node) for node in nodes]
    placed = spread(turns, LINE / (2 * pi * NAMES_AT))
    found = ['<g font-size="11" stroke-width="1">']
    for node, turn, place in zip(nodes, turns, placed, strict=True):
        (x1, y1), (x2, y2) = _place(turn, RADIUS), _place(place, NAMES_AT - 3)
        x, y = _place(place, NAMES_AT)
        is_right = place % 1 < 0.5
        degrees, anchor = (360 * place - 90, "start") if is_right else (360 * place - 270, "end")
        found.append(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#bbb"/>')
        found.append(
            f'<text class="name" x="{x:.1f}" y="{y:.1f}" dy="4" text-anchor="{anchor}" '
            f'transform="rotate({degrees:.1f} {x:.1f} {y:.1f})">{node[:6]}</text>'
        )
    return [*found, "</g>"]


def _legend(nodes: int, counts: Counter[str]) -> list[str]:
    """How many there are of what, with a sample of each kind of link."""
    found = ['<g font-size="14">', f'<text x="20" y="30">{nodes} node{"" if nodes == 1 else "s"}</text>']
    for row, kind in enumerate(COLOURS, start=1):
        y = 30 + 22 * row
        found.append(f'<path class="sample {kind}" d="M20 {y - 5}h34" {_stroke(kind)}/>')
        found.append(f'<text x="62" y="{y}">{counts[kind]} {kind}</text>')
    y = SIZE - 20
    found.append(f'<circle cx="29" cy="{y - 5}" r="4"/>{_here(29, y - 5)}')
    found.append(f'<text x="46" y="{y}">the walk began here</text>')
    return [*found, "</g>"]
