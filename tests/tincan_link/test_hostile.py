"""A peer that seals as it should, and fills its blocks as it likes: what it says is refused, and ends nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ipop_modules.tincan.frames import BROADCAST, CARD, CONTROL, FRAME_HEADER, RELAY, SEGMENT_UDP
from ipop_modules.tincan.link.protocol import control, overlay
from ipop_modules.tincan.link.protocol.backlog import HELD, PART_OF_CONTROL, Load
from ipop_modules.tincan.link.protocol.conversation import PONGS_A_SECOND
from ipop_modules.tincan.link.protocol.events import Observed, PingAnswered, RoleData
from ipop_modules.tincan.link.protocol.hearing import HANDED_A_SECOND, HANDED_AT_ONCE, SAID_A_SECOND, SAID_AT_ONCE
from ipop_modules.tincan.link.protocol.keys import MAX_NUMBER
from ipop_modules.tincan.link.protocol.loss import MOST_DATAGRAMS
from ipop_modules.tincan.link.protocol.machine import MAX_CARD, MAX_OTHERS, WORK_OF_GREETING, WORK_OF_OTHER
from ipop_modules.tincan.link.protocol.relays import MAX_TOLD, SOONEST
from ipop_modules.tincan.link.protocol.state import State
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


def test_a_block_holds_so_many_frames_for_the_card_and_no_more() -> None:
    _, peer, rogue = linked(315)
    give(rogue, peer, FRAME_HEADER.pack(CARD, 0, 0, 0) * 7000)
    assert peer.machine.counters["drop_not_member"] == MAX_CARD
    assert peer.machine.counters["drop_many_frames"] == 1


def test_a_receive_tells_how_much_work_it_was() -> None:
    net, peer, rogue = linked(316)
    plain = FRAME_HEADER.pack(CARD, 0, 0, 100) + bytes(100)
    cut = FRAME_HEADER.pack(CARD, SEGMENT_UDP, 10, 100) + bytes(100)
    asking = control.frame(control.Ping(bytes(8)))
    wrapped = overlay.frame(
        overlay.Packet(peer.id, rogue.id, overlay.DATAGRAM, sealed(rogue, peer, plain * 3), False, None, None)
    )

    def work(datagram: bytes) -> int:
        return peer.machine.receive(memoryview(datagram), len(datagram), rogue.endpoint, net.now)

    assert work(sealed(rogue, peer, plain)) == 1
    assert work(sealed(rogue, peer, plain * 5 + cut)) == 6 + 10
    assert work(sealed(rogue, peer, asking * 2)) == 2 * WORK_OF_OTHER
    assert work(sealed(rogue, peer, wrapped + plain * 2)) == WORK_OF_OTHER + 3 + 2
    assert work(b"\x01" + bytes(1199)) == WORK_OF_GREETING


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


def test_blocks_that_a_full_socket_dropped_are_not_the_paths_loss() -> None:
    net, peer, other = linked(308)
    peer.machine.want_member(other.id, net.now)
    net.run(0.5)
    session = peer.machine.sessions[other.id]
    assert session.keys is not None
    run = FRAME_HEADER.pack(CARD, 0, 0, 60_000) + bytes(60_000)
    for _ in range(20):
        peer.is_full = True
        while peer.backlog._used + len(run) + 5000 < HELD[Load.OWN]:
            peer.machine.send_card(other.id, run, net.now)
        before = session.counters.blocks_out
        for _ in range(40):
            peer.machine.send_card(other.id, run, net.now)
        assert session.counters.blocks_out == before
        peer.drain()
        net.run(0.3)
        for _ in range(20):
            peer.machine.send_card(other.id, FRAME_HEADER.pack(CARD, 0, 0, 100) + bytes(100), net.now)
            net.run(0.02)
    assert peer.machine.counters["drop_full_own"] == 20 * 40
    assert session.keys.sizer.limit == MOST_DATAGRAMS
    assert len(session.keys.aside) <= 40, "it was reported"


@pytest.mark.parametrize("seen", [(b"\1\2\3", 4741), (b"\1\2\3\4", 0)], ids=["three bytes", "port 0"])
def test_an_address_that_is_none_is_counted_and_told_to_nobody(seen: tuple[bytes, int]) -> None:
    net, peer, rogue = linked(309)
    peer.events.clear()
    path = peer.machine.sessions[rogue.id].paths.active
    assert path is not None
    path.probes[bytes(8)] = net.now
    give(rogue, peer, control.frame(control.ProbeAnswer(bytes(8), *seen)))
    net.run(0)
    assert peer.of(Observed) == []
    assert peer.machine.counters["drop_observed"] == 1


def test_lists_of_neighbours_cost_no_look_at_all_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    net, peer, rogue = linked(311)
    for number in range(3, 43):
        link(net, peer, net.peer(f"10.0.0.{number}"))
    looks: list[bytes] = []
    is_sound = State.is_sound

    def counted(state: State, node: bytes) -> bool:
        looks.append(node)
        return is_sound(state, node)

    known = sorted(set(peer.machine.sessions) - {rogue.id})
    told = tuple((node, 1000) for node in known[:MAX_TOLD])
    session = peer.machine.sessions[rogue.id]
    session.member = False
    monkeypatch.setattr(State, "is_sound", counted)
    give(rogue, peer, control.frame(control.Relays(told, wanted=True)))
    assert (looks, session.relays) == ([], ()), "a stranger's"
    session.member = True
    for _ in range(2):
        give(rogue, peer, control.frame(control.Relays((), wanted=True)) * MAX_OTHERS)
    assert len(looks) == len(known), "one list in answer"
    assert not session.relays
    looks.clear()
    give(rogue, peer, control.frame(control.Relays(told, wanted=True)))
    assert len(looks) == MAX_TOLD
    assert session.relays
    net.now += SOONEST
    give(rogue, peer, control.frame(control.Relays((), wanted=True)))
    assert len(looks) > MAX_TOLD


def test_nothing_is_held_for_a_session_that_the_same_block_ended() -> None:
    for seed, is_wrapped in ((312, False), (313, True)):
        net, peer, rogue = linked(seed)
        rogue.machine.want_member(peer.id, net.now)
        net.run(0.5)
        assert peer.machine.sessions[rogue.id].member
        closing = control.frame(control.Close())
        if is_wrapped:
            closing = overlay.frame(overlay.Packet(peer.id, rogue.id, overlay.DATAGRAM, sealed(rogue, peer, closing)))
        card = FRAME_HEADER.pack(CARD, 0, 0, 1000) + bytes(1000)
        give(rogue, peer, closing + card)
        assert rogue.id not in peer.machine.sessions
        assert peer.machine._state.room.used == 0
        assert peer.machine.counters["drop_no_session"] == 1


@pytest.mark.parametrize("is_routed", [False, True], ids=["said", "handed over"])
def test_one_peer_fills_no_other_process_with_messages_to_its_role(is_routed: bool) -> None:
    """Each goes over the bus, and eight of them fit into some 250 bytes."""
    net, peer, rogue = linked(317)
    other = net.peer("10.0.0.3")
    link(net, peer, other)
    at_once, a_second = (HANDED_AT_ONCE, HANDED_A_SECOND) if is_routed else (SAID_AT_ONCE, SAID_A_SECOND)
    payload = overlay.encode_message("topology", bytes(8))

    def message() -> bytes:
        if not is_routed:
            return control.frame(control.RoleMessage("topology", bytes(8)))
        return overlay.frame(overlay.Packet(peer.id, net.random_bytes(20), overlay.MESSAGE, payload))

    def heard(by: Peer, blocks: int) -> int:
        before = len(peer.machine.events)
        for _ in range(blocks):
            give(by, peer, b"".join(message() for _ in range(MAX_OTHERS)))
        return sum(isinstance(event, RoleData) for event in peer.machine.events[before:])

    assert heard(rogue, 500) == at_once
    assert peer.machine.counters["drop_role_limit"] == 500 * MAX_OTHERS - at_once
    assert heard(other, 100) == 100 * MAX_OTHERS, "another peer's are heard"
    peer.machine.events.clear()
    net.now += 1.0
    assert heard(rogue, 500) == a_second


def test_one_peer_that_asks_for_answers_takes_no_room_from_others() -> None:
    net, peer, rogue = linked(314)
    other = net.peer("10.0.0.3")
    link(net, peer, other)
    peer.is_full = True
    probing = control.frame(control.Ping(bytes(8)))
    for _ in range(1000):
        give(rogue, peer, probing * MAX_OTHERS)
    asked = 1000 * MAX_OTHERS
    assert len(peer.backlog) < 1.1 * PONGS_A_SECOND
    assert peer.machine.counters["drop_ping_limit"] == asked - PONGS_A_SECOND
    while peer.machine.send_role(rogue.id, "topology", bytes(1000), net.now):
        assert peer.backlog._used <= HELD[Load.CONTROL] * PART_OF_CONTROL
    assert peer.machine.send_role(other.id, "topology", bytes(1000), net.now)


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
