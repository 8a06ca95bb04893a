"""First contact: keep links to some bootstraps up, for ever, and hurry nobody.

Each bootstrap is `waiting` until its time to be tried comes, `connecting` while it is tried, `connected` while its link
is up, or `self` when it turned out to be this very node (a bootstrap's own configuration may list it). Trials go on
until enough different nodes are connected; after a failure a bootstrap rests, longer each time. A link that is up is
confirmed now and then: asking again for what is there costs nothing, and mends what a restart of the links forgot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ipop_modules.signal.protocol.backoff import backoff
from ipop_modules.signal.protocol.bootstrap import Bootstrap

KIND: Final = "bootstrap"
"""Why the links are wanted, as the links are told."""
LINKS_WANTED: Final = 2
TRIALS_AT_ONCE: Final = 3
CONFIRM_AFTER: Final = 20.0
STABLE_AFTER: Final = 30.0
"""A link that lasted this long proves its bootstrap good: after its loss the waits begin from the shortest."""

State: TypeAlias = Literal["waiting", "connecting", "connected", "self"]


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect to this bootstrap, then tell `connected`, `failed` or `is_self`."""

    bootstrap: Bootstrap


@dataclass(frozen=True, slots=True)
class Confirm:
    """Ask whether the link to this bootstrap's node is still there, then tell `connected` or `failed`."""

    name: str
    node: str


@dataclass(frozen=True, slots=True)
class Release:
    """The link to this node is not needed as a bootstrap link."""

    node: str


@dataclass(frozen=True, slots=True)
class Contact:
    """A bootstrap answered, was lost, or fails in a way that it did not fail before."""

    name: str
    state: State
    node: str | None
    fault: str | None


Effect: TypeAlias = Dial | Confirm | Release | Contact


@dataclass(slots=True)
class Entry:
    """One bootstrap and what became of it."""

    bootstrap: Bootstrap
    state: State = "waiting"
    due: float = 0.0
    failures: int = 0
    node: str | None = None
    """The node that answered last."""
    fault: str | None = None
    since: float = 0.0
    """When it was connected."""
    confirming: bool = False

    def contact(self) -> Contact:
        return Contact(self.bootstrap.name, self.state, self.node, self.fault)


class FirstContact:
    """Times are in seconds on one clock; `random` is a number in [0, 1)."""

    def __init__(self, own_node: str, bootstraps: Sequence[Bootstrap], now: float) -> None:
        self._own_node = own_node
        self._entries = {bootstrap.name: Entry(bootstrap, due=now) for bootstrap in bootstraps}
        for entry in self._entries.values():
            if entry.bootstrap.node == own_node:
                entry.state = "self"

    @property
    def bootstraps(self) -> list[Contact]:
        """Every bootstrap as it stands."""
        return [entry.contact() for entry in self._entries.values()]

    def replace(self, bootstraps: Sequence[Bootstrap], now: float) -> list[Effect]:
        """These are the bootstraps from now on: what is known of those that stay is kept, links to the others go."""
        old, before = self._entries, self._nodes()
        new = FirstContact(self._own_node, bootstraps, now)
        self._entries = {name: old.get(name, entry) for name, entry in new._entries.items()}
        return [Release(node) for node in sorted(before - self._nodes())]

    def wake(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for entry in self._due(now):
            if entry.state == "connected" and entry.node is not None:
                entry.confirming = True
                effects.append(Confirm(entry.bootstrap.name, entry.node))
            else:
                entry.state = "connecting"
                effects.append(Dial(entry.bootstrap))
        return effects

    def next_wake(self) -> float | None:
        """When `wake` is to be called, None while only answers or lost links can change anything."""
        confirmations = [e.due for e in self._entries.values() if e.state == "connected" and not e.confirming]
        trials = [e.due for e in self._waiting()] if self._free_trials() else []
        return min(confirmations + trials, default=None)

    def connected(self, name: str, node: str, now: float) -> list[Effect]:
        """The node that answered at this bootstrap has a direct link now."""
        if name not in self._entries:
            return [Release(node)]
        if node == self._own_node:
            self.is_self(name)
            return []
        entry = self._entries[name]
        entry.confirming = False
        entry.due = now + CONFIRM_AFTER
        if entry.state == "connected" and entry.node == node:
            return []
        held_by_others = {e.node for e in self._entries.values() if e.state == "connected" and e is not entry}
        if len(held_by_others - {node}) >= LINKS_WANTED:
            entry.state, entry.fault = "waiting", None
            return [Release(node)]
        before = entry.node
        entry.state, entry.node, entry.fault, entry.since = "connected", node, None, now
        moved = before is not None and before != node and before not in self._nodes()
        return [Release(before), entry.contact()] if moved and before else [entry.contact()]

    def failed(self, name: str, fault: str, now: float, random: float) -> list[Effect]:
        """No link to this bootstrap: `fault` says why, in one line for the operator."""
        entry = self._entries.get(name)
        if entry is None or entry.state == "waiting":
            return []
        known = entry.state == "connecting" and entry.fault == fault
        self._rest(entry, fault, now, random)
        return [] if known else [entry.contact()]

    def is_self(self, name: str) -> None:
        """Let the bootstrap be from now on: it is the node that asks."""
        if entry := self._entries.get(name):
            entry.state, entry.node, entry.fault, entry.confirming = "self", None, None, False

    def link_down(self, node: str, reason: str, now: float, random: float) -> list[Effect]:
        """A direct link was lost, to a bootstrap or to any other node."""
        lost = [entry for entry in self._entries.values() if entry.state == "connected" and entry.node == node]
        for entry in lost:
            self._rest(entry, f"link lost: {reason}", now, random)
        return [entry.contact() for entry in lost]

    def _rest(self, entry: Entry, fault: str, now: float, random: float) -> None:
        if entry.state == "connected" and now - entry.since >= STABLE_AFTER:
            entry.failures = 0
        entry.failures += 1
        entry.state, entry.fault, entry.confirming = "waiting", fault, False
        entry.due = now + backoff(entry.failures, random)

    def _nodes(self) -> set[str]:
        return {entry.node for entry in self._entries.values() if entry.state == "connected" and entry.node}

    def _waiting(self) -> list[Entry]:
        return sorted((e for e in self._entries.values() if e.state == "waiting"), key=lambda entry: entry.due)

    def _free_trials(self) -> int:
        if len(self._nodes()) >= LINKS_WANTED:
            return 0
        return TRIALS_AT_ONCE - sum(entry.state == "connecting" for entry in self._entries.values())

    def _due(self, now: float) -> list[Entry]:
        connected = [entry for entry in self._entries.values() if entry.state == "connected" and not entry.confirming]
        ready = [entry for entry in self._waiting() if entry.due <= now][: self._free_trials()]
        return [entry for entry in connected if entry.due <= now] + ready
