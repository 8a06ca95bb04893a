"""A node on the way of a reader's questions: what it can make the reader believe."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from benchmarks.overlay_net.members import NAMESPACE_KEY, Recipe
from benchmarks.overlay_net.scenarios import Liar
from benchmarks.overlay_net.thin import Network, Node, Packet
from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.effects import Effect, Resolved, Send
from ipop_modules.topology.protocol.machine import FIRST_WAIT
from ipop_modules.topology.protocol.messages import Get, GetAnswer, Neighbours, decode, encode
from ipop_modules.topology.protocol.records import subject_key
from tests.topology.rings import address, look_up, ring
from tests.topology.test_topology_distrust import ADDRESS, NEXT, Story, resolved, said

LISTED = 64


class Forging(Network):
    """One node answers whatever question to the directory passes through it, in the storer's place: nobody."""

    forger: bytes | None = None

    def _arrive(self, before: Node, node: Node, packet: Packet) -> None:
        get = decode(packet.send.payload) if packet.send.mode == "closest" else None
        if node.id == self.forger and isinstance(get, Get):
            answer = encode(GetAnswer(get.number, (), 0, True))
            self._forward(node, Packet(Send(get.asker, "exact", get.via, answer), node.id))
        else:
            super()._arrive(before, node, packet)


