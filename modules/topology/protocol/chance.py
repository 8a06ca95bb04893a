"""Random values made from the random bytes that the machine is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

Random: TypeAlias = Callable[[int], bytes]
T = TypeVar("T")


def spread(random: Random, seconds: float) -> float:
    """Half to one and a half times `seconds`: nodes that started together don't act together for ever."""
    return seconds * (0.5 + int.from_bytes(random(4), "big") / 2**32)


def request_number(random: Random) -> int:
    """63 bits."""
    return int.from_bytes(random(8), "big") >> 1


def some(random: Random, choices: Sequence[T], count: int) -> list[T]:
    """So many of `choices` in any order, or all where there are not more."""
    left = list(choices)
    return [left.pop(int.from_bytes(random(4), "big") % len(left)) for _ in range(min(count, len(left)))]


def pick(random: Random, choices: Sequence[T]) -> T:
    """One of `choices`, which must not be empty."""
    return choices[int.from_bytes(random(4), "big") % len(choices)]
