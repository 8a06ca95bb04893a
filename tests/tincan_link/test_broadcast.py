"""The tree of members by which broadcast frames travel, without links: copies are handed over at once."""

from __future__ import annotations

import random
from collections import Counter, deque

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from ipop_core.identity import node_of
from ipop_modules.tincan.frames import BROADCAST, CARD, FRAME_HEADER, FRAME_HEADER_SIZE
from ipop_modules.tincan.link.protocol.broadcast import (
    BURST,
    FANOUT,
    HANDED_BURST,
    MAX_ORIGINS,
    Broadcast,
    Copy,
    Refused,
    most_in_part,
    parts,
)

NAMESPACE = b"n" * 32
HANDS, OTHER_HANDS = b"h" * 20, b"o" * 20
"""Members that hand frames over."""
FRAME = FRAME_HEADER.pack(CARD, 0, 0, 5) + b"hello"
node_ids = st.binary(min_size=20, max_size=20)


class Member:
    def __init__(self, namespace: bytes = NAMESPACE) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.id = node_of(key.public_key())
        self.tree = Broadcast(self.id, der, lambda data: key.sign(data, ec.ECDSA(SHA256())), namespace, 10**15)


def body(copy: Copy) -> memoryview:
    kind, _, _, length = FRAME_HEADER.unpack_from(copy.frame)
    assert (kind, length) == (BROADCAST, len(copy.frame) - FRAME_HEADER_SIZE)
    return memoryview(copy.frame)[FRAME_HEADER_SIZE:]


def sent_by(member: Member, members: list[bytes], now: float = 0.0) -> list[Copy]:
    return member.tree.originate(FRAME, members, lambda _: False, now)


