from __future__ import annotations

import msgspec
import pytest

from ipop_modules.topology.protocol import store as store_file
from ipop_modules.topology.protocol.cache import MAX_ENTRIES, Cache
from ipop_modules.topology.protocol.records import Kind, Record
from ipop_modules.topology.protocol.store import (
    AT_ONCE,
    BEHIND_FOR,
    MAX_CLAIMS,
    MAX_ENDED,
    MAX_FOR_LINK,
    MAX_FOR_OWNER,
    MAX_IN_SET,
    STAYS,
    Store,
)

KEY, LINK = b"k" * 20, b"l" * 20


def record(owner: str = "alice", *, kind: Kind = "one", key: bytes = KEY, since: int = 1, sequence: int = 1) -> Record:
    return Record(kind, key, owner.encode(), since, sequence, 600, b"", b"")


def owners(store: Store, now: float, kind: Kind = "one") -> list[bytes]:
    return [copy.record.owner_key for copy in store.get(kind, KEY, now)]


def test_the_first_owner_keeps_the_key_until_the_lease_ends() -> None:
    store = Store()
    assert store.put(record("alice"), 600, LINK, 0.0).state == "stored"
    outcome = store.put(record("bob", since=0), 600, LINK, 1.0)
    assert (outcome.state, outcome.record) == ("taken", record("alice"))
    assert store.put(record("bob"), 600, LINK, 601.0).state == "stored"
    assert owners(store, 602.0) == [b"bob"]


def test_of_one_owners_records_the_highest_sequence_counts() -> None:
    store = Store()
    store.put(record(sequence=5), 600, LINK, 0.0)
    assert store.put(record(sequence=4), 600, LINK, 1.0).state == "stale"
    assert store.put(record(sequence=6), 600, LINK, 100.0).state == "stored"
    assert store.get("one", KEY, 100.0)[0].remaining == 600


def test_a_copy_does_not_outlive_the_original_nor_shorten_it() -> None:
    store = Store()
    store.put(record(), 100, LINK, 0.0, merge=True)
    store.put(record(), 50, LINK, 0.0, merge=True)
    assert store.get("one", KEY, 99.0)
    assert not store.get("one", KEY, 101.0)


def test_a_newer_record_that_is_handed_over_with_no_time_left_ends_no_sooner_than_the_one_before() -> None:
    """Else whoever got the newest could end a claim at every other storer."""
    store = Store()
    store.put(record(), 600, LINK, 0.0)
    assert store.put(record(sequence=2), 0, LINK, 300.0, merge=True).state == "stored"
    assert store.get("one", KEY, 599.0)
    assert not store.get("one", KEY, 600.0)


def test_a_record_lives_one_lease_however_often_it_is_handed_over() -> None:
    store = Store()
    for now in (0.0, 300.0, 599.0):
        assert store.put(record(), 600, LINK, now, merge=True).state == "stored"
    assert not store.get("one", KEY, 600.0)
    outcome = store.put(record(), 600, LINK, 601.0)
    assert (outcome.state, outcome.record) == ("stale", record()), "its owner learns which sequence it must pass"
    assert store.put(record(sequence=0), 600, LINK, 602.0, merge=True).state == "stale"
    assert store.put(record("bob", since=9), 600, LINK, 603.0).state == "stored"
    assert owners(store, 604.0) == [b"bob"]
    assert store.put(record(sequence=2), 600, LINK, 605.0).state == "taken"


def test_a_copy_that_ended_early_shortens_no_later_one() -> None:
    """Else anybody who hands over a record with no time left would keep it away."""
    store = Store()
    store.put(record(), 0, LINK, 0.0, merge=True)
    assert not store.get("one", KEY, 1.0)
    assert store.put(record(), 600, LINK, 1.0).state == "stored"
    assert store.get("one", KEY, 599.0)
    assert not store.get("one", KEY, 600.0)


def test_the_ended_that_are_remembered_are_bounded() -> None:
    store = Store()
    for number in range(MAX_ENDED + 1):
        store.put(record(f"{number}"), 1, LINK, 2.0 * number)
    end = 2.0 * MAX_ENDED + 2
    assert store.put(record("1"), 600, LINK, end).state == "stale"
    assert store.put(record("0"), 600, LINK, end).state == "stored", "forgotten"


