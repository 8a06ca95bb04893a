"""A namespace with more members than a storer keeps of one set: nobody is lost, and the set grows short again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.overlay_net.members import LEASE, NAMESPACE_KEY
from benchmarks.overlay_net.thin import Network, Node
from ipop_modules.topology.protocol import census, parts, store
from ipop_modules.topology.protocol.effects import Listed
from ipop_modules.topology.protocol.records import members_key
from tests.topology.rings import ring, told

SMALL = 2
MEMBERS = 30


@pytest.fixture(autouse=True)
def _small_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty members fill three levels."""
    for module in (store, parts):
        monkeypatch.setattr(module, "MAX_IN_SET", SMALL)


def listed(network: Network, node: Node) -> Listed:
    before = len(told(node, Listed))
    network.perform(node, node.machine.list_members(network.now))
    network.run_until(lambda: len(told(node, Listed)) > before, 5.0)
    return told(node, Listed)[-1]


def places(nodes: list[Node]) -> set[str]:
    """The parts that these nodes have put themselves in."""
    found: set[str] = set()
    for node in nodes:
        assert node.machine.registrations is not None
        found |= node.machine.registrations._parts
    return found


def test_everyone_is_listed_and_no_storer_has_more_than_its_share() -> None:
    network = Network(3)
    nodes = ring(network, MEMBERS)
    for asker in nodes[::13]:
        found = listed(network, asker)
        assert found.certain
        assert [member.node for member in found.members] == sorted(node.id for node in nodes)
    assert max(map(len, places(nodes))) >= 2
    for node in nodes:
        for part in places(nodes):
            key = members_key(NAMESPACE_KEY, part)
            assert len(node.machine.storage.store.get("many", key, network.now)) <= SMALL


def test_who_is_in_a_part_of_others_is_passed_over() -> None:
    """Whoever could fill any part would keep those away that belong there."""
    network = Network(6)
    nodes = ring(network, 12)
    stray = nodes[-1]
    assert stray.machine.registrations is not None
    digit = next(digit for digit in parts.DIGITS if not parts.belongs(stray.id, digit))
    stray.machine.registrations._parts = {digit}
    network.claim(stray, b"\xc0\xa8\x0a\xfa")
    network.run(3.0)
    store_key = members_key(NAMESPACE_KEY, digit)
    kept = [
        copy.record.owner for node in nodes for copy in node.machine.storage.store.get("many", store_key, network.now)
    ]
    assert stray.id in kept, "a storer knows no parts"
    others = sorted(node.id for node in nodes if node is not stray)
    assert [member.node for member in listed(network, nodes[0]).members] == others


def test_how_many_there_are_is_estimated_by_samples() -> None:
    network = Network(4)
    nodes = ring(network, MEMBERS)
    network.run(60.0)
    said = sorted(node.machine.census.others or 0 for node in nodes if node.machine.census is not None)
    assert SMALL < said[len(said) // 2] < 4 * MEMBERS


@pytest.mark.slow
def test_a_set_that_was_full_once_is_counted_as_it_is_soon_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the hour is over for which its storer says that there may be more behind it."""
    for module in (store, parts):
        monkeypatch.setattr(module, "MAX_IN_SET", 6)
    network = Network(7)
    nodes = ring(network, MEMBERS)
    rest = nodes[-3:]
    assert places(rest) != {parts.FIRST}, "some of those that stay are behind the first part"
    for node in nodes[:-3]:
        network.claim(node)
    network.run(1.5 * 3 * census.SELDOM)  # where a census went through three levels, the next one comes so late
    assert [node.machine.census.others for node in rest if node.machine.census] == [2, 2, 2]
    first = members_key(NAMESPACE_KEY)
    assert any(node.machine.storage.store.has_turned_away(first, network.now) for node in rest)


@pytest.mark.slow
def test_a_set_that_shrinks_is_one_part_again() -> None:
    network = Network(5)
    nodes = ring(network, MEMBERS)
    rest = nodes[-SMALL:]
    assert places(rest) != {parts.FIRST}
    for node in nodes[:-SMALL]:
        network.leave(node)
        network.run(6.0)  # or the last two lose each other, and there is no bootstrap
    network.run_until(lambda: places(rest) == {parts.FIRST}, 20 * LEASE)
    assert places(rest) == {parts.FIRST}
    network.run(LEASE)
    assert [member.node for member in listed(network, rest[0]).members] == sorted(node.id for node in rest)


@given(st.binary(min_size=20, max_size=20))
def test_a_nodes_parts_lie_one_behind_the_other(node: bytes) -> None:
    part: str | None = parts.FIRST
    walked = []
    while part is not None:
        assert parts.belongs(node, part)
        walked.append(part)
        behind = parts.for_node(node, part)
        assert (behind is None) == (parts.behind(part) == [])
        if behind is not None:
            assert behind in parts.behind(part)
            assert parts.before(behind) == part
            assert sum(parts.belongs(node, other) for other in parts.behind(part)) == 1
        part = behind
    assert len(walked) == parts.DEEPEST + 1
