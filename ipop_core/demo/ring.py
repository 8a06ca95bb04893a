"""The ids of the demo's nodes, drawn so that Alice and Bob are no neighbours on the ring.

A node's id follows from its random key, so eleven random nodes would sometimes put Alice next to Bob, and then there
is nothing to relay. The demo draws keys until at least three bare nodes lie between the two on either side: a node
links to the two nearest on each side, so Alice and Bob then reach each other over others only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ipop_core.identity import KEY_FILE, load_or_create

BETWEEN: Final = 3
"""Bare nodes in each of the two arcs between Alice and Bob."""
SPACE: Final = 1 << 160
NARROWEST: Final = SPACE // 5
"""Neither arc is so short that keys which fall into it take long to draw."""

Wanted = Callable[[int], bool]


def draw_identities(alice: Path, bob: Path, bare: Sequence[Path]) -> tuple[bytes, bytes]:
    """Make the keys in the nodes' state folders; the ids of Alice and Bob. `bare` are at least six folders."""
    first = _draw(alice, lambda _: True)
    second = _draw(bob, lambda node: NARROWEST < (node - first) % SPACE < SPACE - NARROWEST)
    for number, folder in enumerate(bare):
        if number < BETWEEN:
            _draw(folder, lambda node: is_between(first, node, second))
        elif number < 2 * BETWEEN:
            _draw(folder, lambda node: is_between(second, node, first))
        else:
            _draw(folder, lambda _: True)
    return first.to_bytes(20, "big"), second.to_bytes(20, "big")


def is_between(start: int, node: int, end: int) -> bool:
    """Whether one meets `node` on the way up the ring from `start` to `end`."""
    return 0 < (node - start) % SPACE < (end - start) % SPACE


def _draw(folder: Path, wanted: Wanted) -> int:
    while True:
        node = int.from_bytes(load_or_create(folder).node, "big")
        if wanted(node):
            return node
        (folder / KEY_FILE).unlink()
