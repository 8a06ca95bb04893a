"""Storers that show records of owners that are gone: who has the address by now keeps it."""

from __future__ import annotations

import pytest

from benchmarks.overlay_net.members import LEASE, NAMESPACE_KEY, cheap_sign
from benchmarks.overlay_net.thin import Network, nearest
from ipop_modules.topology.protocol.effects import Effect, Registered
from ipop_modules.topology.protocol.messages import Copy, Get, GetAnswer, PutAnswer, decode, encode
from ipop_modules.topology.protocol.records import Record, address_key, signed_record
from tests.topology.rings import address, look_up, ring, told
from tests.topology.test_topology_distrust import ADDRESS, NEXT, Story, crowded, next_put, put_of, record, said


def claimed(*, is_found: bool) -> tuple[Story, int]:
    """A node that has claimed the address, and the number of its next Put at the key."""
    story = crowded()
    put = put_of(story.machine.set_addresses([ADDRESS], story.now))
    assert put is not None
    if is_found:
        story.hear(PutAnswer(put[1].number, "stored", None), NEXT, proven=False)
        assert story.machine.registrations is not None
        (claim,) = story.machine.registrations.addresses
        claim.found, claim.is_next_beside = True, False
        put = next_put(story, 400.0)
    return story, put[1].number


def answered(story: Story, effects: list[Effect], *copies: tuple[Copy, ...]) -> list[Effect]:
    """The questions of a lookup are answered so; what comes of it."""
    gets = [get for get in said(effects, Get) if get.key == record(b"bob").key]
    assert len(gets) == 3
    return [
        effect
        for get, told_here in zip(gets, copies, strict=True)
        for effect in story.hear(GetAnswer(get.number, told_here, len(told_here), True), NEXT, proven=False)
    ]


def states(effects: list[Effect]) -> list[str]:
    return [effect.state for effect in effects if isinstance(effect, Registered)]


def live(story: Story, owner: bytes) -> Record:
    return record(owner, sequence=int(1000 * story.now))


@pytest.mark.parametrize("others", [0, 1, 2])
def test_an_owner_that_was_found_gives_up_when_others_say_so_as_well(others: int) -> None:
    story, number = claimed(is_found=True)
    bob = Copy(live(story, b"bob"), 600)
    mine = Copy(live(story, b"own key"), 600)
    effects = story.hear(PutAnswer(number, "taken", bob.record), NEXT, proven=False)
    assert not states(effects)
    assert put_of(effects) is None
    effects = answered(story, effects, *[(bob if place < others else mine,) for place in range(3)])
    assert states(effects) == (["taken"] if others == 2 else [])
    again = put_of(effects)
    assert (again is not None and again[1].beside) is (others < 2), "else it is put elsewhere"


def test_two_storers_that_show_it_cause_few_questions() -> None:
    story, number = claimed(is_found=True)
    bob, gets, end = live(story, b"bob"), 0, story.now + 60.0
    effects = story.hear(PutAnswer(number, "taken", bob), NEXT, proven=False)
    while story.now < end:
        if any(get.key == bob.key for get in said(effects, Get)):
            gets += 1
            assert gets <= 14
            effects = answered(story, effects, *[(Copy(live(story, b"own key"), 600),)] * 3)
        elif put := put_of(effects):
            effects = story.hear(PutAnswer(put[1].number, "taken", bob), NEXT, proven=False)
        else:
            story.now += 0.1
            effects = story.machine.wake(story.now)
    assert gets >= 2
    assert not states(effects)


@pytest.mark.parametrize("is_named", [False, True])
def test_of_a_record_that_is_over_others_tell_whether_it_counts(*, is_named: bool) -> None:
    """Its owner may have no clock."""
    story, number = claimed(is_found=False)
    old = record(b"bob", sequence=5)
    story.now = 601.0
    effects = story.hear(PutAnswer(number, "taken", old), NEXT, proven=False)
    assert not states(effects)
    effects = answered(story, effects, *[(Copy(old, 600),) if is_named else ()] * 3)
    if is_named:
        assert states(effects) == ["taken"]
    else:
        assert said(effects, Get), "that there is nobody is asked of others, too"


def test_a_record_that_its_owner_withdrew_is_no_proof() -> None:
    story, number = claimed(is_found=False)
    bob = live(story, b"bob")
    withdrawn = signed_record(
        "one",
        bob.key,
        owner_key=b"bob",
        since=5,
        sequence=bob.sequence,
        lease=600,
        value=b"",
        sign=cheap_sign(b"bob"),
        namespace_key=NAMESPACE_KEY,
        withdrawn=True,
    )
    effects = story.hear(PutAnswer(number, "taken", withdrawn), NEXT, proven=False)
    assert not states(effects)
    assert not said(effects, Get)
    assert next_put(story, 20.0)[1].beside, "as if no answer had come"


@pytest.mark.parametrize("seed", [1, 2])
def test_a_storer_that_shows_an_old_owners_record_takes_nothing_from_the_one_after(seed: int) -> None:
    network = Network(seed)
    nodes = ring(network, 24)
    gone, owner, key = nodes[5], nodes[9], address_key(NAMESPACE_KEY, address(6))
    (old,) = [c.record for c in nearest(network, key).machine.storage.store.get("one", key, network.now)]
    assert old.owner == gone.id
    network.leave(gone)
    network.run(10.0)
    network.claim(owner, address(10), address(6))
    network.run(20.0)
    assert look_up(network, nodes[20], address(6)).node == owner.id
    storer = nearest(network, key)
    assert storer is not owner
    shown: list[int] = []

    def show(payload: bytes) -> bytes:
        message = decode(payload)
        if isinstance(message, PutAnswer) and message.number in of_owner():
            shown.append(message.number)
            return encode(PutAnswer(message.number, "taken", old))
        return payload

    def of_owner() -> set[int]:
        assert owner.machine.registrations is not None
        claim = next(claim for claim in owner.machine.registrations.addresses if claim.key == key)
        return {*claim.numbers}

    storer.lies = show
    for _ in range(3):
        network.run(0.6 * LEASE)
        assert look_up(network, nodes[20], address(6)).node == owner.id
    assert shown
    assert {event.state for event in told(owner, Registered) if event.subject == address(6)} == {"registered"}
