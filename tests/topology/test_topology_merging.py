"""Rings that meet: the news of it, and what a liar gains by false news."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.overlay_net.growing import Overlay
from benchmarks.overlay_net.members import Recipe
from benchmarks.overlay_net.thin import Network, Node
from ipop_modules.topology.protocol.effects import Connect, Effect, Release, Send, Source
from ipop_modules.topology.protocol.machine import Machine
from ipop_modules.topology.protocol.merging import OPEN, PAUSE
from ipop_modules.topology.protocol.messages import Hello, Message, OtherRing, decode, encode

ME = b"\x80" + bytes(19)
EXACTLY = b"\x80" * 16


def node(place: int) -> bytes:
    return bytes([place]) + bytes(19)


def rings_that_meet(size: int) -> tuple[Network, float]:
    """Two rings get one common node: how long it took until they are one."""
    network = Network(1, latency=0.05, recipe=Recipe(long_links=None))
    rings = [Overlay(network), Overlay(network)]
    for ring in rings:
        ring.swell(size)
    network.run(60.0)
    common = network.add()
    for ring in rings:
        network.contact(common, ring.bootstraps[0])
    return network, network.run_until(network.ring_is_right, 120.0, step=0.5)


@pytest.mark.slow
def test_news_of_another_ring_makes_rings_grow_together_everywhere_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, told = rings_that_meet(70)
    network.run(OPEN + 1.0)
    assert not [wish for member in network.alive for wish in member.wishes if wish[1] == "door"]
    monkeypatch.setattr(Machine, "receive", _deaf_to_news(Machine.receive))
    _, untold = rings_that_meet(70)
    print(f"told {told:.1f} s, untold {untold:.1f} s")
    assert told < untold / 2


def _deaf_to_news(receive: Callable[..., list[Effect]]) -> Callable[..., list[Effect]]:
    def without(machine: Machine, data: bytes, source: Source, now: float) -> list[Effect]:
        return [] if isinstance(decode(data), OtherRing) else receive(machine, data, source, now)

    return without


@pytest.mark.slow
def test_a_ring_that_grows_has_met_no_other() -> None:
    network = Network(2, latency=0.05, recipe=Recipe(long_links=None))
    said: list[Message] = []
    perform = network.perform

    def listen(member: Node, effects: list[Effect]) -> None:
        said.extend(decode(effect.payload) for effect in effects if isinstance(effect, Send))
        perform(member, effects)

    network.perform = listen  # type: ignore[method-assign]  # looks on at what is said
    Overlay(network).grow(60)
    assert any(isinstance(message, Hello) for message in said)
    assert not [message for message in said if isinstance(message, OtherRing)]


class Settled:
    """A member whose near neighbours are 0x70, 0x78, 0x88 and 0x90, and whose long neighbour is 0x10."""

    def __init__(self) -> None:
        self.machine = Machine(ME, None, lambda size: EXACTLY[:size], 0.0)
        self.now = 0.0
        near = (0x70, 0x78, 0x88, 0x90)
        self.machine.relink({node(place): ["near"] for place in near}, self.now)
        for place in near:
            self.hear(place, Hello(True, 7, (ME,), ask=False))
        self.neighbour(0x10, 0x11, long=True)
        assert self.machine.ring.member
        assert set(self.machine.ring.near) == set(map(node, near))
        self.now += 10.0

    def neighbour(self, place: int, *near: int, long: bool = False, member: bool = True) -> list[Effect]:
        """Link up and greet; what comes of it."""
        self.machine.link_up(node(place), self.now)
        hello = Hello(member, 7, tuple(map(node, near)), ask=False, long=long)
        return self.hear(place, hello)

    def hear(self, place: int, message: Message, *, proven: bool = True) -> list[Effect]:
        return self.machine.receive(encode(message), Source(node(place), proven, node(place)), self.now)


def told(effects: list[Effect]) -> list[tuple[bytes, bytes]]:
    """To whom news of which door went."""
    said = [(effect.to, decode(effect.payload)) for effect in effects if isinstance(effect, Send)]
    return [(to, message.door) for to, message in said if isinstance(message, OtherRing)]


def opened(effects: list[Effect]) -> list[bytes]:
    return [effect.node for effect in effects if isinstance(effect, Connect) and effect.kind == "door"]


def test_a_member_in_between_that_knows_none_of_our_neighbours_is_of_another_ring() -> None:
    assert told(Settled().neighbour(0x84, 0x83, 0x85, 0x86)) == [(node(0x10), node(0x84))]


def test_one_common_neighbour_is_where_the_rings_met_two_are_one_ring() -> None:
    assert told(Settled().neighbour(0x84, 0x83, 0x85, 0x88)) == [(node(0x10), node(0x84))]
    assert told(Settled().neighbour(0x84, 0x78, 0x85, 0x88)) == []


def test_a_newcomer_is_of_no_other_ring_nor_is_a_member_farther_out() -> None:
    assert told(Settled().neighbour(0x84, member=False)) == []
    assert told(Settled().neighbour(0x8C, 0x8B, 0x8D, 0x8E)) == []


def test_a_node_that_has_just_joined_can_not_tell() -> None:
    settled = Settled()
    assert settled.machine.ring.joined_at is not None
    settled.now = settled.machine.ring.joined_at + 1.0
    assert told(settled.neighbour(0x84, 0x83, 0x85, 0x86)) == []


def test_news_is_told_once_in_a_while() -> None:
    settled = Settled()
    assert told(settled.neighbour(0x84, 0x83, 0x85, 0x86))
    assert not told(settled.neighbour(0x82, 0x40, 0x41, 0x42))
    settled.now += PAUSE
    assert told(settled.neighbour(0x81, 0x30, 0x31, 0x32))


def test_a_door_is_opened_for_a_while_and_not_another_one_soon() -> None:
    settled = Settled()
    news = settled.hear(0x10, OtherRing(node(0x20)))
    assert [effect for effect in news if isinstance(effect, Connect)] == [Connect(node(0x20), node(0x10), "door")]
    assert opened(settled.hear(0x10, OtherRing(node(0x21)))) == []
    settled.now += OPEN
    wake = settled.machine.next_wake()
    assert wake is not None
    assert wake <= settled.now
    assert Release(node(0x20), "door") in settled.machine.wake(settled.now)
    assert opened(settled.hear(0x10, OtherRing(node(0x21)))) == []
    settled.now += PAUSE
    assert opened(settled.hear(0x10, OtherRing(node(0x21)))) == [node(0x21)]


def test_a_door_that_can_not_be_opened_is_let_go() -> None:
    settled = Settled()
    settled.hear(0x10, OtherRing(node(0x20)))
    assert settled.machine.connect_failed(node(0x20), "door", settled.now) == [Release(node(0x20), "door")]
    assert not [e for e in settled.machine.wake(settled.now + OPEN) if isinstance(e, Release)]


def test_only_a_long_neighbour_that_is_proven_is_heeded() -> None:
    settled = Settled()
    assert opened(settled.hear(0x88, OtherRing(node(0x20)))) == []
    assert opened(settled.hear(0x99, OtherRing(node(0x20)))) == []
    dropped = settled.machine.dropped
    assert opened(settled.hear(0x10, OtherRing(node(0x20)), proven=False)) == []
    assert settled.machine.dropped == dropped + 1
    assert opened(settled.hear(0x10, OtherRing(ME))) == []
    assert opened(settled.hear(0x10, OtherRing(node(0x88)))) == []


def test_who_has_met_the_other_ring_itself_needs_no_door() -> None:
    settled = Settled()
    settled.neighbour(0x84, 0x83, 0x85, 0x86)
    assert opened(settled.hear(0x10, OtherRing(node(0x20)))) == []


def test_a_door_of_an_earlier_life_is_closed() -> None:
    settled = Settled()
    up = {node(place): ["near"] for place in (0x70, 0x78, 0x88, 0x90)} | {node(0x20): ["door"]}
    assert Release(node(0x20), "door") in settled.machine.relink(up, settled.now)
