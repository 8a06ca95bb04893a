"""Links that others keep to a node: how many, and who is turned away."""

from __future__ import annotations

from collections.abc import Mapping

from ipop_modules.topology.protocol.link import Link
from ipop_modules.topology.protocol.shortcuts import LEAST
from ipop_modules.topology.protocol.visitors import FEWEST, FOR_EACH, LONG, Use, room, too_many, visitors


def nodes(name: str, count: int) -> list[bytes]:
    return [f"{name} {number}".encode() for number in range(count)]


def test_an_attack_ends_with_as_many_as_there_is_room_for_and_those_that_were_there_stay() -> None:
    quiet, attackers = nodes("quiet", 50), nodes("attacker", 4000)
    uses: Mapping[bytes, Use] = {
        **{node: Use(5000, 100.0, wanted=False) for node in quiet},
        **{node: Use(900, 1.0, wanted=False) for node in attackers},
    }
    gone = too_many([*quiet, *attackers], uses, room(64))
    assert len(uses) - len(gone) == room(64) == FOR_EACH * 64
    assert {*gone} < {*attackers}


def test_those_in_use_stay_where_all_places_were_taken_before() -> None:
    busy, attackers = nodes("busy", 50), nodes("attacker", 4000)
    uses: Mapping[bytes, Use] = {
        **{node: Use(int(100 * 3 * LEAST), 100.0, wanted=False) for node in busy},
        **{node: Use(90_000, 1000.0, wanted=False) for node in attackers},
    }
    gone = too_many([*busy, *attackers], uses, room(64))
    assert len(uses) - len(gone) == room(64)
    assert {*gone} < {*attackers}


def test_no_more_go_than_must_and_none_that_the_node_wants_or_the_links_do_not_know() -> None:
    came = nodes("member", 10)
    uses = {node: Use(0, float(number), wanted=number < 4) for number, node in enumerate(came[:-1])}
    assert too_many(came, uses, 5) == []
    assert too_many(came, uses, 3) == [came[4], came[5]]
    assert room(0) == FEWEST


def test_near_links_newcomers_and_as_many_long_ones_as_a_large_ring_has_are_no_visitors() -> None:
    kinds = [(node, name) for name in ("near", "outside", "shortcut") for node in nodes(name, 5)]
    links = {node: Link(0.0, initiator=False) for node, _ in kinds}
    own, said, member = nodes("own", 20), nodes("said", LONG + 7), nodes("member", 3)
    for number, node in enumerate([*own, *said, *member]):
        links[node] = Link(0.0, initiator=False, long=node in said, long_since=1000.0 - number)
        kinds.append((node, "member" if node in member else "long"))
    assert visitors(kinds, links) == [*member, *reversed(said[:7])]
