"""One scenario for real processes and for virtual time: many nodes start together, and some of them are killed.

They form one ring, everyone looks up everyone else, some are killed, and all that are left reach each other again. What
the nodes are made of is a `Cluster`'s: controllers in network namespaces (`real.py`), or whole nodes in the simulator
(`virtual.py`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

PATIENCE: Final = 120.0
"""Seconds for the ring to form, for everyone to find everyone, and for everyone to reach everyone."""


@dataclass
class Answers:
    first: Counter[str] = field(default_factory=lambda: Counter(right=0, wrong=0, failed=0))
    """To what was asked for the first time; without an answer in time: failed."""
    again: Counter[str] = field(default_factory=lambda: Counter(right=0, wrong=0, failed=0))
    unresolved: int = 0
    """Lookups that were never answered rightly."""


class Cluster(Protocol):
    """So many nodes, numbered from 0; the first is the others' bootstrap. Times are seconds on its own clock."""

    def now(self) -> float: ...

    def form(self) -> None:
        """Start all at once, and wait until each is in the ring and has its address. Raises TimeoutError."""
        ...

    def look_up(self, patience: float) -> Answers:
        """Everyone asks the directory, past the cache, for everyone else's address, and again what was not answered."""
        ...

    def rest(self) -> dict[str, Any]:
        """Figures of what the nodes cost while nobody wants anything of them."""
        ...

    def kill(self, chosen: Sequence[int]) -> None:
        """Without a word to anybody."""
        ...

    def reach(self, patience: float) -> int:
        """Those that live send to each other's addresses until everyone has answered; pairs that stayed silent."""
        ...


def play(cluster: Cluster, nodes: int, kill: int, seed: int) -> dict[str, Any]:
    """The figures, and on the way what has been reached; times in seconds."""
    begun = cluster.now()
    cluster.form()
    formed = cluster.now()
    print(f"{nodes} nodes are one ring after {formed - begun:.1f} s; everyone looks everyone up")
    answers = cluster.look_up(PATIENCE)
    resolved = cluster.now()
    right, wanted = answers.first["right"], nodes * (nodes - 1)
    print(f"{right} of {wanted} were found at once, {answers.unresolved} never, in {resolved - formed:.1f} s; all rest")
    cost = cluster.rest()
    cluster.kill(random.Random(seed).sample(range(nodes), kill))
    killed = cluster.now()
    print(f"{kill} are killed; everyone who lives sends to everyone")
    silent = cluster.reach(PATIENCE)
    return {
        "nodes": nodes,
        "seed": seed,
        "formed_s": round(formed - begun, 1),
        "lookups": dict(answers.first),
        "lookups_again": dict(answers.again),
        "lookups_unresolved": answers.unresolved,
        "all_resolved_s": None if answers.unresolved else round(resolved - formed, 1),
        **cost,
        "killed": kill,
        "pairs": (nodes - kill) * (nodes - kill - 1),
        "pairs_silent": silent,
        "all_reached_s": None if silent else round(cluster.now() - killed, 1),
    }
