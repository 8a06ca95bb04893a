from __future__ import annotations

from ipop_modules.topology.protocol.effects import Connect, Release
from ipop_modules.topology.protocol.outbox import Outbox
from ipop_modules.topology.protocol.shortcuts import Shortcuts

NODES = [bytes([n]) * 20 for n in range(10)]


def shortcuts(cap: int) -> tuple[Shortcuts, Outbox]:
    out = Outbox(bytes(20), lambda _: False, lambda _: False)
    return Shortcuts(out, cap), out


def test_demand_asks_once_and_idle_lets_go() -> None:
    made, out = shortcuts(4)
    for _ in range(3):
        made.demand(NODES[0])
    assert out.drain() == [Connect(NODES[0], None, "shortcut")]
    made.idle(NODES[0])
    made.idle(NODES[0])
    assert out.drain() == [Release(NODES[0], "shortcut")]
    made.demand(NODES[0])
    assert out.drain() == [Connect(NODES[0], None, "shortcut")]


def test_the_cap_holds_and_a_failed_one_makes_room() -> None:
    made, out = shortcuts(4)
    for node in NODES:
        made.demand(node)
    assert len(made) == len(out.drain()) == 4
    made.failed(NODES[0])
    made.demand(NODES[9])
    assert out.drain() == [Release(NODES[0], "shortcut"), Connect(NODES[9], None, "shortcut")]


def test_a_restarted_link_module_is_asked_again_for_what_it_forgot() -> None:
    made, out = shortcuts(4)
    made.demand(NODES[0])
    made.demand(NODES[1])
    out.drain()
    made.relink([NODES[1], NODES[2]])
    assert out.drain() == [Connect(NODES[0], None, "shortcut")]
    assert len(made) == 3
