"""A node is revoked while it is connected: who hears of it, how soon, and that the revoked one can't stop the news."""

from __future__ import annotations

import pytest

from ipop_core.authority.revocation import RevocationList
from ipop_modules.tincan.frames import CARD, FRAME_HEADER
from ipop_modules.tincan.link.protocol import control
from ipop_modules.tincan.link.protocol.events import Endpoint, MemberProven, RevocationsLearnt, SessionClosed
from tests.tincan_link.net import Net

from .makers import Authority, Member, p256


class Anything:
    def refusal(self, frame: memoryview) -> str:
        return ""


class Town:
    """Members in a line, each in session with the next, and Mallory in session with every one of them."""

    def __init__(self, count: int = 4) -> None:
        self.net = Net(11)
        self.authority = Authority()
        self.line = [self.member(number) for number in range(1, count + 1)]
        self.mallory = self.member(66)
        for near, far in zip(self.line, self.line[1:], strict=False):
            self.meet(near, far)
        for member in self.line:
            self.meet(self.mallory, member)

    def member(self, number: int) -> Member:
        key = p256()
        certificate = self.authority.member(key, f"192.168.10.{number}")
        return Member(self.net, f"10.0.0.{number}", self.authority.namespace, certificate, key)

    def meet(self, one: Member, other: Member) -> None:
        one.machine.contact(other.endpoint, other.id, self.net.now)
        self.net.run(0.3)
        one.machine.want_member(other.id, self.net.now)
        self.net.run(0.3)
        for near, far in ((one, other), (other, one)):
            near.machine.want(far.id, "near", self.net.now)
            near.machine.confirm_source(far.id, Anything(), self.net.now)
            assert near.machine.sessions[far.id].member

    def revoke_mallory(self) -> RevocationList:
        return self.authority.revoke(self.mallory.certificate)

    def in_session(self) -> list[bool]:
        return [self.mallory.id in member.machine.sessions for member in self.line]

    def until_cut_off(self, seconds: float) -> None:
        end = self.net.now + seconds
        while any(self.in_session()) and self.net.now < end:
            self.net.run(0.01)
        assert self.in_session() == [False] * len(self.line)

    def numbers(self) -> list[list[int]]:
        return [learnt(member) for member in self.line]


def learnt(member: Member) -> list[int]:
    return [event.list.number for event in member.events if isinstance(event, RevocationsLearnt)]


def test_one_member_is_told_and_all_cut_her_off() -> None:
    town = Town()
    assert town.in_session() == [True] * 4
    text = FRAME_HEADER.pack(CARD, 0, 0, 4) + b"data"
    town.mallory.machine.send_card(town.line[3].id, text, town.net.now)
    town.net.run(0.1)
    assert len(town.line[3].card) == 1
    begun = town.net.now
    town.line[0].machine.learn_revocations(town.revoke_mallory().der, town.net.now)
    town.until_cut_off(1.0)
    print(f"all {len(town.line)} members cut her off within {town.net.now - begun:.2f} s, 10 ms a hop")
    assert town.numbers() == [[1]] * 4
    assert town.in_session() == [False] * 4
    for member in town.line:
        assert [e.reason for e in member.events if isinstance(e, SessionClosed)] == ["revoked"]
    # She tries again, and keeps trying.
    for _ in range(3):
        for member in town.line:
            town.mallory.machine.contact(member.endpoint, member.id, town.net.now)
        town.mallory.machine.send_card(town.line[3].id, text, town.net.now)
        town.net.run(8)
    assert town.in_session() == [False] * 4
    assert len(town.line[3].card) == 1
    assert all(member.machine.counters["refused_revoked"] >= 3 for member in town.line)


def test_the_others_go_on() -> None:
    town = Town()
    town.line[0].machine.learn_revocations(town.revoke_mallory().der, town.net.now)
    town.net.run(2)
    text = FRAME_HEADER.pack(CARD, 0, 0, 4) + b"data"
    town.line[2].machine.send_card(town.line[3].id, text, town.net.now)
    town.net.run(1)
    assert [frame for _, _, frame in town.line[3].card] == [b"data"]


def test_she_passes_nothing_on_and_that_stops_nothing() -> None:
    town = Town()
    # All that she says of lists is a lie: she has the highest number there is, and gives rubbish.
    rubbish = control.CrlPiece(town.revoke_mallory().authority, 2**63 - 1, 7, 0, b"rubbish")
    for member in town.line:
        session = town.mallory.machine.sessions[member.id]
        for message in (control.CrlNumber(rubbish.authority, 2**63 - 1, True), rubbish):
            town.mallory.machine._blocks.send(session, control.frame(message), town.net.now)
    town.net.run(1)
    town.line[0].machine.learn_revocations(town.revoke_mallory().der, town.net.now)
    town.net.run(1)
    assert town.in_session() == [False] * 4


def test_a_side_that_was_cut_off_hears_when_it_comes_back() -> None:
    town = Town()
    near = {town.line[0].endpoint, town.line[1].endpoint}

    def apart(source: Endpoint, target: Endpoint) -> bool:
        return (source in near) == (target in near)

    town.net.passes = apart
    town.line[0].machine.learn_revocations(town.revoke_mallory().der, town.net.now)
    town.net.run(60)
    assert town.in_session() == [False, False, True, True]
    town.net.passes = lambda source, target: True
    begun = town.net.now
    # A session that was given up is made again by whoever wants it.
    town.line[1].machine.contact(town.line[2].endpoint, town.line[2].id, town.net.now)
    town.until_cut_off(5.0)
    print(f"cut off within {town.net.now - begun:.2f} s of coming back")


def test_a_node_that_starts_late_knows_it_from_its_first_session() -> None:
    town = Town(2)
    town.line[0].machine.learn_revocations(town.revoke_mallory().der, town.net.now)
    town.net.run(1)
    late = town.member(30)
    late.machine.contact(town.line[1].endpoint, town.line[1].id, town.net.now)
    town.net.run(1)
    assert learnt(late) == [1]
    town.mallory.machine.contact(late.endpoint, late.id, town.net.now)
    town.net.run(8)
    assert town.mallory.id not in late.machine.sessions


def test_strangers_hear_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town(2)
    stranger = town.net.peer("10.0.0.99", namespace=None)
    stranger.machine.contact(town.line[0].endpoint, town.line[0].id, town.net.now)
    town.net.run(1)
    heard: list[object] = []
    for peer in (stranger, town.line[1]):
        certification = peer.machine._certification
        monkeypatch.setattr(certification, "received", lambda *said, peer=peer: heard.append(peer))
    town.line[0].machine.learn_revocations(town.revoke_mallory().der, town.net.now)
    town.net.run(2)
    assert set(heard) == {town.line[1]}
    assert stranger.id in town.line[0].machine.sessions


def test_a_renewed_certificate_keeps_the_membership_and_tells_its_new_addresses() -> None:
    town = Town(2)
    one, other = town.line
    renewed = town.authority.member(other.key, "192.168.10.2", "192.168.10.3")
    again = Member(town.net, "10.0.0.2", town.authority.namespace, renewed, other.key)
    before = len(one.of(MemberProven))
    again.machine.contact(one.endpoint, one.id, town.net.now)
    town.net.run(1)
    session = one.machine.sessions[other.id]
    assert session.member
    assert [str(address) for address in session.vouched or ()] == ["192.168.10.2", "192.168.10.3"]
    assert len(one.of(MemberProven)) == before + 1
