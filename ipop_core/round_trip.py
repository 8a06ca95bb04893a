"""How long answers take, so that what got lost is asked again soon and what is under way is not.

The estimate is that of RFC 6298, section 2, with two deviations on top instead of four: for a question that harms
nobody when it is asked twice. What has been asked again doesn't tell which time was answered (Karn's rule, section 3);
who can't tell either doesn't count its answer. But where all answers take longer than they are waited for, as on a
machine that has too much to do, and none of them counts, everything is asked twice for ever, which makes that worse: so
whoever can should tell the times apart.
"""

from __future__ import annotations

from typing import Final

DEVIATIONS: Final = 2


class RoundTrip:
    def __init__(self, *, unknown: float, shortest: float, longest: float) -> None:
        """Seconds to wait for the first answer of all, and at least and at most for every other."""
        self._unknown = unknown
        self._shortest = shortest
        self._longest = longest
        self._smoothed: float | None = None
        self._deviation = 0.0

    def took(self, seconds: float) -> None:
        """An answer came so long after it was asked for. This node's own, at once, don't count."""
        if seconds <= 0.0:
            return
        seconds = min(seconds, self._longest)
        if self._smoothed is None:
            self._smoothed, self._deviation = seconds, seconds / 2
            return
        self._deviation += (abs(self._smoothed - seconds) - self._deviation) / 4
        self._smoothed += (seconds - self._smoothed) / 8

    @property
    def timeout(self) -> float:
        """Seconds after which an answer is missed."""
        if self._smoothed is None:
            return self._unknown
        return min(max(self._shortest, self._smoothed + DEVIATIONS * self._deviation), self._longest)
