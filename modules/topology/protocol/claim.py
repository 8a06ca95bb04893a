"""One claim of this node's to a key of the directory: what it says, how it stands, and where it is put next.

Every other Put goes to a point beside the key (`registration.py` says why).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Final, Literal, TypeAlias

from ipop_modules.topology.protocol import parts
from ipop_modules.topology.protocol.chance import Random, request_number
from ipop_modules.topology.protocol.profile import Profile
from ipop_modules.topology.protocol.records import Kind, Record

NEARER: Final = 3
"""A Put beside the key goes so often to half the distance; then from the beginning."""
FARTHER: Final = 2
"""And so often to twice the distance: where members lie far apart, the same one is nearest to the key and beside it."""

State: TypeAlias = Literal["waiting", "registered", "taken"]


@dataclass(slots=True)
class Claim:
    kind: Kind
    key: bytes
    subject: bytes | str | None
    """An address or a host name; None for the place among the members."""
    since: int
    profile: Profile | None = None
    """What the record says; nothing on an address."""
    state: State = "waiting"
    owner: bytes | None = None
    due: float = inf
    tries: int = 0
    asked: float = 0.0
    """When it was put last."""
    displaced: float = -inf
    """For when a Put was planned last because somebody said that the claim gave way."""
    pause: float = 0.0
    """Seconds from then until it is put again, unless an answer comes."""
    numbers: dict[int, bool] = field(default_factory=dict)
    """Of the Puts that may still be answered; whether they went beside the key."""
    is_next_beside: bool = False
    """Every other Put goes beside the key."""
    side: Literal[1, -1] = 1
    """There, the way round on which a lookup has found it, or to try next."""
    nearer: int = 0
    """By so many halves those go nearer to the key: storers farther away said that it is not theirs."""
    farther: int = 0
    """By so many times the double they go farther: what was put before is not found."""
    refusals: int = 0
    """How many storers said so since it was stored last."""
    found: bool = False
    """A lookup has named this node, or where none can tell, a storer beside the key has it."""
    is_doubted: bool = False
    """A storer says that somebody else has it, and a lookup is to tell."""
    check_at: float = inf
    """When to look it up."""
    checks: int = 0
    record: Record | None = None
    told: tuple[State, bytes | None] | None = None
    """What was said last of its state and owner."""
    floor: int = 0
    """The next sequence number is above this one."""
    part: str = parts.FIRST
    """Of the set of members."""
    knocks: set[int] = field(default_factory=set)
    """Of the Puts that may still be answered which show this node in the part before."""
    is_knocking: bool = True
    """The last renewal came with such."""

    def next_beside(self, gap: int) -> int:
        """How far from the key the next Put goes: every other time not at all. `gap`: at first (`Ring.beside`)."""
        is_beside, self.is_next_beside = self.is_next_beside, not self.is_next_beside
        return is_beside * self.side * (gap << self.farther >> self.nearer)

    def is_not_found(self) -> None:
        """What was put last is found by nobody: the next Put goes beside the key, the other way round and farther."""
        self.change_side()
        self.is_next_beside = True
        self.nearer = 0
        self.farther = min(self.farther + (self.checks > 1), FARTHER)

    def change_side(self) -> None:
        """What was put last was of no use: if that was beside the key, try the other side the next time."""
        if not self.is_next_beside:
            self.side = 1 if self.side == -1 else -1

    def go_nearer(self) -> None:
        """The storer beside the key says that it is none for it.

        Before all places of this side have said so, one in doubt does not ask that at the key again, which may hide it.
        """
        self.nearer = (self.nearer + 1) % (NEARER + self.farther)
        if not self.nearer:
            self.side = 1 if self.side == -1 else -1
        elif self.checks and not self.found:
            self.is_next_beside = True

    def number_for(self, *, is_beside: bool, random: Random) -> int:
        """The number of a Put; another try at the same place has the same."""
        for number, before in self.numbers.items():
            if before is is_beside:
                return number
        number = request_number(random)
        self.numbers[number] = is_beside
        return number

    def answered(self) -> None:
        """What was asked is known: the next Put is another one."""
        self.numbers.clear()
        self.tries = self.refusals = 0
