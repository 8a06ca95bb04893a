"""A peer that seals as it should, and fills its blocks as it likes: what it says is refused, and ends nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ipop_modules.tincan.frames import BROADCAST, CARD, CONTROL, FRAME_HEADER, RELAY
from ipop_modules.tincan.link.protocol import control, overlay
from ipop_modules.tincan.link.protocol.events import PingAnswered
from ipop_modules.tincan.link.protocol.keys import MAX_NUMBER
from ipop_modules.tincan.link.protocol.loss import MOST_DATAGRAMS
from ipop_modules.tincan.link.protocol.machine import MAX_OTHERS
from ipop_modules.tincan.link.protocol.wire import FRAGMENT, FRAGMENT_HEADER
from ipop_modules.tincan.saved import Saved, load

from .net import Net, Peer
from .test_machine import link, ring

DEEP = b"\x92\x01" + b"\x91" * 20_000 + b"\xc0"
"""An array in an array, and so on, where a CONFIRM ends."""
NOT_UTF8 = b"\x93\x07\xa2\xff\xfe\xc4\x00"
"""A ROLE_MESSAGE for the role FF FE."""


def sealed(rogue: Peer, peer: Peer, frames: bytes, number: int | None = None) -> bytes:
    """A datagram with these frames as one block, under the session's keys."""
    keys = rogue.machine.sessions[peer.id].keys
    assert keys is not None
    pair = keys.pair
    if number is None:
        number, block = pair.seal(frames)
    else:
        block = pair._encrypt(bytes(4) + number.to_bytes(8, "big"), frames, None)
    return FRAGMENT_HEADER.pack(FRAGMENT, pair.remote_rid, number, 0, len(block)) + block


def give(rogue: Peer, peer: Peer, frames: bytes, number: int | None = None) -> None:
    datagram = sealed(rogue, peer, frames, number)
    peer.machine.receive(memoryview(datagram), len(datagram), rogue.endpoint, peer.net.now)


def as_control(body: bytes) -> bytes:
    return FRAME_HEADER.pack(CONTROL, 0, 0, len(body)) + body


def linked(seed: int) -> tuple[Net, Peer, Peer]:
    net = Net(seed)
    peer, rogue = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    link(net, peer, rogue)
    return net, peer, rogue


@pytest.mark.parametrize("body", [DEEP, NOT_UTF8], ids=["deep", "no text"])
def test_messages_that_are_nested_too_deeply_or_no_text_are_counted(body: bytes) -> None:
    _, peer, rogue = linked(300)
    give(rogue, peer, as_control(body))
    assert peer.machine.counters["drop_bad_control"] == 1


def test_block_numbers_from_the_top_downwards_break_no_report() -> None:
    net, peer, rogue = linked(301)
    for top in (2**64, MAX_NUMBER):
        for number in range(1, 61):
            net.now += 0.02
            give(rogue, peer, control.frame(control.Confirm()), top - number)
    assert peer.machine.counters["drop_forged"] == 60


FORGED = ("203.0.113.9", 53)
PROBES = {
    "probes": lambda: control.Probe(bytes(8)),
    "size probes that fill nothing": lambda: control.SizeProbe(1200, b""),
    "a size probe of this size": lambda: control.SizeProbe(1200, bytes(1200 - 25 - 16 - 8 - 8)),
}


