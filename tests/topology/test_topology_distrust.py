"""One machine whose neighbour is the test: what it believes, and what it says."""

from __future__ import annotations

import random
from hashlib import sha256
from typing import Literal, TypeVar

import msgspec
import pytest

from benchmarks.overlay_net.members import NAMESPACE_KEY, cheap_sign, cheap_verify
from ipop_modules.topology.protocol import ids, registration, storage, store
from ipop_modules.topology.protocol.effects import Effect, Listed, Registered, Resolved, Send, Source
from ipop_modules.topology.protocol.handover import HANDED_OVER_EVERY
from ipop_modules.topology.protocol.lookup import LIMIT, OTHER_CLOCK, SECOND, TRIES, WAIT
from ipop_modules.topology.protocol.machine import FIRST_WAIT, SURVEYS_AT_ONCE, Machine, Member
from ipop_modules.topology.protocol.members import LONGEST
from ipop_modules.topology.protocol.messages import (
    MAX_COPIES,
    MAX_HELD,
    Copy,
    Displaced,
    Get,
    GetAnswer,
    Hello,
    Join,
    JoinAnswer,
    Message,
    Put,
    PutAnswer,
    Repair,
    Replicate,
    Survey,
    decode,
    encode,
)
from ipop_modules.topology.protocol.readers import LIFETIME, SHORT
from ipop_modules.topology.protocol.records import (
    MAX_VALUE,
    Kind,
    Record,
    address_key,
    members_key,
    signed_record,
)
from ipop_modules.topology.protocol.registration import DISPLACED_EVERY, Owner
from ipop_modules.topology.protocol.ring import Ring
from ipop_modules.topology.protocol.storage import (
    CORRECTIONS_A_SECOND,
    CORRECTIONS_AT_ONCE,
    REPAIRS_A_SECOND,
    REPAIRS_AT_ONCE,
)
from ipop_modules.topology.protocol.store import MAX_CLAIMS

