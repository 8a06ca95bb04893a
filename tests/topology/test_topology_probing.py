"""How often a node asks for its place in the ring."""

from __future__ import annotations

import random

import pytest

from ipop_modules.topology.protocol.probing import Probing


@pytest.mark.parametrize(("member", "longest"), [(True, 45.0), (False, 4.0)])
def test_a_node_asks_ever_more_rarely_but_never_never(member: bool, longest: float) -> None:
    probing, now, waits = Probing(random.Random(1).randbytes), 0.0, list[float]()
    probing.soon(now)
    for _ in range(20):
        waits.append(probing.due - now)
        now = probing.due
        probing.later(now, member=member)
    assert waits[0] < 1
    assert longest / 2 < max(waits) < 1.5 * longest
    assert all(wait > longest / 2 for wait in waits[-8:])
