"""A newcomer whose only bootstrap is gone a moment later: it asks the members that this one named to it."""

from __future__ import annotations

from typing import TypeAlias

import pytest

from benchmarks.overlay_net import full, thin
from benchmarks.overlay_net.members import Recipe
from ipop_modules.topology.known import is_fit
from ipop_modules.topology.protocol import founding
from ipop_modules.topology.protocol.effects import Effect, Introduce, Introduced, Send, Source
from ipop_modules.topology.protocol.longlinks import LongLinks
from ipop_modules.topology.protocol.machine import Machine
from ipop_modules.topology.protocol.messages import (
    MAX_ENDPOINT,
    MAX_INTRODUCED,
    Hello,
    Introduction,
    Message,
    Peer,
    decode,
    encode,
)
from ipop_modules.topology.protocol.records import verify_p256
from ipop_modules.topology.protocol.remembered import Remembered
from tests.topology.rings import address, look_up, ring

Make: TypeAlias = type[thin.Network]
KINDS = [(thin.Network, Recipe(long_links=0)), (full.Network, Recipe(long_links=0, verify=verify_p256))]
both = pytest.mark.parametrize(("make", "recipe"), KINDS, ids=["thin", "whole"])

NEWCOMER = address(100)
PLACE = "192.0.2.1:4741"


def bereft(make: Make, recipe: Recipe) -> tuple[thin.Network, thin.Node, list[thin.Node]]:
    """A newcomer as its only bootstrap has told it of a ring and died; and those who are left of that."""
    network = make(1, recipe=recipe)
    members = ring(network, 8)
    bootstrap = members[5]
    newcomer = network.add()
    network.claim(newcomer, NEWCOMER)
    network.contact(newcomer, bootstrap)

    def has_met() -> bool:
        return newcomer.machine.ring._met_at is not None

    network.run_until(has_met, 5.0, step=0.001)
    network.run(0.001)
    assert newcomer.links == {bootstrap.id}
    network.kill(bootstrap)
    return network, newcomer, [node for node in members if node is not bootstrap]


@both
def test_it_finds_into_the_ring(make: Make, recipe: Recipe) -> None:
    network, newcomer, left = bereft(make, recipe)
    took = network.run_until(network.ring_is_right, 40.0, step=0.1)
    print(f"in the ring after {took:.1f} s")
    network.run(6.0)
    assert look_up(network, left[0], NEWCOMER).node == newcomer.id


@both
def test_where_nobody_was_named_it_founds_no_ring_of_its_own(
    make: Make, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Remembered, "introduced", lambda self, node, endpoint: None)
    network, newcomer, _ = bereft(make, recipe)
    network.run(60.0)
    assert not (newcomer.links or newcomer.member or newcomer.registered)
    answer = look_up(network, newcomer, address(1))
    assert (answer.node, answer.certain) == (None, False)


@both
def test_a_fellow_in_the_same_position_keeps_neither_from_it(make: Make, recipe: Recipe) -> None:
    network = make(1, recipe=recipe)
    members = ring(network, 8)
    bootstrap = members[5]
    one, other = (network.add() for _ in range(2))
    for newcomer, fellow in ((one, other), (other, one)):
        network.contact(newcomer, bootstrap)
        network.contact(newcomer, fellow)

    def have_met() -> bool:
        return all(newcomer.machine.ring._met_at is not None for newcomer in (one, other))

    network.run_until(have_met, 5.0, step=0.001)
    network.run(0.001)
    network.kill(bootstrap)
    assert not (one.member or other.member)
    print(f"in the ring after {network.run_until(network.ring_is_right, 60.0, step=0.1):.1f} s")


def test_of_a_ring_that_is_gone_for_good_those_are_left_that_had_met_it_found_another_in_the_end() -> None:
    network = thin.Network(1, recipe=Recipe(long_links=0))
    bootstrap = network.add()
    network.run_until(lambda: bootstrap.member, 10.0)
    one, other = network.add(), network.add()
    for newcomer, fellow in ((one, other), (other, one)):
        network.contact(newcomer, bootstrap)
        network.contact(newcomer, fellow)
    network.run_until(lambda: one.machine.ring._met_at is not None, 5.0, step=0.001)
    network.kill(bootstrap)
    started = network.now
    network.run_until(lambda: one.member or other.member, 60.0, step=0.1)
    assert network.now - started > founding.ASKING
    network.run_until(network.ring_is_right, 60.0)


