from __future__ import annotations

from pathlib import Path

import pytest

from ipop_core.demo.ring import BETWEEN, SPACE, draw_identities, is_between
from ipop_core.identity import load_or_create


def test_enough_strangers_lie_between_alice_and_bob_on_both_sides(tmp_path: Path) -> None:
    folders = [tmp_path / f"bare-{number}" for number in range(9)]
    alice, bob = (
        int.from_bytes(node, "big") for node in draw_identities(tmp_path / "alice", tmp_path / "bob", folders)
    )

    strangers = [int.from_bytes(load_or_create(folder).node, "big") for folder in folders]
    up = sum(is_between(alice, node, bob) for node in strangers)
    assert BETWEEN <= up <= len(strangers) - BETWEEN
    assert alice == int.from_bytes(load_or_create(tmp_path / "alice").node, "big")


@pytest.mark.parametrize(
    ("start", "node", "end", "expected"),
    [
        (10, 15, 20, True),
        (10, 25, 20, False),
        (10, 10, 20, False),
        (10, 20, 20, False),
        (SPACE - 5, 3, 10, True),
        (SPACE - 5, SPACE - 2, 10, True),
        (20, 15, 10, False),
        (20, 5, 10, True),
    ],
)
def test_between(start: int, node: int, end: int, expected: bool) -> None:
    assert is_between(start, node, end) is expected