def test_when_storers_compare_the_older_claim_wins() -> None:
    store = Store()
    store.put(record("bob", since=20), 600, LINK, 0.0)
    assert store.put(record("carol", since=30), 600, LINK, 1.0, merge=True).state == "taken"
    outcome = store.put(record("alice", since=10), 600, LINK, 1.0, merge=True)
    assert outcome.displaced == record("bob", since=20)
    assert owners(store, 2.0) == [b"alice", b"bob", b"carol"]
    assert store.put(record("dave", since=5), 600, LINK, 3.0, merge=True, behind=record("bob").owner).state == "taken"
    assert owners(store, 4.0) == [b"alice", b"bob", b"dave", b"carol"]


def test_of_two_claims_the_one_that_storers_have_seen_for_longer_wins_whatever_its_owners_clock_said() -> None:
    store = Store()
    store.put(record("bob", since=1), 600, LINK, 0.0)
    outcome = store.put(record("alice", since=99), 600, LINK, 1.0, held=60_000, merge=True)
    assert outcome.displaced == record("bob", since=1)
    assert store.put(record("bob", since=1), 600, LINK, 2.0, held=30_000, merge=True).state == "taken"
    later = record("alice", since=200, sequence=2)
    assert store.put(later, 600, LINK, 100.0).state == "stored", "back from a restart"
    assert [copy.held for copy in store.to_hand_on(later, 101.0)] == [160_000, 129_000]
    near = Store()
    near.put(record("alice", since=99), 600, LINK, 0.0)
    assert near.put(record("bob", since=1), 600, LINK, AT_ONCE, merge=True).displaced, (
        "they came at about the same time"
    )


def test_a_claim_that_was_withdrawn_begins_anew() -> None:
    store = Store()
    store.put(record(), 600, LINK, 0.0, held=60_000, merge=True)
    store.put(withdrawn("alice"), 600, LINK, 1.0)
    store.put(record(sequence=3), 600, LINK, 2.0)
    assert [copy.held for copy in store.to_hand_on(record(sequence=3), 3.0)] == [1000]


def test_of_too_many_claims_the_one_that_came_last_makes_room() -> None:
    store = Store()
    for name in ("alice", "bob", "carol", "dave"):
        store.put(record(name), 600, LINK, 0.0)
    assert store.put(record("erin"), 600, LINK, STAYS - 1.0).state == "full", "claims that put each other out in turn"
    assert store.put(record("erin"), 600, LINK, STAYS).state == "taken"
    assert owners(store, STAYS + 1.0) == [b"alice", b"bob", b"carol", b"erin"]
    assert store.put(record("dave"), 600, LINK, STAYS + 1.0).state == "full"
    assert store.put(record("alice", sequence=2), 600, LINK, STAYS + 2.0).state == "stored"
    assert store.put(record("bob", sequence=2), 600, LINK, STAYS + 2.0).state == "taken"
    assert owners(store, STAYS + 3.0) == [b"alice", b"bob", b"carol", b"erin"]
    assert len(store) == MAX_CLAIMS


def withdrawn(owner: str, sequence: int = 2, kind: Kind = "one") -> Record:
    return msgspec.structs.replace(record(owner, sequence=sequence, kind=kind), withdrawn=True)


def test_those_that_tried_a_key_and_withdrew_put_nobody_in_danger_who_holds_it_later() -> None:
    store = Store()
    for name in ("alice", "bob", "carol"):
        store.put(record(name), 600, LINK, 0.0)
    for name in ("bob", "carol", "alice"):
        store.put(withdrawn(name), 600, LINK, 1.0)
    assert store.put(record("dave"), 600, LINK, 2.0).state == "stored"
    for turn, name in enumerate(("erin", "frank", "grace", "heidi"), start=1):
        outcome = store.put(record(name), 600, LINK, turn * STAYS)
        assert (outcome.state, outcome.record) == ("taken", record("dave"))
    assert owners(store, 5 * STAYS)[0] == b"dave"
    assert len(store) == MAX_CLAIMS
    assert store.put(record("bob"), 600, LINK, 5 * STAYS).state == "stale", "it was withdrawn"


