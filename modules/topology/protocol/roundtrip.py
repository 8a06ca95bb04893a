"""How long an answer from the directory takes, so that what got lost is asked again soon and what is under way is not.

The estimate is that of RFC 6298, section 2. Two deviations on top instead of four: a question that is asked twice
harms nobody. What has been asked again doesn't tell which time was answered (Karn's rule, section 3), so its answer
counts only where the two are told apart. Lookups do tell them: where all answers take longer than is waited for, as on
a machine that has too much to do, each question would be asked twice for ever otherwise, which makes that worse.
"""

from __future__ import annotations

from typing import Final

UNKNOWN: Final = 0.5
"""Seconds to wait for the first answer of all."""
SHORTEST: Final = 0.2
LONGEST: Final = 1.6
DEVIATIONS: Final = 2


class RoundTrip:
    def __init__(self) -> None:
        self._smoothed: float | None = None
        self._deviation = 0.0

    def took(self, seconds: float) -> None:
        """An answer came so long after that time that it was asked for. This node's own, at once, don't count."""
        if seconds <= 0.0:
            return
        if self._smoothed is None:
            self._smoothed, self._deviation = seconds, seconds / 2
            return
        self._deviation += (abs(self._smoothed - seconds) - self._deviation) / 4
        self._smoothed += (seconds - self._smoothed) / 8

    @property
    def timeout(self) -> float:
        """Seconds after which an answer is missed."""
        if self._smoothed is None:
            return UNKNOWN
        return min(max(SHORTEST, self._smoothed + DEVIATIONS * self._deviation), LONGEST)