def test_a_tree_of_forty_gives_each_one_copy_and_nobody_sends_more_than_its_share() -> None:
    members = {member.id: member for member in (Member() for _ in range(40))}
    origin = next(iter(members.values()))
    got: Counter[bytes] = Counter()
    copies = deque(sent_by(origin, list(members)))
    assert len(copies) == -(-39 // -(-39 // FANOUT))
    while copies:
        copy = copies.popleft()
        got[copy.node] += 1
        member = members[copy.node]
        arrived = member.tree.received(HANDS, body(copy), 0.0)
        assert (arrived.origin, arrived.frame) == (origin.id, FRAME)
        copies += member.tree.onward(arrived, list(members), lambda _: False)
    assert got == Counter(members.keys() - {origin.id})


def test_who_hands_everybody_the_whole_circle_makes_them_send_a_few_copies_each() -> None:
    """Sessions that lie far behind in a part are the worst: whoever is before them gets a copy, too."""
    members = {member.id: member for member in (Member() for _ in range(300))}
    circle = sorted(members)
    origin, *others = circle
    (copy, *_) = sent_by(members[origin], circle)
    first = members[copy.node].tree.received(HANDS, body(copy), 0.0)
    sent = 0
    for node in others[:50]:
        if node != copy.node:
            whole = bytearray(body(copy))
            whole[8:28] = (int.from_bytes(node) - 1).to_bytes(20)
            arrived = members[node].tree.received(HANDS, memoryview(whole), 0.0)
            place = circle.index(node)
            sent += len(
                members[node].tree.onward(arrived, circle, lambda other, at=place: circle.index(other) % 19 == at % 19)
            )  # type: ignore[misc]  # mypy can't infer a lambda's default
    assert first.sequence > 0
    assert sent / 50 <= most_in_part(len(circle), 2) == 6


@given(st.integers(1, 5000))
def test_parts_of_honest_members_are_never_cut_short(count: int) -> None:
    first = -(-count // FANOUT)
    assert first <= most_in_part(count - 1, 1)
    assert -(-first // FANOUT) <= most_in_part(count - 1, 2)


@given(st.lists(node_ids, min_size=1, max_size=400, unique=True), node_ids, st.integers(0, 2**32))
def test_the_parts_hold_everyone_once(members: list[bytes], own: bytes, seed: int) -> None:
    there = set(random.Random(seed).sample(members, len(members) // 2))
    reached: Counter[bytes] = Counter()
    tasks = [(own, own)]
    while tasks:
        node, until = tasks.pop()
        for child, end in parts(node, members, until, there.__contains__):
            reached[child] += 1
            tasks.append((child, end))
    assert reached == Counter(set(members) - {own})


def test_a_part_goes_to_a_member_in_session_and_those_before_it_get_their_own_copies() -> None:
    members = [number.to_bytes(20, "big") for number in range(1, 2 * FANOUT + 1)]
    own, there = bytes(20), members[1]
    first, second, *_ = parts(own, members, own, {there}.__contains__)
    assert first == (members[0], there)
    assert second == (there, members[2])


def refused(member: Member, data: memoryview, now: float = 0.0, hands: bytes = HANDS) -> str:
    with pytest.raises(Refused) as refusal:
        member.tree.received(hands, data, now)
    return str(refusal.value)


def test_the_second_copy_is_dropped_and_what_comes_home_too() -> None:
    origin, other = Member(), Member()
    (copy,) = sent_by(origin, [other.id])
    other.tree.received(HANDS, body(copy), 0.0)
    assert refused(other, body(copy)) == "group_twice"
    (back,) = sent_by(origin, [other.id])
    changed = bytearray(body(back))
    changed[8:28] = bytes(20)
    assert refused(origin, memoryview(changed)) == "group_own"


def test_what_was_changed_on_its_way_or_signed_in_another_namespace_is_dropped() -> None:
    origin, other, stranger = Member(), Member(), Member(b"x" * 32)
    (copy,) = sent_by(origin, [other.id])
    changed = bytearray(body(copy))
    changed[-1] ^= 1
    assert refused(other, memoryview(changed)) == "group_forged"
    assert other.tree.received(HANDS, body(copy), 0.0).frame == FRAME
    (foreign,) = sent_by(stranger, [other.id])
    assert refused(other, body(foreign)) == "group_forged"


def test_an_origins_frames_are_limited_where_they_start_and_where_they_pass() -> None:
    origin, other = Member(), Member()
    copies = [sent_by(origin, [other.id])[0] for _ in range(int(BURST))]
    with pytest.raises(Refused, match="group_limit"):
        sent_by(origin, [other.id])
    patient = sent_by(origin, [other.id], 1.0)
    for copy in copies:
        other.tree.received(HANDS, body(copy), 0.0)
    assert refused(other, body(patient[0])) == "group_limit"


def test_who_hands_over_forged_frames_uses_up_its_own_share_and_not_the_origins() -> None:
    origin, other = Member(), Member()
    (copy,) = sent_by(origin, [other.id])
    forged = bytearray(body(copy))
    forged[-1] ^= 1
    refusals = [refused(other, memoryview(forged)) for _ in range(int(HANDED_BURST) + 5)]
    assert refusals == ["group_forged"] * int(HANDED_BURST) + ["group_limit"] * 5
    assert other.tree.received(OTHER_HANDS, body(copy), 0.0).origin == origin.id


def test_a_frame_comes_once_though_its_origin_had_to_make_room() -> None:
    """Another member makes up as many origins as it likes: keys are free, and so are their signatures."""
    origin, other = Member(), Member()
    (copy,) = sent_by(origin, [other.id])
    other.tree.received(OTHER_HANDS, body(copy), 0.0)
    crowd = [Member() for _ in range(MAX_ORIGINS + 1)]
    for number, made_up in enumerate(crowd):
        other.tree.received(HANDS, body(sent_by(made_up, [other.id])[0]), float(number))
    assert refused(other, body(copy), 300.0) == "group_twice"
    assert other.tree.received(OTHER_HANDS, body(sent_by(origin, [other.id])[0]), 300.0).origin == origin.id


def test_of_an_origin_that_made_room_old_frames_stay_old() -> None:
    origin, other = Member(), Member()
    early, late = (sent_by(origin, [other.id])[0] for _ in range(2))
    other.tree.received(HANDS, body(late), 0.0)
    for number in range(MAX_ORIGINS):
        other.tree.received(HANDS, body(sent_by(Member(), [other.id])[0]), float(number))
    assert refused(other, body(late), 300.0) == "group_twice"
    assert refused(other, body(early), 300.0) == "group_twice"
    assert other.tree.received(HANDS, body(sent_by(origin, [other.id])[0]), 300.0).origin == origin.id


@given(st.binary(max_size=300))
def test_random_bodies_are_refused(data: bytes) -> None:
    assert refused(Member(), memoryview(data)) in {"group_malformed", "group_forged"}
