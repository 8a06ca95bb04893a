"""What was tried to reach one peer directly, and what came back: for `ipop why`."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from .events import Endpoint

MAX_REMEMBERED: Final = 48


@dataclass(slots=True)
class Trial:
    """One address of the peer, since it was first tried. Times are seconds on one monotonic clock."""

    since: float
    probes: int = 0
    answers: int = 0
    rtt: float | None = None
    outcome: str = "trying"
    """`trying`, `answers`, `silent` (never answered) or `lost` (answered, and then no more)."""


class History:
    """The addresses of one peer that were tried last."""

    def __init__(self) -> None:
        self.trials: OrderedDict[Endpoint, Trial] = OrderedDict()
        self.held_back = 0
        """Probes that were not sent because the peer's addresses had got enough (`courtesy.py`)."""

    def offered(self, endpoint: Endpoint, now: float) -> None:
        trial = self._of(endpoint, now)
        if trial.outcome in ("silent", "lost"):
            trial.outcome = "trying"

    def probed(self, endpoint: Endpoint) -> None:
        trial = self.trials.get(endpoint)
        if trial is not None:
            trial.probes += 1

    def withheld(self, endpoint: Endpoint) -> None:
        """The probe that was just counted was not sent."""
        self.held_back += 1
        trial = self.trials.get(endpoint)
        if trial is not None:
            trial.probes -= 1

    def answered(self, endpoint: Endpoint, rtt: float | None, now: float) -> None:
        trial = self._of(endpoint, now)
        trial.answers += 1
        trial.rtt, trial.outcome = rtt, "answers"

    def left(self, endpoint: Endpoint, *, was_live: bool) -> None:
        trial = self.trials.get(endpoint)
        if trial is not None:
            trial.outcome = "lost" if was_live else "silent"

    def _of(self, endpoint: Endpoint, now: float) -> Trial:
        trial = self.trials.get(endpoint)
        if trial is None:
            trial = self.trials[endpoint] = Trial(now)
            if len(self.trials) > MAX_REMEMBERED:
                self.trials.popitem(last=False)
        return trial
