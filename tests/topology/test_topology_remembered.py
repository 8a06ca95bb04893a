"""Which peers are remembered for the time without bootstraps, whoever else has come meanwhile; who is asked."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.overlay_net.orphans import Network, attacked, orphaned
from ipop_modules.topology.protocol import remembered
from ipop_modules.topology.protocol.remembered import AGAIN, AT_ONCE, CAME, CHOSEN, LONELY, MOST, NEAR, Kept, Remembered


def empty(seed: int = 1) -> Remembered:
    return Remembered(Kept(), random.Random(seed).randbytes, 0.0)


def note_all(
    peers: Remembered, name: str, count: int, kinds: Collection[str], linked: Collection[str] = ()
) -> list[str]:
    nodes = [f"{name} {number}" for number in range(count)]
    for node in nodes:
        peers.note(node, "192.0.2.1:1", kinds, linked)
    return nodes


@pytest.mark.parametrize("kind", ["", "near", "door", "bootstrap", "known"])
def test_whoever_makes_links_by_the_hundred_leaves_those_that_the_node_chose_itself(kind: str) -> None:
    peers = empty()
    chosen = [*note_all(peers, "long", 5, ["long"]), *note_all(peers, "shortcut", 3, ["shortcut", "bootstrap"])]
    others = note_all(peers, "attacker", 300, [kind])
    assert {*chosen} < {*peers}
    assert list(peers)[len(chosen) :] == others[-(MOST - len(chosen)) :]


def test_nobody_is_pushed_out_of_its_share_by_others_that_are_linked_all_at_once() -> None:
    peers = empty()
    attackers = [f"attacker {number}" for number in range(100)]
    kept = [*note_all(peers, "long", CHOSEN, ["long"]), *note_all(peers, "near", NEAR, ["near"])]
    note_all(peers, "attacker", 100, [], attackers)
    assert {*kept} < {*peers}
    assert len(peers) - len(kept) == CAME


def test_a_link_that_came_and_is_wanted_later_counts_as_such_and_does_so_for_good() -> None:
    peers = empty()
    assert peers.note("bob", "192.0.2.1:1", [], ())
    assert peers.note("bob", "192.0.2.1:1", ["long"], ())
    assert not peers.note("bob", "192.0.2.1:1", [], ())
    assert peers.note("bob", "192.0.2.1:2", [], ())
    note_all(peers, "attacker", 100, ["near"])
    assert "bob" in set(peers)


def test_who_is_lonely_asks_some_of_each_kind_at_once_and_all_of_them_in_time() -> None:
    peers = empty()
    nodes = note_all(peers, "long", 3, ["long"]) + note_all(peers, "near", 4, ["near"])
    nodes += note_all(peers, "attacker", 20, [])
    assert peers.wake((), LONELY - 0.1, alone=True) == []
    asked: list[str] = []
    for turn in range(9):
        now = LONELY + turn * AGAIN
        chosen = [node for node, _ in peers.wake((), now, alone=True)]
        assert len(chosen) == AT_ONCE
        if turn < 3:
            assert sorted(node.split()[0] for node in chosen) == ["attacker", "long", "near"]
        assert peers.wake((), now + AGAIN / 2, alone=True) == []
        asked += chosen
    assert {*asked} == {*nodes}


def test_of_whoever_is_kept_it_knows_the_endpoint() -> None:
    peers = empty()
    for kind, endpoint in (("long", "192.0.2.1:1"), ("near", "192.0.2.2:2"), ("", "192.0.2.3:3")):
        peers.note(kind, endpoint, [kind], ())
        assert peers.endpoint(kind) == endpoint
    peers.introduced("told", "192.0.2.4:4")
    assert peers.endpoint("told") is None


def test_loneliness_begins_when_it_is_first_seen_and_who_is_lonely_asks_in_no_other_way() -> None:
    peers = empty()
    note_all(peers, "long", 3, ["long"])
    assert peers.wake(["long 0"], 10.0, alone=False) == []
    for now in (20.0, 20.0 + LONELY - 0.1):
        assert peers.wake((), now, alone=True) == []
    for begun in (20.0 + LONELY, 1e6):
        assert len(peers.wake((), begun, alone=True)) == AT_ONCE
        assert peers.wake((), begun + AGAIN - 0.1, alone=True) == []


def test_who_is_lonely_asks_those_that_were_named_to_it_too_the_newest_and_so_many() -> None:
    peers = empty()
    peers.note("bootstrap", "192.0.2.1:1", ["bootstrap"], ())
    for number in range(remembered.TOLD + 3):
        peers.introduced(f"{number}", f"192.0.2.2:{number}")
    peers.introduced("3", "192.0.2.3:3")
    peers.introduced("bootstrap", "192.0.2.9:9")
    assert len(peers) == 1
    turns = range(3 * remembered.TOLD)
    asked = [peer for turn in turns for peer in peers.wake((), LONELY + turn * AGAIN, alone=True)]
    assert asked[:3] == [("bootstrap", "192.0.2.1:1"), ("3", "192.0.2.3:3"), ("10", "192.0.2.2:10")]
    assert set(Counter(node for node, _ in asked[:-1] if node != "bootstrap").values()) == {remembered.TRIES}
    assert peers.wake((), 1e6, alone=True) == [("bootstrap", "192.0.2.1:1")]
    assert {node for node, _ in asked} == {"bootstrap", "3", *map(str, range(5, remembered.TOLD + 3))}


@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["", "near", "long", "shortcut", "door"])), max_size=200))
def test_there_are_never_more_than_there_is_room_for_and_what_is_kept_can_be_read_again(
    links: list[tuple[int, str]],
) -> None:
    kept = Kept()
    peers = Remembered(kept, random.Random(1).randbytes, 0.0)
    for number, kind in links:
        peers.note(f"{number}", "192.0.2.1:1", [kind], [f"{number}" for number in range(50)])
    again = msgspec.json.decode(msgspec.json.encode(kept), type=Kept)
    assert again == kept
    assert len(peers) == len({number for number, _ in links}) or len(peers) == MOST
    too_many = Kept(came={f"{number}": "" for number in range(MOST + 9)})
    assert len(Remembered(too_many, random.Random(1).randbytes, 0.0)) == MOST


SIZE, BACK = 16, 4


def test_nodes_that_start_again_with_all_bootstraps_dead_are_back_in_the_ring() -> None:
    took = orphaned(Network(1), SIZE, BACK)
    print(f"one ring again after {took:.1f} s")
    assert took < 30.0


def test_without_known_peers_they_never_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Remembered, "wake", lambda self, linked, now, *, alone: [])
    with pytest.raises(TimeoutError):
        orphaned(Network(1), SIZE, BACK)


@pytest.mark.slow
def test_one_machine_with_many_ids_does_not_keep_them_from_it() -> None:
    assert attacked(Network(1), SIZE) < 60.0


@pytest.mark.slow
def test_where_all_have_the_same_part_of_the_room_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_place", lambda kinds: 2)
    with pytest.raises(TimeoutError):
        attacked(Network(1), SIZE)
