"""What a ring looks over again though nobody says anything: it must ask to be woken for it."""

from __future__ import annotations

import random

from ipop_modules.topology.protocol.acquaintances import FIRST_BACKOFF
from ipop_modules.topology.protocol.effects import Connect, Send
from ipop_modules.topology.protocol.messages import Hello, Join, JoinAnswer, decode
from ipop_modules.topology.protocol.ring import PATIENCE, Ring

ME, BESIDE, SILENT = (bytes([place]) + bytes(19) for place in (0x80, 0x90, 0x88))
HELLO = Hello(True, 1, (SILENT,), False)


def placed_beside_a_silent_node(seed: int) -> Ring:
    """A newcomer that is linked to one member, and knows that another one is nearer."""
    ring = Ring(ME, random.Random(seed).randbytes, 0.0)
    ring.link_up(BESIDE, initiator=True, now=0.0)
    ring.on_hello(HELLO, BESIDE, 0.0)
    sent = [decode(effect.payload) for effect in ring.out.drain() if isinstance(effect, Send)]
    (join,) = [message for message in sent if isinstance(message, Join)]
    ring.on_join_answer(JoinAnswer(join.number, (BESIDE, SILENT)), 0.0)
    assert Connect(SILENT, BESIDE, "near") in ring.out.drain()
    assert not ring.attached
    return ring


def wake_until(ring: Ring, end: float) -> None:
    while ring.next_wake() <= end:
        ring.wake(ring.next_wake())


def test_patience_with_a_silent_neighbour_ends_in_time() -> None:
    ring = placed_beside_a_silent_node(seed=1)
    wake_until(ring, PATIENCE - 0.001)
    assert not ring.attached
    wake_until(ring, PATIENCE)
    assert ring.attached


def test_a_node_that_could_not_be_reached_is_tried_again_when_its_pause_is_over() -> None:
    ring = placed_beside_a_silent_node(seed=2)
    wake_until(ring, 20.0)
    ring.connect_failed(SILENT, 20.0)
    ring.on_hello(HELLO, BESIDE, 20.0)
    assert Connect(SILENT, BESIDE, "near") not in ring.out.drain()
    wake_until(ring, 20.0 + 1.5 * FIRST_BACKOFF)
    assert Connect(SILENT, BESIDE, "near") in ring.out.drain()


def test_a_node_that_was_forgotten_is_news_when_a_neighbour_names_it_again() -> None:
    ring = placed_beside_a_silent_node(seed=3)
    wake_until(ring, 120.0)
    ring.out.drain()
    ring.on_hello(HELLO, BESIDE, 120.0)
    assert Connect(SILENT, BESIDE, "near") in ring.out.drain()


def test_a_newcomer_asks_for_its_place_through_whoever_wants_its_link() -> None:
    """A neighbour of an earlier life wants the link as a long one: it leads into the ring like any other."""
    ring = Ring(ME, random.Random(4).randbytes, 0.0)
    ring.link_up(BESIDE, initiator=False, now=0.0)
    ring.on_hello(Hello(True, 1, (SILENT,), False, long=True), BESIDE, 0.0)
    sent = [decode(effect.payload) for effect in ring.out.drain() if isinstance(effect, Send)]
    assert [message.via for message in sent if isinstance(message, Join)] == [BESIDE]


def test_of_the_news_that_neighbours_have_only_who_may_be_near_is_looked_at() -> None:
    """A far neighbour names its own near ones, time and again."""
    ring = Ring(ME, random.Random(5).randbytes, 0.0)
    far, beside_far, nearer = (bytes([place]) + bytes(19) for place in (0x10, 0x11, 0x86))
    near = [bytes([place]) + bytes(19) for place in (0x78, 0x7C, 0x84, 0x88)]
    for node in (*near, far):
        ring.link_up(node, initiator=True, now=0.0)
        ring.on_hello(Hello(True, 1, (), False), node, 0.0)
    sent = [decode(effect.payload) for effect in ring.out.drain() if isinstance(effect, Send)]
    join = next(message for message in sent if isinstance(message, Join))
    ring.on_join_answer(JoinAnswer(join.number, tuple(near)), 0.0)
    assert set(ring.near) == set(near)
    ring.on_hello(Hello(True, 1, (beside_far,), False), far, 1.0)
    wake_until(ring, 60.0)
    ring.is_stirred = False
    ring.on_hello(Hello(True, 1, (beside_far,), False), far, 60.0)
    assert not ring.is_stirred
    ring.on_hello(Hello(True, 1, (nearer,), False), far, 61.0)
    ring.connect_failed(nearer, 62.0)
    wake_until(ring, 120.0)
    ring.out.drain()
    ring.on_hello(Hello(True, 1, (nearer,), False), far, 120.0)
    assert Connect(nearer, far, "near") in ring.out.drain()
