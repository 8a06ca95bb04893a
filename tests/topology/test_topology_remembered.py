"""Which peers are remembered for the time without bootstraps, whoever else has come meanwhile; who is asked."""

from __future__ import annotations

import random
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
    assert peers.wake((), LONELY - 0.1) == []
    asked: list[str] = []
    for turn in range(9):
        now = LONELY + turn * AGAIN
        chosen = [node for node, _ in peers.wake((), now)]
        assert len(chosen) == AT_ONCE
        if turn < 3:
            assert sorted(node.split()[0] for node in chosen) == ["attacker", "long", "near"]
        assert peers.wake((), now + AGAIN / 2) == []
        asked += chosen
    assert {*asked} == {*nodes}


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
    monkeypatch.setattr(Remembered, "wake", lambda self, linked, now: [])
    with pytest.raises(TimeoutError):
        orphaned(Network(1), SIZE, BACK)


def test_one_machine_with_many_ids_does_not_keep_them_from_it() -> None:
    assert attacked(Network(1), SIZE) < 60.0


def test_where_all_have_the_same_part_of_the_room_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_place", lambda kinds: 2)
    with pytest.raises(TimeoutError):
        attacked(Network(1), SIZE)