def forge(network: Forging, forger: Node) -> None:
    """It says that it has neighbours all around the ring, and so draws questions to itself."""
    first = ids.number(forger.id) + ids.RING // (2 * LISTED)
    everywhere = sorted(ids.from_number(first + step * ids.RING // LISTED) for step in range(LISTED))

    def lies(payload: bytes) -> bytes:
        message = decode(payload)
        if isinstance(message, Neighbours):
            return encode(msgspec.structs.replace(message, nodes=tuple(everywhere)))
        return payload

    forger.lies = lies
    for neighbour in sorted(forger.links):
        network.perform(forger, [Send(neighbour, "link", None, encode(Neighbours(())))])
    network.forger = forger.id
    network.run(12.0)


@pytest.mark.slow
def test_a_node_that_lies_about_its_neighbours_and_forges_answers_is_seldom_believed() -> None:
    """By its neighbours, in 14 of 38 lookups, if questions leave by the shortest ways."""
    network = Forging(14, recipe=Recipe(kind="authority", long_links=None))
    members = ring(network, 40)
    network.run(30.0)
    forger = sorted(members[1:], key=lambda node: len(node.links))[len(members) // 2]
    forge(network, forger)
    readers, wrong = [network.nodes[node] for node in sorted(forger.links)], 0
    for number, owner in enumerate(members, start=1):
        reader = readers[number % len(readers)]
        if owner not in (reader, forger):
            found = look_up(network, reader, address(number))
            wrong += found.node is None and found.certain
    print(f"{wrong} of {len(members)} lookups said that there is nobody")
    assert wrong <= 3


@pytest.mark.parametrize("size", [3, 4, 6])
def test_in_a_small_open_ring_a_lying_storer_has_one_vote(size: int) -> None:
    """Points beside a key are often nearest to the same node there."""
    network = Network(31, recipe=Recipe(long_links=None))
    members = ring(network, size)
    network.run(10.0)
    liar = members[1]
    liar.lies = Liar(network, NAMESPACE_KEY, "mine")
    for reader in members:
        for number, owner in enumerate(members, start=1):
            if reader is not liar and owner not in (reader, liar):
                assert look_up(network, reader, address(number)).node == owner.id


@pytest.mark.parametrize("neighbours", [1, 2, 3])
def test_no_member_of_a_small_ring_is_asked_twice(neighbours: int) -> None:
    me = ids.number(Story().me)
    story = Story(*(ids.from_number(me + ids.RING // 3 + step) for step in range(neighbours)))
    effects = story.machine.resolve(ADDRESS, story.now, fresh=True)
    asked = [effect.to for effect in effects if isinstance(effect, Send) and isinstance(decode(effect.payload), Get)]
    assert story.machine.lookups
    (lookup,) = story.machine.lookups._by_key.values()
    storers = [ids.closest(lookup.point(number), [story.me, *story.machine.ring.links]) for number in lookup.beside]
    assert len(storers) == len(set(storers)) == min(3, neighbours + 1)
    assert len(asked) == len([storer for storer in storers if storer != story.me])


def in_a_large_ring() -> Story:
    """The near neighbours lie so close that the three points of a lookup are next to the same long neighbour."""
    me = ids.number(Story().me)
    near = [step * ids.RING // 4000 for step in (-2, -1, 1, 2)]
    long = [step * ids.RING // 16 for step in range(1, 16)]
    return Story(*(ids.from_number(me + steps) for steps in near + long))


def first_hops(story: Story, effects: list[Effect]) -> list[bytes]:
    """The neighbours that the questions leave by."""
    hops = []
    for effect in effects:
        if isinstance(effect, Send) and isinstance(decode(effect.payload), Get):
            known = story.machine.ring.hops
            hops.append(effect.via or known[ids.closest(effect.to, known) or b""])
    return hops


def test_no_two_questions_leave_by_the_same_neighbour_nor_what_is_asked_again() -> None:
    story = in_a_large_ring()
    asked = first_hops(story, story.resolve()[1])
    assert len(asked) == len(set(asked)) == 3
    story.now += FIRST_WAIT
    again = first_hops(story, story.machine.wake(story.now))
    assert len(again) == 3
    assert len({*asked, *again}) == 6


def test_that_there_is_nobody_is_asked_once_more_by_fresh_ways() -> None:
    story = in_a_large_ring()
    effects = story.resolve()[1]
    asked, numbers = first_hops(story, effects), [get.number for get in said(effects, Get)]
    effects = [effect for number in numbers for effect in nobody(story, number)]
    assert not resolved(effects)
    again, fresh = first_hops(story, effects), [get.number for get in said(effects, Get)]
    assert len({*asked, *again}) == 7
    for number in numbers:
        assert not resolved(nobody(story, number)), "an answer to what was asked before"
    effects = [effect for number in fresh for effect in nobody(story, number)]
    assert [(found.node, found.certain) for found in effects if isinstance(found, Resolved)] == [(None, True)]


def nobody(story: Story, number: int) -> list[Effect]:
    return story.hear(GetAnswer(number, (), 0, True), NEXT, proven=False)


@pytest.fixture(scope="module")
def calm() -> tuple[Network, list[Node]]:
    """A ring of 64 that has settled, and its members: who claim the addresses 1, 2, ..."""
    network = Network(8, recipe=Recipe(kind="authority", long_links=None))
    members = ring(network, 64)
    network.run(30.0)
    return network, members


@pytest.mark.slow
def test_three_of_seven_storers_hide_no_owner(calm: tuple[Network, list[Node]]) -> None:
    """Those nearest to the key, of which a lookup asks all at first where they lie as close as the average."""
    network, members = calm
    liar = Liar(network, NAMESPACE_KEY, "nothing")
    for number, owner in enumerate(members[:24], start=1):
        distance = partial(ids.distance, subject_key(NAMESPACE_KEY, address(number)))
        nearest = [network.nodes[node] for node in sorted(network.nodes, key=distance)[:3]]
        for node in nearest:
            node.lies = liar
        reader = next(node for node in members[number:] if node is not owner and node.lies is None)
        assert look_up(network, reader, address(number)).node == owner.id, number
        for node in nearest:
            node.lies = None


def test_in_a_calm_ring_whoever_asks_is_certain_that_there_is_nobody(calm: tuple[Network, list[Node]]) -> None:
    """However dense it is around the key, and however large the asker takes the ring to be."""
    network, members = calm
    found = [look_up(network, reader, address(100 + number)) for number, reader in enumerate(members[::2])]
    assert [(one.node, one.certain) for one in found] == [(None, True)] * len(found)
