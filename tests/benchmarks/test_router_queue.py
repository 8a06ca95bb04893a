"""The router that delays and loses."""

from __future__ import annotations

import random

from benchmarks.router import QUEUE_BYTES, Queue


def test_frames_leave_in_order_when_their_delay_is_over() -> None:
    queue = Queue(0.0, 0.010, random.Random(1))
    assert queue.add(b"first", 1.000)
    assert queue.add(b"second", 1.004)
    assert queue.next_due == 1.010
    assert queue.due(1.009) == []
    assert queue.due(1.010) == [b"first"]
    assert queue.due(2.0) == [b"second"]
    assert queue.next_due is None


def test_the_share_of_lost_frames_is_the_one_asked_for() -> None:
    queue = Queue(0.1, 0.0, random.Random(7))
    lost = sum(not queue.add(b"x", 0.0) for _ in range(10_000))
    assert 900 < lost < 1100


def test_a_full_queue_loses_and_takes_again_once_it_has_drained() -> None:
    queue = Queue(0.0, 1.0, random.Random(1))
    half = bytes(QUEUE_BYTES // 2)
    assert queue.add(half, 0.0)
    assert queue.add(half, 0.0)
    assert not queue.add(b"x", 0.0)
    assert len(queue.due(1.0)) == 2
    assert queue.add(b"x", 1.0)