def test_who_has_never_met_a_ring_founds_one() -> None:
    network = thin.Network(1)
    bootstrap, newcomer = network.add(), network.add()
    network.kill(bootstrap)
    network.contact(newcomer, bootstrap)
    network.run(10.0)
    assert newcomer.member


def test_a_stranger_that_came_makes_nobody_wait_for_its_ring() -> None:
    machine = newcomer_of(BOOTSTRAP, initiator=False)
    heard(machine, Hello(True, 1, (), False))
    machine.link_down(BOOTSTRAP, 0.5)
    machine.wake(4.0)
    assert machine.ring.member


ME, BOOTSTRAP, OTHER = (bytes([number] * 20) for number in (1, 2, 3))
NAMED = Introduction((Peer(OTHER, PLACE), Peer(ME, PLACE)))


def newcomer_of(bootstrap: bytes, *, initiator: bool = True) -> Machine:
    machine = Machine(ME, None, bytes, 0.0)
    machine.link_up(bootstrap, 0.0, initiator=initiator)
    return machine


def heard(machine: Machine, message: Message, sender: bytes = BOOTSTRAP, *, proven: bool = True) -> list[Effect]:
    return machine.receive(encode(message), Source(sender, proven, sender), 0.1)


def test_it_believes_whom_it_went_to_itself_once() -> None:
    machine = newcomer_of(BOOTSTRAP)
    assert heard(machine, NAMED) == [Introduced(((OTHER, PLACE),))]
    assert heard(machine, NAMED) == []


def test_it_believes_nobody_who_came_to_it_or_is_no_neighbour_nor_anyone_once_it_is_in_the_ring() -> None:
    assert heard(newcomer_of(BOOTSTRAP, initiator=False), NAMED) == []
    assert heard(newcomer_of(BOOTSTRAP), NAMED, OTHER) == []
    machine = newcomer_of(BOOTSTRAP)
    assert heard(machine, NAMED, proven=False) == []
    assert machine.dropped == 1
    machine.ring.attached = True
    assert heard(machine, NAMED) == []


def introductions(effects: list[Effect]) -> list[Introduction]:
    sent = [decode(effect.payload) for effect in effects if isinstance(effect, Send)]
    return [message for message in sent if isinstance(message, Introduction)]


def test_a_member_names_no_more_than_a_message_holds_and_nobody_where_there_is_none() -> None:
    machine = newcomer_of(BOOTSTRAP, initiator=False)
    many = [(bytes([number] * 20), PLACE) for number in range(10, 20)]
    too_long = (OTHER, "x" * (MAX_ENDPOINT + 1))
    (told,) = introductions(machine.introduce(BOOTSTRAP, [too_long, *many], 0.0))
    assert told.peers == tuple([Peer(*peer) for peer in many[:MAX_INTRODUCED]])
    assert introductions(machine.introduce(BOOTSTRAP, [too_long], 0.0)) == []


@pytest.mark.parametrize("initiator", [True, False])
@pytest.mark.parametrize("is_member", [True, False])
def test_a_member_names_others_once_to_a_newcomer_that_came_to_it(initiator: bool, is_member: bool) -> None:
    machine = newcomer_of(BOOTSTRAP, initiator=initiator)
    machine.ring.member = machine.ring.attached = is_member
    asked = [effect for _ in range(2) for effect in heard(machine, Hello(False, 1, (), True))]
    assert [effect for effect in asked if isinstance(effect, Introduce)] == (
        [Introduce(BOOTSTRAP, ())] if is_member and not initiator else []
    )


def test_those_that_came_before_it_was_a_member_are_told_when_it_is() -> None:
    machine = newcomer_of(BOOTSTRAP, initiator=False)
    heard(machine, Hello(False, 1, (), True))
    told = [effect for effect in machine.wake(5.0) if isinstance(effect, Introduce)]
    assert machine.ring.member
    assert told == [Introduce(BOOTSTRAP, ())]