@pytest.mark.parametrize("kind", PROBES)
def test_a_forged_source_gets_less_than_was_sent_in_its_name(kind: str) -> None:
    net, peer, rogue = linked(303)
    sent = 0
    for _ in range(100):
        one = control.frame(PROBES[kind]())
        datagram = sealed(rogue, peer, one * max(1, 1400 // len(one)))
        sent += len(datagram)
        peer.machine.receive(memoryview(datagram), len(datagram), FORGED, net.now)
        net.run(0.02)
    got = [data for _, source, target, data in net.sent if target == FORGED]
    assert len(got) <= 40
    assert sum(map(len, got)) < sent / 20
    assert ("fill nothing" in kind) == (peer.machine.counters["drop_answer_unvalidated"] == 0)


def test_one_block_is_answered_once() -> None:
    net, peer, rogue = linked(304)
    before = len(net.sent)
    give(rogue, peer, control.frame(control.Probe(bytes(8))) * MAX_OTHERS)
    assert [target for _, source, target, _ in net.sent[before:] if source == peer.endpoint] == [rogue.endpoint]
    assert peer.machine.counters["drop_second_answer"] == MAX_OTHERS - 1


def test_a_block_of_packets_for_others_brings_few_sends() -> None:
    net = Net(307)
    a, b, *_ = ring(net, 5)
    far = next(peer.id for peer in net.peers.values() if peer.id not in a.machine.sessions and peer is not a)
    packet = overlay.frame(overlay.Packet(far, b.id, overlay.DATAGRAM, b"", False, None, None))
    before = len(net.sent)
    give(b, a, packet * 1000)
    assert len([1 for _, source, _, _ in net.sent[before:] if source == a.endpoint]) == MAX_OTHERS
    assert a.machine.counters["drop_many_frames"] == 1


def test_the_loss_of_a_path_outlives_its_keys() -> None:
    net, peer, rogue = linked(305)
    session = peer.machine.sessions[rogue.id]
    session.counters.blocks_out, session.counters.datagrams_out = 1000, 3000
    give(rogue, peer, control.frame(control.LossReport(1000, 300)))
    before, limit = session.keys, session.block_limit
    assert limit < 2000
    peer.machine.introduce(peer.credentials, net.now)
    net.run(1)
    assert session.keys is not before
    give(rogue, peer, control.frame(control.LossReport(0, 0)))
    assert session.block_limit == limit


def test_what_is_sent_elsewhere_is_not_the_paths_loss() -> None:
    net, peer, other = linked(306)
    peer.machine.want_member(other.id, net.now)
    net.run(0.5)
    session = peer.machine.sessions[other.id]
    assert session.keys is not None
    for _ in range(400):
        peer.machine.send_card(other.id, FRAME_HEADER.pack(CARD, 0, 0, 100) + bytes(100), net.now)
        peer.machine._blocks.send_to(("10.9.9.9", 1), session.keys, control.frame(control.Probe(bytes(8))))
        net.run(0.01)
    assert session.keys.sizer.limit == MOST_DATAGRAMS
    assert len(session.keys.aside) < 100, "it was reported"


values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.sampled_from([0, -1, 2**31, 2**32 - 1, 2**62 - 1, 2**62, 2**63, 2**64 - 1])
    | st.integers(0, 300)
    | st.sampled_from([0, 4, 8, 16, 20, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size))
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)
bodies = st.builds(
    lambda tag, fields: msgspec.msgpack.encode([tag, *fields]), st.integers(0, 24), st.lists(values, max_size=6)
)
changes = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=2)


def changed(body: bytes, alterations: list[tuple[int, int]]) -> bytes:
    altered = bytearray(body)
    for at, value in alterations:
        altered[at % len(altered)] = value
    return bytes(altered)


blocks = st.lists(
    st.builds(lambda body, alterations: as_control(changed(body, alterations)), bodies, changes)
    | st.builds(
        lambda kind, offload, size, body: FRAME_HEADER.pack(kind, offload, size, len(body)) + body,
        st.sampled_from([CARD, RELAY, BROADCAST, 9]),
        st.integers(0, 255),
        st.integers(0, 65_535),
        st.binary(max_size=120),
    )
    | st.binary(max_size=40),
    max_size=4,
).map(b"".join)


@settings(max_examples=50)
@given(blocks, st.integers(1, 50))
@example(as_control(DEEP), 1)
@example(as_control(NOT_UTF8), 1)
def test_the_machine_survives_anything_that_is_sealed(frames: bytes, ahead: int) -> None:
    net, peer, rogue = linked(302)
    other = net.peer("10.0.0.3")
    link(net, peer, other)
    for number in (2**20, 2**20 + ahead, 2**64 - ahead):
        net.now += 0.3
        give(rogue, peer, frames, number)
    peer.machine.ping(other.id, net.now)
    net.run(0.5)
    assert [event.node for event in peer.of(PingAnswered)] == [other.id], "others notice nothing"


@pytest.mark.parametrize(
    "kept", [b"{", b'{"x":' + b"[" * 20_000, b'{"owners":[["\xff\xfe",""]]}'], ids=["json", "deep", "text"]
)
def test_what_was_saved_and_makes_no_sense_is_nothing(tmp_path: Path, kept: bytes) -> None:
    path = tmp_path / "saved.json"
    path.write_bytes(kept)
    assert load(path) == Saved()
