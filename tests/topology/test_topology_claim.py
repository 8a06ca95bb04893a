"""Where a claim is put."""

from __future__ import annotations

from ipop_modules.topology.protocol.claim import Claim

GAP = 64


def puts(claim: Claim, number: int) -> list[int]:
    return [claim.next_beside(GAP) for _ in range(number)]


def test_every_other_put_goes_beside_the_key() -> None:
    assert puts(Claim("one", b"", b"", since=1), 4) == [0, GAP, 0, GAP]


def test_what_is_not_found_is_put_beside_the_key_ever_farther_and_on_both_sides() -> None:
    claim, places = Claim("one", b"", b"", since=1), []
    puts(claim, 1)
    for claim.checks in range(1, 6):
        claim.is_not_found()
        places.append(claim.next_beside(GAP))
    assert [abs(place) for place in places] == [GAP, 2 * GAP, 4 * GAP, 4 * GAP, 4 * GAP]
    assert {place > 0 for place in places} == {True, False}


def test_what_a_storer_beside_the_key_refuses_goes_nearer_and_not_to_the_key_again_where_that_one_hides_it() -> None:
    claim = Claim("one", b"", b"", since=1, checks=1)
    claim.is_not_found()
    assert abs(claim.next_beside(GAP)) == GAP
    claim.go_nearer()
    assert abs(claim.next_beside(GAP)) == GAP // 2
    claim.found = True
    claim.go_nearer()
    assert claim.next_beside(GAP) == 0


def test_what_all_storers_beside_the_key_refuse_goes_to_the_key_and_then_to_the_other_side() -> None:
    claim = Claim("one", b"", b"", since=1, checks=3, farther=2)
    claim.is_next_beside = True
    places = list[int]()
    for _ in range(12):
        places.append(claim.next_beside(GAP))
        if places[-1]:
            claim.go_nearer()
    assert places == [256, 128, 64, 32, 16, 0, -256, -128, -64, -32, -16, 0]