def test_of_whom_nothing_is_known_yet_is_told_nothing() -> None:
    machine = newcomer_of(BOOTSTRAP, initiator=False)
    assert not any(isinstance(effect, Introduce) for effect in machine.wake(5.0))
    assert machine.ring.member


def test_who_is_alone() -> None:
    machine = newcomer_of(BOOTSTRAP)
    ring = machine.ring
    heard(machine, Hello(False, 1, (), False, order=1))
    assert not ring.is_alone, "it has met no ring"
    heard(machine, Hello(True, 1, (), False, order=2))
    assert not ring.is_alone, "it has a link into the ring"
    heard(machine, Hello(False, 1, (), False, order=3))
    assert ring.is_alone, "the ring is out of reach"
    ring.attached = True
    assert not ring.is_alone, "it has a place"
    machine.link_down(BOOTSTRAP, 1.0)
    assert ring.is_alone, "it has no link"


def test_how_long_it_asks_counts_from_when_the_link_into_the_ring_went() -> None:
    machine = newcomer_of(BOOTSTRAP)
    machine.link_up(OTHER, 0.0)
    heard(machine, Hello(True, 1, (), False))
    heard(machine, Hello(False, 1, (), False), OTHER)
    machine.link_down(BOOTSTRAP, 100.0)
    machine.wake(100.0 + founding.ASKING - 0.1)
    assert not machine.ring.attached
    machine.wake(100.0 + founding.ASKING)
    assert machine.ring.attached


def named(long_links: int | None, size: int = 24) -> tuple[thin.Node, Introduce]:
    """What a member of a ring of so many is about to say to a newcomer."""
    network = thin.Network(1, recipe=Recipe(long_links=long_links))
    member = ring(network, size)[3]
    network.run(60.0)
    newcomer, hello = bytes(20), Hello(False, 1, (), True)
    leaf = bytes([255] * 20)
    for other in (newcomer, leaf):
        member.machine.link_up(other, network.now)
    effects = heard(member.machine, hello, newcomer)
    (introduce,) = [effect for effect in effects if isinstance(effect, Introduce)]
    assert introduce.node == newcomer
    assert not {newcomer, leaf, member.id} & {*introduce.members}
    assert len({*introduce.members}) == len(introduce.members) <= 2 * MAX_INTRODUCED
    return member, introduce


def test_long_links_of_its_own_are_named_first() -> None:
    member, introduce = named(None)
    own_long = [node for node in member.links if node in member.machine.ring._long]
    assert own_long
    first = introduce.members[: len(own_long)]
    assert {*first} <= {*own_long}
    assert {*introduce.members} <= {*own_long, *member.machine.ring.near}


def test_one_that_is_near_and_at_the_end_of_a_long_link_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LongLinks, "__contains__", lambda self, node: True)
    member, introduce = named(0, 6)
    assert sorted(introduce.members) == sorted(member.machine.ring.near)


def test_near_neighbours_are_named_where_there_are_no_long_links() -> None:
    member, introduce = named(0)
    assert {*introduce.members} == {*member.machine.ring.near}


@pytest.mark.parametrize("endpoint", [PLACE, "10.0.0.1:1", "[2001:db8::1]:65535"])
def test_the_address_of_another_machine_is_fit(endpoint: str) -> None:
    assert is_fit(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "bob:4741",
        "192.0.2.1",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "192.0.2.1:-1",
        "192.0.2.1:\u0661",
        "127.0.0.1:4741",
        "0.0.0.0:4741",
        "224.0.0.251:5353",
        "255.255.255.255:4741",
        "169.254.0.1:4741",
        "[fe80::1%eth0]:4741",
        "[::1]:4741",
        "[::ffff:127.0.0.1]:4741",
        "0.1.2.3:4741",
        "[192.0.2.1]:4741",
        "[192.0.2.1:4741",
        "2001:db8::1:4741",
        "[2001:db8::1%evil]:4741",
        "[ff02::1]:4741",
    ],
)
def test_what_no_other_machine_has_is_not(endpoint: str) -> None:
    assert not is_fit(endpoint)
