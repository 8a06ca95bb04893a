"""How often neighbours greet each other."""

from __future__ import annotations

from ipop_modules.topology.protocol.link import HELLO_NEAR, Link
from ipop_modules.topology.protocol.messages import Hello

EXACTLY = b"\x80\0\0\0"
"""Randomness that spreads nothing."""


def test_the_more_often_the_same_was_said_the_longer_the_pause_and_news_begins_anew() -> None:
    link = Link(0.0, initiator=True, member=True)
    orders = iter(range(99))

    def pause(*near: bytes) -> float:
        hello = Hello(True, 7, near, ask=False, order=next(orders))
        link.said_hello(hello, near=True, random=lambda size: EXACTLY[:size], now=0.0)
        return link.hello_at

    one, other = bytes(20), b"\1" * 20
    pauses = [*HELLO_NEAR, HELLO_NEAR[-1]]
    assert [pause(one) for _ in pauses] == pauses
    assert [pause(one, other) for _ in pauses] == pauses