def test_who_stands_first_since_rings_merged_stays_though_it_came_last() -> None:
    store = Store()
    for name in ("bob", "carol", "dave"):
        store.put(record(name, since=9), 600, LINK, 0.0)
    assert store.put(record("alice"), 600, LINK, 1.0, merge=True).state == "stored"
    outcome = store.put(record("erin", since=9), 600, LINK, 1.0 + STAYS)
    assert (outcome.state, outcome.record) == ("taken", record("alice"))
    assert owners(store, 2.0 + STAYS) == [b"alice", b"bob", b"carol", b"erin"]


@pytest.mark.parametrize(("kind", "most"), [("one", MAX_CLAIMS), ("many", MAX_IN_SET)])
def test_a_withdrawal_by_somebody_who_was_never_here_takes_nobodys_place_but_is_remembered(
    kind: Kind, most: int
) -> None:
    store = Store()
    there = [f"{number:02}" for number in range(most)]
    for name in there:
        store.put(record(name, kind=kind), 600, LINK, 0.0)
    assert store.put(withdrawn("zoe", kind=kind), 600, LINK, 1.0).state == "stored"
    assert store.count(kind, KEY, b"", 2.0) == most == len(store)
    assert not store.has_turned_away(KEY, 2.0)
    assert store.put(record("zoe", kind=kind), 600, LINK, 3.0).state == "stale"


def test_who_withdrew_and_claims_again_waits_behind_the_others() -> None:
    store = Store()
    store.put(record("alice"), 600, LINK, 0.0)
    store.put(record("bob"), 600, LINK, 0.0)
    store.put(msgspec.structs.replace(record("alice", sequence=2), withdrawn=True), 600, LINK, 1.0)
    assert owners(store, 2.0) == [b"bob", b"alice"]
    assert store.put(record("alice", sequence=3), 600, LINK, 3.0).state == "taken"
    assert owners(store, 4.0) == [b"bob", b"alice"]


def test_a_set_holds_the_owners_that_came_first_and_turns_others_away() -> None:
    store = Store()
    states = [
        store.put(record(f"owner {number}", kind="many"), 600, LINK, float(number)).state
        for number in range(MAX_IN_SET)
    ]
    assert states == ["stored"] * MAX_IN_SET
    assert store.count("many", KEY, record("owner 40").owner, 99.0) == MAX_IN_SET - 1
    assert not store.has_turned_away(KEY, 99.0)
    assert store.put(record("late", kind="many"), 600, LINK, 100.0).state == "full"
    assert store.put(record("owner 40", kind="many", sequence=2), 600, LINK, 100.0).state == "stored"
    assert len(store) == MAX_IN_SET
    assert store.count("many", KEY, record("owner 40").owner, 100.0) == MAX_IN_SET - 1
    assert store.has_turned_away(KEY, 100.0), "there may be more behind it"
    withdrawn = msgspec.structs.replace(record("owner 0", kind="many", sequence=2), withdrawn=True)
    assert store.put(withdrawn, 600, LINK, 101.0).state == "stored"
    assert store.put(record("late", kind="many"), 600, LINK, 102.0).state == "stored"
    assert store.put(record("owner 0", kind="many"), 600, LINK, 103.0).state == "stale", "it was withdrawn"
    assert len(store) == MAX_IN_SET
    assert store.count("many", KEY, b"", 99.0 + BEHIND_FOR) == 0
    assert store.has_turned_away(KEY, 99.0 + BEHIND_FOR)
    assert not store.has_turned_away(KEY, 100.0 + BEHIND_FOR)


def test_an_owner_and_a_link_have_quotas_and_expiry_frees_them() -> None:
    store = Store()
    for number in range(MAX_FOR_OWNER):
        store.put(record(key=number.to_bytes(20, "big")), 600, LINK, 0.0)
    assert store.put(record(key=b"x" * 20), 600, LINK, 1.0).state == "refused"
    assert store.put(record("bob", key=b"x" * 20), 600, LINK, 1.0).state == "stored"
    store.expire(700.0)
    assert len(store) == 0
    for number in range(MAX_FOR_LINK):
        store.put(record(f"sybil {number}", key=number.to_bytes(20, "big")), 600, LINK, 700.0)
    assert store.put(record("bob"), 600, LINK, 701.0).state == "refused"
    assert store.put(record("bob"), 600, b"other link" * 2, 701.0).state == "stored"


