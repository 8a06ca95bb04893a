from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_core.round_trip import RoundTrip

UNKNOWN, SHORTEST, LONGEST = 0.5, 0.2, 1.6


def after(*answers: float) -> float:
    trip = RoundTrip(unknown=UNKNOWN, shortest=SHORTEST, longest=LONGEST)
    for seconds in answers:
        trip.took(seconds)
    return trip.timeout


def test_before_any_answer_and_with_only_this_nodes_own() -> None:
    assert after() == after(0.0, 0.0) == UNKNOWN


def test_the_first_answer_counts_whole_with_half_of_it_as_deviation() -> None:
    assert after(0.3) == pytest.approx(0.3 + 2 * 0.15)


def test_the_second_as_in_rfc_6298() -> None:
    deviation = 0.75 * 0.15 + 0.25 * 0.1
    assert after(0.3, 0.4) == pytest.approx(0.875 * 0.3 + 0.125 * 0.4 + 2 * deviation)


def test_steady_answers_bring_it_down_to_what_they_take() -> None:
    assert after(*[0.35] * 60) == pytest.approx(0.35, abs=0.01)


@given(st.lists(st.floats(0, 1e6)))
def test_it_stays_within_its_bounds(answers: list[float]) -> None:
    assert SHORTEST <= after(*answers) <= LONGEST