M = TypeVar("M", bound=Message)
ADDRESS = bytes([10, 0, 0, 1])
KEY = address_key(NAMESPACE_KEY, ADDRESS)
FAR = ids.from_number(ids.number(KEY) + ids.RING // 2)
NEXT = ids.from_number(ids.number(KEY) + 1)


def node_of(key: bytes) -> bytes:
    return sha256(key).digest()[: ids.SIZE]


def record(
    owner: bytes, *, since: int = 5, sequence: int = 5, namespace: bytes = NAMESPACE_KEY, size: int = 0
) -> Record:
    """`size`: bytes of what it says."""
    return signed_record(
        "one",
        KEY,
        owner_key=owner,
        since=since,
        sequence=sequence,
        lease=600,
        value=bytes(size),
        sign=cheap_sign(owner),
        namespace_key=namespace,
    )


def member(owner: bytes, sequence: int, size: int = 0, *, key: bytes = KEY) -> Record:
    return signed_record(
        "many",
        key,
        owner_key=owner,
        since=5,
        sequence=sequence,
        lease=600,
        value=bytes(size),
        sign=cheap_sign(owner),
        namespace_key=NAMESPACE_KEY,
    )


class Story:
    """A member of the ring whose neighbours are FAR or NEXT, as told."""

    def __init__(self, *neighbours: bytes, leaf: bool = False) -> None:
        self.key = b"own key"
        self.me = node_of(self.key)
        self.now = 100.0
        owner = Owner(key=self.key, sign=cheap_sign(self.key), epoch=0.0, lease=600)
        member = Member(namespace_key=NAMESPACE_KEY, owner=owner)
        self.machine = Machine(self.me, member, random.Random(1).randbytes, 0.0, verify=cheap_verify, leaf=leaf)
        self.machine.relink({node: ["near"] for node in neighbours}, 0.0)
        self.machine.wake(self.now)

    def hear(self, message: Message, sender: bytes, *, proven: bool = True) -> list[Effect]:
        return self.machine.receive(encode(message), Source(sender, proven, sender), self.now)

    def route(self, message: Message, link: bytes) -> list[Effect]:
        """A message over the ring, in a name of its sender's choosing, that the neighbour `link` hands over."""
        return self.machine.receive(encode(message), Source(node_of(b"anyone"), False, link), self.now)

    def resolve(self) -> tuple[int, list[Effect]]:
        effects = self.machine.resolve(ADDRESS, self.now, fresh=True)
        return said(effects, Get)[0].number, effects


def said(effects: list[Effect], kind: type[M]) -> list[M]:
    found = [decode(effect.payload) for effect in effects if isinstance(effect, Send)]
    return [message for message in found if isinstance(message, kind)]


def kept(story: Story) -> list[Record]:
    return [copy.record for copy in story.machine.storage.store.get("one", KEY, story.now)]


def resolved(effects: list[Effect]) -> list[bytes | None]:
    return [effect.node for effect in effects if isinstance(effect, Resolved)]


def test_a_storer_refuses_what_the_owner_did_not_sign_or_another_one_sends() -> None:
    story, good = Story(FAR), record(b"alice")
    forged = msgspec.structs.replace(good, lease=601)
    for asker, what, outcome in (
        (node_of(b"alice"), forged, "refused"),
        (node_of(b"mallory"), good, "refused"),
        (node_of(b"alice"), good, "stored"),
    ):
        answers = said(story.hear(Put(1, asker, None, what), FAR), PutAnswer)
        assert [answer.outcome for answer in answers] == [outcome]


def test_a_reader_believes_a_signed_answer_to_its_own_question_alone() -> None:
    story, good = crowded(), record(b"alice")
    numbers = asked(story)
    forged = msgspec.structs.replace(good, sequence=9)
    other = msgspec.structs.replace(good, key=FAR)
    for copy, guess in ((forged, numbers[0]), (other, numbers[0]), (good, numbers[0] + 1)):
        assert not resolved(story.hear(GetAnswer(guess, (Copy(copy, 60),), 1, True), NEXT))
    assert not resolved(story.hear(GetAnswer(numbers[0], (Copy(good, 60),), 1, True), NEXT))
    assert resolved(story.hear(GetAnswer(numbers[1], (Copy(good, 60),), 1, True), NEXT)) == [node_of(b"alice")]


def test_replicas_are_taken_from_neighbours_in_the_ring_alone() -> None:
    story, replicate = Story(FAR), Replicate((Copy(record(b"alice"), 60),))
    story.hear(replicate, NEXT)
    assert len(story.machine.storage.store) == 0
    story.hear(replicate, FAR)
    assert len(story.machine.storage.store) == 1


def asked(story: Story) -> list[int]:
    """A lookup whose three questions all go to the neighbour; their numbers."""
    effects = story.machine.resolve(ADDRESS, story.now, fresh=True)
    return [get.number for get in said(effects, Get)]


def question(number: int) -> int:
    """Of a request's number, what is the same for each try."""
    return number & ~TRIES


def nobody_again(story: Story, effects: list[Effect], number: int = 4) -> list[Effect]:
    """So many of the four that are asked next say that there is nobody, too: what comes of it."""
    again = [get.number for get in said(effects, Get)]
    assert not resolved(effects)
    assert len(again) == 4
    return [
        effect for each in again[:number] for effect in story.hear(GetAnswer(each, (), 0, True), NEXT, proven=False)
    ]


def crowded() -> Story:
    """Neighbours all around the ring, one of them next to every question."""
    return Story(*(ids.from_number(ids.number(KEY) + step * ids.RING // 16) for step in range(16)))


def settled() -> Story:
    """The same, and all of them are members that say who is next to them."""
    story = crowded()
    around = sorted([story.me, *story.machine.ring.links])
    for node in story.machine.ring.links:
        place = around.index(node)
        near = tuple(around[(place + step) % len(around)] for step in (-2, -1, 1, 2))
        story.hear(Hello(True, 1, near, False), node)
    return story


def test_absent_is_believed_once_all_three_say_so_and_four_more() -> None:
    story = crowded()
    numbers = asked(story)
    assert len(numbers) == 3
    for number in numbers[:2]:
        assert not resolved(story.hear(GetAnswer(number, (), 0, True), NEXT, proven=False))
    effects = story.hear(GetAnswer(numbers[2], (), 0, True), NEXT, proven=False)
    assert resolved(nobody_again(story, effects)) == [None]


@pytest.mark.parametrize(("first", "then", "certain"), [(1, 0, False), (2, 0, False), (2, 2, False), (2, 3, True)])
def test_the_word_of_fewer_than_half_that_there_is_nobody_is_never_certain(
    first: int, then: int, certain: bool
) -> None:
    story = crowded()
    effects: list[Effect] = []
    for number in asked(story)[:first]:
        effects += story.hear(GetAnswer(number, (), 0, True), NEXT, proven=False)
    story.now += WAIT
    effects += story.machine.wake(story.now)
    if then:
        effects = nobody_again(story, effects, then)
    story.now += LIMIT - WAIT
    effects += story.machine.wake(story.now)
    assert [(found.node, found.certain) for found in effects if isinstance(found, Resolved)] == [(None, certain)]


def test_what_one_storer_lost_the_others_know_and_it_gets_it_back() -> None:
    story = crowded()
    numbers, copy = asked(story), Copy(record(b"alice"), 60)
    story.hear(GetAnswer(numbers[0], (), 0, True), NEXT, proven=False)
    story.hear(GetAnswer(numbers[1], (copy,), 1, True), NEXT, proven=False)
    effects = story.hear(GetAnswer(numbers[2], (copy,), 1, True), NEXT, proven=False)
    assert resolved(effects) == [node_of(b"alice")]
    assert said(effects, Repair) == [Repair(copy)]


def test_one_liar_of_three_is_outvoted_even_if_its_claim_is_older() -> None:
    for order in ((b"mallory", b"alice", b"alice"), (b"alice", b"mallory", b"alice")):
        story = crowded()
        effects: list[Effect] = []
        for number, owner in zip(asked(story), order, strict=True):
            copy = Copy(record(owner, since=1 if owner == b"mallory" else 5), 60)
            effects += story.hear(GetAnswer(number, (copy,), 1, True), NEXT, proven=False)
        assert resolved(effects) == [node_of(b"alice")]


def test_a_record_without_the_namespaces_seal_is_no_answer() -> None:
    story = crowded()
    numbers = asked(story)
    forged = Copy(record(b"mallory", namespace=b"x" * 32), 60)
    effects: list[Effect] = []
    for number in numbers:
        effects += story.hear(GetAnswer(number, (forged,), 1, True), NEXT, proven=False)
    assert resolved(nobody_again(story, effects)) == [None]


def test_who_is_no_neighbour_displaces_nobody_however_old_it_says_its_claim_is() -> None:
    story = Story(FAR)
    story.hear(Put(1, node_of(b"alice"), None, record(b"alice")), FAR)
    older = Copy(record(b"mallory", since=1), 60)
    story.hear(Repair(older), NEXT, proven=False)
    assert kept(story) == [record(b"alice"), older.record]
    story.hear(Replicate((older,)), FAR)
    assert kept(story) == [older.record, record(b"alice")]


def test_who_hears_of_a_claim_that_waits_hears_of_the_one_that_stands() -> None:
    story = Story(FAR)
    alice, bob = record(b"alice", since=9), record(b"bob", since=5, sequence=9)
    story.hear(Put(1, node_of(b"alice"), None, alice), FAR)
    (told,) = said(story.hear(Put(2, node_of(b"bob"), None, bob), FAR), Replicate)
    assert [copy.record for copy in told.copies] == [alice, bob]
    stale = Copy(record(b"bob", since=5), 60)
    (told,) = said(story.hear(Replicate((stale,)), FAR), Replicate)
    assert [copy.record for copy in told.copies] == [alice, bob]
    assert kept(story) == [alice, bob]


def test_claims_to_one_key_are_handed_over_in_one_message() -> None:
    story = Story(FAR)
    story.hear(Hello(True, 1, (), ask=False), FAR)
    for number in range(MAX_COPIES - 1):
        other = msgspec.structs.replace(record(b"%d" % number), key=ids.from_number(number))
        story.machine.storage.store.put(other, 600, FAR, story.now)
    for owner in (b"alice", b"bob"):
        story.hear(Put(1, node_of(owner), None, record(owner)), FAR)
    story.now += HANDED_OVER_EVERY
    handed = said(story.hear(Hello(True, 2, (), ask=False, order=1), FAR), Replicate)
    assert [len(message.copies) for message in handed] == [MAX_COPIES - 1, 2]


def test_a_neighbours_forged_claims_take_nobodys_record_away() -> None:
    """They can be as old as the neighbour likes, and as many: members pass over them and find the owner's."""
    story, alice = Story(FAR), record(b"alice")
    story.hear(Put(1, node_of(b"alice"), None, alice), FAR)
    for number in range(2 * MAX_CLAIMS):
        forged = record(b"mallory %d" % number, since=number, namespace=b"x" * 32)
        story.hear(Replicate((Copy(forged, 600),)), FAR)
    assert len(kept(story)) == MAX_CLAIMS
    later = record(b"alice", sequence=6)
    (answer,) = said(story.hear(Put(2, node_of(b"alice"), None, later), FAR), PutAnswer)
    assert (answer.outcome, later in kept(story)) == ("taken", True)
    (told,) = said(story.hear(Get(3, FAR, None, "one", KEY), FAR), GetAnswer)
    reader = crowded()
    effects: list[Effect] = []
    for number in asked(reader):
        effects += reader.hear(GetAnswer(number, told.copies, 1, True), NEXT, proven=False)
    assert resolved(effects) == [node_of(b"alice")]


def test_a_storer_that_sends_old_records_of_a_set_gets_the_newer_ones_of_all_owners() -> None:
    story = Story(FAR)
    sets = {owner: [member(owner, sequence) for sequence in (5, 6)] for owner in (b"alice", b"bob")}
    story.hear(Replicate(tuple(Copy(newer, 60) for _, newer in sets.values())), FAR)
    effects = story.hear(Replicate(tuple(Copy(older, 60) for older, _ in sets.values())), FAR)
    (back,) = said(effects, Replicate)
    assert {copy.record for copy in back.copies} == {newer for _, newer in sets.values()}


def test_who_comes_second_waits_behind_the_first_at_every_storer_whatever_its_clock_says() -> None:
    story, near = Story(FAR), Story(FAR)
    story.hear(Put(1, node_of(b"alice"), None, record(b"alice", since=5)), FAR)
    effects = story.hear(Put(2, node_of(b"bob"), None, record(b"bob", since=1)), FAR)
    assert [answer.outcome for answer in said(effects, PutAnswer)] == ["taken"]
    for replicate in said(effects, Replicate):
        near.hear(replicate, FAR)
    assert kept(near) == kept(story) == [record(b"alice", since=5), record(b"bob", since=1)]


def test_where_records_are_proven_one_that_stays_alone_counts() -> None:
    story = crowded()
    assert story.machine.lookups
    story.machine.lookups._majority = False
    found = story.hear(GetAnswer(asked(story)[0], (Copy(record(b"alice"), 60),), 1, True), NEXT, proven=False)
    assert not resolved(found)
    story.now += WAIT
    assert resolved(story.machine.wake(story.now)) == [node_of(b"alice")]


@pytest.mark.parametrize("keeps", [True, False])
def test_a_question_that_two_storers_answered_counts_for_the_owner_whom_one_of_them_named(*, keeps: bool) -> None:
    """It is asked again while its answer is under way, and may come to another one then."""
    story = crowded()
    assert story.machine.lookups
    story.machine.lookups._majority = False
    first, *others = asked(story)
    story.hear(GetAnswer(first, (Copy(record(b"alice"), 60),), 1, True), NEXT, proven=False)
    assert not said(story.hear(GetAnswer(first, (), 0, keeps), NEXT, proven=False), Get)
    found: list[Effect] = []
    for number in others:
        found += story.hear(GetAnswer(number, (), 0, True), NEXT, proven=False)
    assert resolved(found) == [node_of(b"alice")]


def test_where_nothing_is_proven_one_storer_alone_is_believed_only_when_there_is_no_more_time() -> None:
    story = crowded()
    story.hear(GetAnswer(asked(story)[0], (Copy(record(b"alice"), 60),), 1, True), NEXT, proven=False)
    began = story.now
    for step in range(1, 12):
        story.now = began + step * LIMIT / 12
        assert not resolved(story.machine.wake(story.now))
    story.now = began + LIMIT
    assert resolved(story.machine.wake(story.now)) == [node_of(b"alice")]


def test_one_word_against_another_is_decided_by_a_third() -> None:
    story = crowded()
    numbers = asked(story)
    mallory, alice = Copy(record(b"mallory", since=1), 60), Copy(record(b"alice"), 60)
    said_so_far = [(numbers[0], (mallory,)), (numbers[1], (alice,)), (numbers[2], ())]
    for number, copies in said_so_far:
        assert not resolved(story.hear(GetAnswer(number, copies, 1, True), NEXT, proven=False))
    story.now += 0.2
    assert [question(get.number) for get in said(story.machine.wake(story.now), Get)] == [question(numbers[2])]
    found = story.hear(GetAnswer(numbers[2], (alice,), 1, True), NEXT, proven=False)
    assert resolved(found) == [node_of(b"alice")]


def test_of_an_owners_records_the_reader_takes_the_latest_whoever_answers_last() -> None:
    story = crowded()
    numbers = asked(story)
    for number, sequence, lease in ((numbers[0], 7, 600), (numbers[1], 6, 60)):
        copy = Copy(record(b"alice", sequence=sequence), lease)
        effects = story.hear(GetAnswer(number, (copy,), 1, True), NEXT, proven=False)
    assert [effect.lease for effect in effects if isinstance(effect, Resolved)] == [600.0]


def test_who_sends_from_an_address_that_is_not_its_own_is_told_now_and_then() -> None:
    story = Story(FAR)
    told = [said(story.machine.unplaced(FAR, ADDRESS, story.now + step / 10), Displaced) for step in range(20)]
    assert sum(map(len, told)) == 2
    assert told[0] == [Displaced(KEY)]


def test_soon_after_joining_an_absent_answer_is_not_the_end() -> None:
    story = crowded()
    story.now = 0.5
    numbers = asked(story)
    for number in numbers:
        assert not resolved(story.hear(GetAnswer(number, (), 0, True), NEXT, proven=False))
    story.now += 0.2
    again = said(story.machine.wake(story.now), Get)
    assert [question(get.number) for get in again] == [question(number) for number in numbers]


def test_an_owner_whose_clock_went_back_signs_above_what_is_stored() -> None:
    story = Story(NEXT)
    put = next(put for put in said(story.machine.set_addresses([ADDRESS], story.now), Put) if put.record.kind == "one")
    stored = record(story.key, sequence=put.record.sequence + 1000)
    again = said(story.hear(PutAnswer(put.number, "stale", stored), NEXT), Put)
    assert again[0].record.sequence == stored.sequence + 1


def test_another_owner_needs_a_signed_record_to_take_an_address_away() -> None:
    story = Story(NEXT)
    put = next(put for put in said(story.machine.set_addresses([ADDRESS], story.now), Put) if put.record.kind == "one")
    unsigned = msgspec.structs.replace(record(b"bob"), signature=b"")
    stranger = record(b"bob", namespace=b"x" * 32)
    for proof, states in ((None, []), (unsigned, []), (record(b"bob"), ["taken"])):
        effects = story.hear(PutAnswer(put.number, "taken", proof), NEXT)
        assert [effect.state for effect in effects if isinstance(effect, Registered)] == states
    story = Story(NEXT)
    put = next(put for put in said(story.machine.set_addresses([ADDRESS], story.now), Put) if put.record.kind == "one")
    effects = story.hear(PutAnswer(put.number, "taken", stranger), NEXT)
    assert [effect.state for effect in effects if isinstance(effect, Registered)] == ["registered"]


def test_a_loser_of_a_merge_is_told_and_asks_again() -> None:
    story = Story(FAR)
    story.hear(Put(1, node_of(b"bob"), None, record(b"bob", since=9)), FAR)
    effects = story.hear(Replicate((Copy(record(b"alice", since=1), 60),)), FAR)
    assert said(effects, Displaced) == [Displaced(KEY)]

    owner = Story(NEXT)
    put = next(put for put in said(owner.machine.set_addresses([ADDRESS], owner.now), Put) if put.record.kind == "one")
    owner.hear(PutAnswer(put.number, "stored", None), NEXT)
    owner.hear(Displaced(KEY), FAR, proven=False)
    owner.now += 1.0
    assert KEY in [put.record.key for put in said(owner.machine.wake(owner.now), Put)]


def test_who_says_all_the_time_that_a_claim_gave_way_has_it_put_now_and_then() -> None:
    owner, puts = crowded(), 0
    owner.machine.set_addresses([ADDRESS], owner.now)
    for _ in range(120):
        owner.now += 0.25
        heard = owner.hear(Displaced(KEY), FAR, proven=False)
        for put in said([*heard, *owner.machine.wake(owner.now)], Put):
            puts += put.record.key == KEY
            owner.hear(PutAnswer(put.number, "stored", None), NEXT)
    assert 30 / DISPLACED_EVERY - 2 <= puts <= 30 / DISPLACED_EVERY + 1


def test_a_neighbour_that_restarted_gets_its_records_again() -> None:
    story = Story(FAR)
    story.hear(Hello(True, 1, (), False), FAR)
    story.hear(Put(1, node_of(b"alice"), None, record(b"alice")), FAR)
    assert not said(story.hear(Hello(True, 1, (), False), FAR), Replicate)
    assert said(story.hear(Hello(True, 2, (), False), FAR), Replicate)


def test_a_join_goes_on_to_the_nearest_neighbour_but_the_asker_and_ends_where_none_is_nearer() -> None:
    near, nearest = (ids.from_number(ids.number(KEY) + step) for step in (2, 1))
    story = Story(FAR, near, nearest)
    onward = story.hear(Join(7, nearest, FAR, 0), FAR)
    assert [effect.to for effect in onward if isinstance(effect, Send)] == [near]
    (join,) = said(onward, Join)
    assert (join.number, join.asker, join.via, join.hops) == (7, nearest, FAR, 1)
    assert set(join.near) == {story.me, near, FAR}
    alone = Story(nearest)
    assert said(alone.hear(Join(7, nearest, alone.me, 0), nearest), JoinAnswer) == [JoinAnswer(7, (alone.me,))]


def test_hello_is_said_again_while_a_new_neighbour_is_silent() -> None:
    story = Story(FAR)
    story.machine.link_up(NEXT, story.now)
    hellos = 0
    for _ in range(30):
        story.now += 0.1
        effects = story.machine.wake(story.now)
        hellos += sum(isinstance(e, Send) and e.to == NEXT and bool(said([e], Hello)) for e in effects)
    assert 2 <= hellos <= 5


def test_what_one_neighbour_hands_over_to_be_repaired_is_limited_whoever_it_says_sent_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "STAYS", 0.0)
    story, most = Story(FAR, NEXT), int(REPAIRS_AT_ONCE)
    for number in range(most + 7):
        story.route(Repair(Copy(record(b"owner %d" % number), 60)), FAR)
    assert story.machine.storage.repairs.refused == 7
    assert record(b"owner %d" % most) not in kept(story)
    story.route(Repair(Copy(record(b"alice"), 60)), NEXT)
    assert record(b"alice") in kept(story), "another neighbour has an allowance of its own"
    story.now += 1.0
    for number in range(int(REPAIRS_A_SECOND) + 7):
        story.route(Repair(Copy(record(b"later %d" % number), 60)), FAR)
    assert story.machine.storage.repairs.refused == 14
    assert record(b"later %d" % (REPAIRS_A_SECOND - 1)) in kept(story)


def test_surveys_by_way_of_one_neighbour_are_limited() -> None:
    story, most = Story(FAR, NEXT), int(SURVEYS_AT_ONCE)
    answers = [story.route(Survey(number, NEXT, None), FAR) for number in range(most + 5)]
    assert [bool(effects) for effects in answers] == [True] * most + [False] * 5
    assert story.route(Survey(99, NEXT, None), NEXT)
    assert story.machine.surveys.refused == 5
    for number in range(2 * most):
        assert story.hear(Survey(number, FAR, None), FAR), "a neighbour that asks for itself"


def storer(size: int) -> Story:
    """Keeps a full set, and all claims to a key that one may have, each of so many bytes."""
    story = Story(FAR)
    for number in range(60):
        story.hear(Replicate((Copy(member(b"m %d" % number, 5, size), 600),)), FAR)
    for number in range(MAX_CLAIMS):
        story.hear(Put(1, node_of(b"%d" % number), None, record(b"%d" % number, size=size)), FAR)
    return story


def test_who_names_another_as_the_asker_has_it_sent_little() -> None:
    for size in (0, 100, MAX_VALUE):
        story = storer(size)
        kinds: tuple[Kind, ...] = ("one", "many")
        for kind in kinds:
            effects = story.route(Get(3, node_of(b"victim"), None, kind, KEY), FAR)
            (sent,) = [effect for effect in effects if isinstance(effect, Send)]
            assert len(sent.payload) < max(SHORT, MAX_VALUE) + 400
            (answer,) = said(effects, GetAnswer)
            assert len(answer.copies) >= 1


def test_who_gets_a_short_answer_may_ask_for_all_by_the_same_way_for_a_while() -> None:
    story, asker, other = storer(1000), node_of(b"asker"), node_of(b"victim")
    wholes: tuple[tuple[Kind, int], ...] = (("one", MAX_CLAIMS), ("many", MAX_COPIES))
    for kind, all_of_it in wholes:
        (first,) = said(story.route(Get(3, asker, NEXT, kind, KEY), FAR), GetAnswer)
        assert (len(first.copies), bool(first.token)) == (1, True)

        def again(asker: bytes, via: bytes | None, token: bytes = first.token, kind: Kind = kind) -> int:
            (told,) = said(story.route(Get(3, asker, via, kind, KEY, token=token), FAR), GetAnswer)
            return len(told.copies)

        assert again(asker, NEXT) == all_of_it
        assert again(asker, None) == again(asker, FAR) == again(other, NEXT) == again(asker, NEXT, bytes(8)) == 1
        story.now += LIFETIME
        assert again(asker, NEXT) == all_of_it
        story.now += LIFETIME
        assert again(asker, NEXT) == 1


def test_a_neighbour_that_asks_for_itself_gets_all_at_once() -> None:
    story = storer(1000)
    (answer,) = said(story.hear(Get(3, FAR, None, "many", KEY), FAR), GetAnswer)
    assert (len(answer.copies), answer.token) == (MAX_COPIES, b"")
    (answer,) = said(story.hear(Get(3, NEXT, None, "many", KEY), FAR), GetAnswer)
    assert len(answer.copies) == 1


def test_a_reader_that_finds_nothing_in_a_short_answer_asks_for_the_rest_a_few_times() -> None:
    story = crowded()
    forged = Copy(record(b"mallory", namespace=b"x" * 32), 60)
    number = asked(story)[0]
    for token in (b"token 1", b"token 2"):
        effects = story.hear(GetAnswer(number, (forged,), 1, True, token), NEXT, proven=False)
        assert [(get.number, get.token) for get in said(effects, Get)] == [(number, token)]
    assert not said(story.hear(GetAnswer(number, (forged,), 1, True, b"token 3"), NEXT, proven=False), Get)
    assert story.machine.lookups
    (lookup,) = story.machine.lookups._by_key.values()
    assert lookup.votes == {question(number): None}
    story = crowded()
    number, second, _ = asked(story)
    story.hear(GetAnswer(number, (forged,), 1, True, b"token"), NEXT, proven=False)
    copies = forged, Copy(record(b"alice"), 60)
    story.hear(GetAnswer(number, copies, 1, True), NEXT, proven=False)
    found = story.hear(GetAnswer(second, copies[1:], 1, True), NEXT, proven=False)
    assert resolved(found) == [node_of(b"alice")]


def test_who_was_told_of_once_is_listed_for_a_lease_and_no_longer_though_no_list_is_certain() -> None:
    story, key = crowded(), members_key(NAMESPACE_KEY)
    alice, bob = (member(owner, 5, key=key) for owner in (b"alice", b"bob"))

    def listed(record: Record) -> set[bytes]:
        """What is listed after one storer has told of one member, and that there are more."""
        number = said(story.machine.list_members(story.now), Get)[0].number
        story.hear(GetAnswer(number, (Copy(record, 60),), 9, True, b"token"), NEXT, proven=False)
        story.now += LONGEST
        (found,) = [effect for effect in story.machine.wake(story.now) if isinstance(effect, Listed)]
        assert not found.certain
        return {one.node for one in found.members}

    assert listed(alice) == {alice.owner}
    story.now += alice.lease - 2 * LONGEST
    assert listed(bob) == {alice.owner, bob.owner}
    assert listed(bob) == {bob.owner}


def put_of(effects: list[Effect]) -> tuple[bytes, Put] | None:
    """The Put of this node's address, and where it goes."""
    for effect in effects:
        message = decode(effect.payload) if isinstance(effect, Send) else None
        if isinstance(effect, Send) and isinstance(message, Put) and message.record.kind == "one":
            return effect.to, message
    return None


def next_put(story: Story, seconds: float) -> tuple[bytes, Put]:
    end = story.now + seconds
    while story.now < end:
        story.now += 0.1
        put = put_of(story.machine.wake(story.now))
        if put is not None:
            return put
    raise AssertionError(f"nothing was put in {seconds} s")


@pytest.mark.parametrize("outcome", ["taken", "stale"])
def test_an_answer_that_proves_nothing_is_as_good_as_none(outcome: Literal["taken", "stale"]) -> None:
    """Whoever gives such answers has it put elsewhere, by other ways and ever more seldom."""
    story = crowded()
    put = put_of(story.machine.set_addresses([ADDRESS], story.now))
    puts: list[tuple[bytes, Put]] = []
    end = story.now + 30.0
    while put is not None and story.now < end:
        puts.append(put)
        story.hear(PutAnswer(put[1].number, outcome, put[1].record if outcome == "stale" else None), NEXT, proven=False)
        put = next_put(story, 20.0)
    assert len(puts) <= 10
    assert puts[0][1].via is None
    assert {put.via for _, put in puts[1:]} > {None} or None not in {put.via for _, put in puts[1:]}
    assert [(to != KEY, put.beside) for to, put in puts[:4]] == [(False, False), (True, True)] * 2


def test_a_claim_is_looked_up_once_and_put_beside_its_key_until_it_is_found() -> None:
    story = crowded()
    places: list[bytes] = []
    put = put_of(story.machine.set_addresses([ADDRESS], story.now))
    for round_number in range(4):
        assert put is not None
        places.append(put[0])
        effects = story.hear(PutAnswer(put[1].number, "stored", None), NEXT, proven=False)
        if round_number < 3:
            while not (gets := [get for get in said(effects, Get) if get.key == KEY]):
                story.now += 0.1
                effects = story.machine.wake(story.now)
            assert len(gets) == 3
            copies = (Copy(put[1].record, 600),) if round_number == 2 else ()
            for get in gets:
                effects = story.hear(GetAnswer(get.number, copies, len(copies), True), NEXT, proven=False)
                assert not resolved(effects), "nobody asked"
        put = next_put(story, 400.0)
    step = ids.RING * 3 // (2 * story.machine.ring.size_estimate)
    one, other = (ids.from_number(ids.number(KEY) + beside) for beside in (step, -2 * step))
    assert places == [KEY, one, other, KEY]
    assert put is not None
    assert put[0] == other, "where it was found"


def test_who_is_not_to_hold_a_record_refuses_it_from_beside() -> None:
    story = settled()
    near_me, far = story.me, ids.from_number(ids.number(story.me) + ids.RING // 2)
    for number, (key, outcome) in enumerate(((near_me, "stored"), (far, "refused"))):
        put = Put(number, node_of(b"alice"), None, member(b"alice", 5, key=key), beside=True)
        assert [answer.outcome for answer in said(story.hear(put, NEXT), PutAnswer)] == [outcome]


def test_that_an_address_is_another_nodes_counts_from_beside_only_while_it_was_not_found() -> None:
    for is_found, states in ((False, ["taken"]), (True, [])):
        story = crowded()
        put = put_of(story.machine.set_addresses([ADDRESS], story.now))
        assert put is not None
        story.hear(PutAnswer(put[1].number, "stored", None), NEXT, proven=False)
        assert story.machine.registrations is not None
        (claim,) = story.machine.registrations.addresses
        claim.found = is_found
        claim.is_next_beside = True
        _, beside = next_put(story, 400.0)
        effects = story.hear(PutAnswer(beside.number, "taken", record(b"bob")), NEXT, proven=False)
        assert [effect.state for effect in effects if isinstance(effect, Registered)] == states
        again = put_of(effects)
        assert (again is not None and again[0] == KEY) is is_found


def test_that_a_set_is_full_counts_at_its_key_alone() -> None:
    story = crowded()

    def place(effects: list[Effect]) -> Put:
        return next(put for put in said(effects, Put) if put.record.kind == "many")

    first = place(story.machine.set_addresses([ADDRESS], story.now))
    story.hear(PutAnswer(first.number, "stored", None), NEXT, proven=False)
    story.now += 2 * registration.BESIDE
    second = place(story.machine.wake(story.now))
    assert (first.beside, second.beside) == (False, True)
    third = place(story.hear(PutAnswer(second.number, "full", None), NEXT, proven=False))
    assert (third.beside, third.record.key) == (False, first.record.key)
    fourth = place(story.hear(PutAnswer(third.number, "full", None), NEXT, proven=False))
    assert fourth.record.key != first.record.key


def test_a_neighbour_that_says_ever_again_that_it_restarted_gets_everything_now_and_then() -> None:
    story = Story(FAR)
    story.hear(Hello(True, 1, (), False), FAR)
    story.hear(Put(1, node_of(b"alice"), None, record(b"alice")), FAR)
    handed = sum(
        len(said(story.hear(Hello(True, life, (), False, order=life), FAR), Replicate)) for life in range(2, 22)
    )
    assert handed <= 1
    story.now += 2 * HANDED_OVER_EVERY
    assert said(story.machine.wake(story.now), Replicate), "who did restart gets it a little later"
    story.now += HANDED_OVER_EVERY
    assert not said(story.machine.wake(story.now), Replicate)


def test_of_replicas_by_one_neighbour_so_many_are_checked_that_two_rings_can_merge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    most = 64
    monkeypatch.setattr(store, "STAYS", 0.0)
    monkeypatch.setattr(storage, "REPLICAS_AT_ONCE", float(most))
    story = Story(FAR, NEXT)
    copies = [Copy(record(b"owner %d" % number), 60) for number in range(most + 7)]
    for copy in copies:
        story.hear(Replicate((copy,)), FAR)
    assert story.machine.storage.replicas.refused == 7
    for copy in [copy for copy in copies if story.machine.storage.store.holds(copy.record)]:
        story.hear(Replicate((copy,)), FAR)
    assert story.machine.storage.replicas.refused == 7, "what is here is not checked again"
    story.hear(Replicate((Copy(record(b"alice"), 60),)), NEXT)
    assert record(b"alice") in kept(story), "another neighbour has an allowance of its own"


def test_of_puts_by_one_neighbour_so_many_are_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 64
    monkeypatch.setattr(storage, "PUTS_AT_ONCE", float(most))
    story = Story(FAR, NEXT)
    story.hear(Hello(True, 1, (), ask=False), NEXT)
    puts = [Put(n, node_of(b"%d" % n), None, member(b"%d" % n, 5, key=b"%020d" % n)) for n in range(most + 7)]
    effects = [effect for put in puts for effect in story.route(put, FAR)]
    assert (len(said(effects, PutAnswer)), story.machine.storage.puts.refused) == (most, 7)
    assert said(effects, Replicate)
    again = [effect for _ in range(50) for effect in story.route(puts[0], FAR)]
    assert (len(said(again, PutAnswer)), len(said(again, Replicate))) == (50, 0), "what is here is only answered"
    assert said(story.route(puts[-1], NEXT), PutAnswer), "another neighbour has an allowance of its own"


def old(owner: bytes, since: int = 5) -> Copy:
    """Of an owner that is gone; handed over by somebody who has kept it."""
    return Copy(record(owner, since=since, sequence=5), 600)


@pytest.mark.parametrize("majority", [False, True])
def test_a_record_that_one_storer_kept_of_an_owner_that_is_gone_counts_for_nobody(majority: bool) -> None:
    story = crowded()
    story.now = 600.0 + OTHER_CLOCK + 1.0
    assert story.machine.lookups
    story.machine.lookups._majority = majority
    effects: list[Effect] = []
    for number, copies in zip(asked(story), ((old(b"alice"),), (), ()), strict=True):
        effects += story.hear(GetAnswer(number, copies, 1, True), NEXT, proven=False)
    assert not said(effects, Repair)
    effects = nobody_again(story, effects)
    assert resolved(effects) == [None]
    assert not said(effects, Repair)
    effects = []
    bob = Copy(record(b"bob", since=9, sequence=int(1000 * story.now)), 600)
    for number, copies in zip(asked(story), ((old(b"alice"),), (bob,), ()), strict=True):
        effects += story.hear(GetAnswer(number, copies, 1, True), NEXT, proven=False)
    assert resolved(effects) == [node_of(b"bob")]


def test_a_record_that_is_over_counts_for_nobody_while_others_have_not_answered() -> None:
    story = crowded()
    story.now = 600.0 + OTHER_CLOCK + 1.0
    assert story.machine.lookups
    story.machine.lookups._majority = False
    effects = story.hear(GetAnswer(asked(story)[0], (old(b"alice"),), 1, True), NEXT, proven=False)
    story.now += WAIT
    assert not resolved([*effects, *story.machine.wake(story.now)])
    story.now += LIMIT
    effects = story.machine.wake(story.now)
    assert [(found.node, found.certain) for found in effects if isinstance(found, Resolved)] == [(None, False)]


def test_what_is_asked_a_second_time_goes_to_the_same_points_however_often_it_is_tried() -> None:
    for tries in range(3):
        story = crowded()
        numbers = asked(story)
        assert story.machine.lookups
        (lookup,) = story.machine.lookups._by_key.values()
        for _ in range(tries):
            story.now = lookup.try_at
            story.machine.wake(story.now)
        for number in numbers:
            story.hear(GetAnswer(number, (), 0, True), NEXT, proven=False)
        for _ in range(2):
            parts = {ids.number(lookup.point(number)) - ids.number(KEY) for number in lookup.beside}
            assert parts == {int(part * story.machine.ring.beside) for part in SECOND}, tries
            story.now = lookup.try_at
            story.machine.wake(story.now)


def test_of_two_owners_the_one_whose_record_lives_is_named() -> None:
    story = crowded()
    story.now = 700.0
    assert story.machine.lookups
    story.machine.lookups._majority = False
    bob = Copy(record(b"bob", since=9, sequence=int(1000 * story.now)), 600)
    for number, copy in zip(asked(story), (old(b"alice", since=1), bob), strict=False):
        story.hear(GetAnswer(number, (copy,), 1, True), NEXT, proven=False)
    story.now += WAIT
    assert resolved(story.machine.wake(story.now)) == [node_of(b"bob")]


def test_an_owner_without_a_clock_is_found() -> None:
    story = crowded()
    story.now = 600.0 + OTHER_CLOCK + 1.0
    for lacking in (0, 1):
        effects: list[Effect] = []
        for place, number in enumerate(asked(story)):
            copies = () if place < lacking else (old(b"alice"),)
            effects += story.hear(GetAnswer(number, copies, 1, True), NEXT, proven=False)
        assert resolved(effects) == [node_of(b"alice")]


def test_an_owner_with_a_wrong_clock_is_found_though_one_storer_lacks_it_and_one_is_late() -> None:
    story = crowded()
    story.now = 600.0 + OTHER_CLOCK + 1.0
    assert story.machine.lookups
    story.machine.lookups._majority = False
    first, second, third = asked(story)
    story.hear(GetAnswer(first, (old(b"alice"),), 1, True), NEXT, proven=False)
    story.hear(GetAnswer(second, (), 0, True), NEXT, proven=False)
    story.now += WAIT
    assert not resolved(story.machine.wake(story.now)), "the third may yet say the same"
    effects = story.hear(GetAnswer(third, (old(b"alice"),), 1, True), NEXT, proven=False)
    assert resolved(effects) == [node_of(b"alice")]


def test_a_renewal_that_was_lost_on_the_way_to_the_key_is_made_good_before_replicas_end() -> None:
    for is_lost in (False, True):
        story = crowded()
        put = put_of(story.machine.set_addresses([ADDRESS], story.now))
        assert put is not None
        assert put[0] == KEY
        assert story.machine.registrations is not None
        (claim,) = story.machine.registrations.addresses
        claim.found = True
        if is_lost:
            put = next_put(story, 10.0)
            assert put is not None
            assert put[0] != KEY
        story.hear(PutAnswer(put[1].number, "stored", None), NEXT, proven=False)
        renewed = (claim.due - story.now) / put[1].record.lease
        assert (renewed < 0.2) is is_lost


def test_a_storer_that_is_half_full_takes_only_what_it_is_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    story = settled()
    far = ids.from_number(ids.number(story.me) + ids.RING // 2)
    for is_half_full in (False, True):
        monkeypatch.setattr(store, "MAX_RECORDS", 3 if is_half_full else 100)
        for number, (key, welcome) in enumerate(((story.me, True), (far, not is_half_full))):
            one, other = (member(b"%d %d" % (number, what), 5 + is_half_full, key=key) for what in (0, 1))
            put = Put(number, one.owner, None, one)
            outcome = "stored" if welcome else "refused"
            assert [answer.outcome for answer in said(story.hear(put, NEXT), PutAnswer)] == [outcome]
            story.hear(Replicate((Copy(other, 60),)), next(iter(story.machine.ring.links)))
            assert story.machine.storage.store.holds(other) is welcome


def test_that_an_address_is_full_is_a_refusal_and_nothing_is_put_over_and_over() -> None:
    story = crowded()
    put = put_of(story.machine.set_addresses([ADDRESS], story.now))
    assert put is not None
    places = []
    for _ in range(9):
        effects = story.hear(PutAnswer(put[1].number, "full", None), NEXT, proven=False)
        assert len(said(effects, Put)) <= 1
        put = put_of(effects) or next_put(story, 2 * registration.REFUSED_RETRY)
        places.append(put[0])
    assert KEY in places
    assert any(place != KEY for place in places)
    assert story.now > 100.0 + 3 * registration.REFUSED_RETRY


def test_a_member_behind_a_full_part_shows_itself_beside_it_until_there_is_room() -> None:
    story = crowded()
    first, deeper = (members_key(NAMESPACE_KEY, part) for part in ("", story.me.hex()[0]))

    def puts(effects: list[Effect]) -> list[Put]:
        return [put for put in said(effects, Put) if put.record.kind == "many"]

    def keys(effects: list[Effect], *, withdrawn: bool = False) -> list[bytes]:
        return [put.record.key for put in puts(effects) if put.record.withdrawn is withdrawn]

    (put,) = puts(story.machine.set_addresses([ADDRESS], story.now))
    effects = story.hear(PutAnswer(put.number, "full", None), NEXT, proven=False)
    assert keys(effects) == [deeper]
    effects = story.hear(PutAnswer(puts(effects)[0].number, "stored", None), NEXT, proven=False)
    assert keys(effects) == [first, first], "on both sides"
    knock = puts(effects)[0]
    assert not puts(story.hear(PutAnswer(knock.number, "full", None), NEXT, proven=False))
    knocks = 0
    for _ in range(4):
        story.now += 600.0
        effects = story.machine.wake(story.now)
        renewed, *knocking = puts(effects)
        assert renewed.record.key == deeper
        assert [(put.record.key, put.beside) for put in knocking] in ([], [(first, True)] * 2)
        knocks += bool(knocking)
        story.hear(PutAnswer(renewed.number, "stored", None), NEXT, proven=False)
    assert knocks == 2
    assert knocking
    (tried,) = puts(story.hear(PutAnswer(knocking[1].number, "stored", None), NEXT, proven=False))
    assert (tried.record.key, tried.beside) == (first, False)
    effects = story.hear(PutAnswer(tried.number, "stored", None), NEXT, proven=False)
    assert set(keys(effects, withdrawn=True)) == {deeper}
    assert first in keys(story.machine.withdraw(story.now), withdrawn=True)


def test_what_is_put_beside_a_key_goes_to_those_who_should_hold_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a ring that is larger than what this node sees of it."""
    monkeypatch.setattr(Ring, "is_small", False)
    story = settled()
    around = sorted([story.me, *story.machine.ring.links], key=lambda node: ids.clockwise(story.me, node))
    key = around[2]
    put = Put(1, node_of(b"alice"), None, member(b"alice", 5, key=key), beside=True)
    effects = story.hear(put, NEXT)
    told = {
        effect.to
        for effect in effects
        if isinstance(effect, Send) and isinstance(decode(effect.payload), Replicate | Repair)
    }
    assert told == {around[at] for at in (-2, -1, 1, 2, 3, 4)}


def test_that_there_is_nobody_is_asked_of_others_the_second_time() -> None:
    story = crowded()
    numbers = asked(story)
    assert story.machine.lookups
    (lookup,) = story.machine.lookups._by_key.values()
    first = {lookup.point(question(number)) for number in numbers}
    for number in numbers:
        effects = story.hear(GetAnswer(number, (), 0, True), NEXT, proven=False)
    assert resolved(effects) == [], "not certain yet"
    second = {lookup.point(question(get.number)) for get in said(effects, Get)}
    assert len(second) == len(SECOND) == 4
    assert second.isdisjoint(first)
    assert second == {ids.from_number(ids.number(KEY) + int(part * story.machine.ring.beside)) for part in SECOND}
    assert len({place_of(story, point) for point in first | second}) > 3, "other storers"


def place_of(story: Story, point: bytes) -> bytes | None:
    """Who is nearest to it."""
    return ids.closest(point, story.machine.ring.links)


def test_two_storers_that_saw_two_claims_in_different_orders_do_not_tell_each_other_for_ever() -> None:
    """What differs is the time that the way between them takes."""
    story = Story(FAR)
    story.hear(Hello(True, 1, (), False), FAR)
    first, second = record(b"alice", since=1), record(b"bob", since=9)
    story.hear(Replicate((Copy(first, 600, 10_000),)), FAR)
    (told,) = said(story.hear(Replicate((Copy(second, 600, 9_000),)), FAR), Replicate)
    assert [copy.record for copy in told.copies] == [first, second], "it may not know the first"
    knows_both = Replicate((Copy(second, 600, 14_990), Copy(first, 600, 9_970)))
    assert not said(story.hear(knows_both, FAR), Replicate)
    saw_it_late = Replicate((Copy(second, 600, 14_990), Copy(first, 600, 5_000)))
    assert said(story.hear(saw_it_late, FAR), Replicate)


def test_what_a_neighbour_says_of_the_time_can_be_handed_on() -> None:
    story = Story(FAR)
    story.hear(Hello(True, 1, (), False), FAR)
    story.hear(Replicate((Copy(record(b"alice"), 600, MAX_HELD),)), FAR)
    story.now += 5.0
    effects = story.hear(Hello(True, 2, (), False), FAR)
    assert [copy.record for message in said(effects, Replicate) for copy in message.copies] == [record(b"alice")]


@pytest.mark.parametrize("steps", [(1,), (1, -1)])
def test_a_leaf_is_certain_that_there_is_nobody_when_all_whom_it_can_ask_have_said_so_twice(
    steps: tuple[int, ...],
) -> None:
    story = Story(leaf=True)
    for step in steps:
        node = ids.from_number(ids.number(story.me) + step * ids.RING // 1000)
        story.machine.relink({node: ["near"]}, 0.0)
        story.machine.wake(story.now)
        story.hear(Hello(True, 1, (), False), node)
    story.now += 10.0
    story.machine.wake(story.now)
    numbers, rounds = asked(story), 0
    while numbers:
        rounds += 1
        for number in numbers:
            effects = story.hear(GetAnswer(number, (), 0, True), NEXT, proven=False)
        numbers = [get.number for get in said(effects, Get)]
    assert [(effect.node, effect.certain) for effect in effects if isinstance(effect, Resolved)] == [(None, True)]
    assert rounds == 2


def test_an_answer_to_a_renewal_is_waited_for_a_while_and_to_a_first_claim_not_so_long() -> None:
    story = crowded()
    put = put_of(story.machine.set_addresses([ADDRESS], story.now))
    assert put is not None
    story.now += 0.1
    story.hear(PutAnswer(put[1].number, "stored", None), NEXT, proven=False)
    assert story.machine.registrations is not None
    (claim,) = story.machine.registrations.addresses
    claim.found = True
    next_put(story, 400.0)
    began = story.now
    next_put(story, 10.0)
    assert story.now - began >= registration.PATIENT
    story.machine.set_addresses([bytes([10, 0, 0, 9])], story.now)
    began = story.now
    next_put(story, 10.0)
    assert story.now - began < registration.PATIENT


def test_a_neighbour_that_never_learns_is_answered_so_often_a_second() -> None:
    story = Story(FAR)
    story.hear(Hello(True, 1, (), False), FAR)
    first = record(b"alice", since=1)
    story.hear(Replicate((Copy(first, 600, 60_000),)), FAR)
    wrong = Replicate((Copy(record(b"bob", since=9), 600, 0),))
    answers, began = 0, story.now
    while story.now < began + 100.0:
        answers += bool(said(story.hear(wrong, FAR), Replicate))
        story.now += 0.02
    assert CORRECTIONS_AT_ONCE < answers < CORRECTIONS_AT_ONCE + 101 * CORRECTIONS_A_SECOND
    assert story.machine.storage.corrections.refused


def test_an_answer_to_what_has_been_asked_again_since_shows_how_long_answers_take() -> None:
    story = crowded()
    numbers = asked(story)
    story.now += FIRST_WAIT
    assert said(story.machine.wake(story.now), Get)
    story.now += 0.3
    for number in numbers[:2]:
        effects = story.hear(GetAnswer(number, (Copy(record(b"alice"), 60),), 1, True), NEXT, proven=False)
    assert resolved(effects) == [node_of(b"alice")]
    assert len(asked(story)) == 3
    story.now += FIRST_WAIT + 0.3
    assert not said(story.machine.wake(story.now), Get), "these take as long"


def test_who_gets_no_answer_at_all_asks_less_often() -> None:
    story = crowded()
    asked(story)
    story.now += LIMIT
    assert [effect.node for effect in story.machine.wake(story.now) if isinstance(effect, Resolved)] == [None]
    asked(story)
    story.now += FIRST_WAIT
    assert not said(story.machine.wake(story.now), Get)