def test_at_its_quota_an_owners_oldest_withdrawn_record_makes_room() -> None:
    store = Store()
    keys = [number.to_bytes(20, "big") for number in range(MAX_FOR_OWNER + 3)]
    for key in keys[:MAX_FOR_OWNER]:
        store.put(record(key=key), 600, LINK, 0.0)
    for key in (keys[7], keys[3]):
        store.put(msgspec.structs.replace(withdrawn("alice"), key=key), 600, LINK, 1.0)
    later = [store.put(record(key=key), 600, LINK, 2.0).state for key in keys[MAX_FOR_OWNER:]]
    assert later == ["stored", "stored", "refused"]
    assert len(store) == MAX_FOR_OWNER
    assert store.put(record(key=keys[7]), 600, LINK, 3.0).state == "stale", "it is remembered that it was withdrawn"


def test_a_link_at_its_quota_gets_no_room_in_the_place_of_what_came_by_another() -> None:
    store, other = Store(), b"other link" * 2
    store.put(withdrawn("greedy"), 600, other, 0.0)
    for number in range(MAX_FOR_OWNER - 1):
        store.put(record("greedy", key=(1 << 20 | number).to_bytes(20, "big")), 600, other, 0.0)
    for number in range(MAX_FOR_LINK):
        store.put(record(f"sybil {number}", key=number.to_bytes(20, "big")), 600, LINK, 0.0)
    assert store.put(record("greedy", key=b"x" * 20), 600, LINK, 1.0).state == "refused"
    assert store.put(record("greedy", key=b"x" * 20), 600, other, 1.0).state == "stored"


def test_a_full_store_takes_the_newest_of_the_link_that_has_most_out_for_one_that_has_fewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_file, "MAX_RECORDS", 8)
    store, other = Store(), b"other link" * 2
    keys = [number.to_bytes(20, "big") for number in range(12)]
    for key in keys[:8]:
        assert store.put(record("mallory", key=key), 600, LINK, 0.0).state == "stored"
    assert store.put(record("mallory", key=keys[8]), 600, LINK, 1.0).state == "refused"
    states = [store.put(record("bob", key=key), 600, other, 1.0).state for key in keys[8:]]
    assert states == ["stored"] * 4
    assert len(store) == 8
    assert [bool(store.get("one", key, 2.0)) for key in keys] == [True] * 4 + [False] * 4 + [True] * 4
    assert store.put(record("carol"), 600, other, 2.0).state == "refused", "it has as many as any"
    store.expire(700.0)
    assert store.put(record("carol"), 600, LINK, 701.0).state == "stored"


def test_older_claims_displace_no_more_than_the_quota_of_their_owner() -> None:
    store = Store()
    keys = [number.to_bytes(20, "big") for number in range(MAX_FOR_OWNER + 1)]
    for number, key in enumerate(keys):
        store.put(record(f"owner {number}", key=key, since=9), 600, LINK, 0.0)
    states = [store.put(record("greedy", key=key), 600, LINK, 1.0, merge=True).state for key in keys]
    assert states == ["stored"] * MAX_FOR_OWNER + ["refused"]


def test_the_cache_forgets_in_time_and_is_bounded() -> None:
    cache = Cache()
    cache.found(KEY, b"n" * 20, 600.0, 0.0)
    assert cache.get(KEY, 59.0)
    assert cache.get(KEY, 61.0) is None
    cache.found(KEY, b"n" * 20, 10.0, 100.0)
    assert cache.get(KEY, 111.0) is None
    cache.absent(KEY, 200.0)
    absent = cache.get(KEY, 201.0)
    assert absent is not None
    assert absent.node is None
    assert cache.get(KEY, 203.0) is None
    for number in range(2 * MAX_ENTRIES):
        cache.absent(number.to_bytes(20, "big"), 300.0)
    assert len(cache) == MAX_ENTRIES


def test_the_sets_that_turned_somebody_away_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_file, "MAX_IN_SET", 1)
    monkeypatch.setattr(store_file, "MAX_BEHIND", 2)
    store = Store()
    keys = [number.to_bytes(20, "big") for number in range(3)]
    for key in keys:
        for owner in ("first", "second"):
            store.put(record(owner, kind="many", key=key), 600, LINK, 0.0)
    assert [store.has_turned_away(key, 1.0) for key in keys] == [False, True, True]
