"""NATs in virtual time: the laboratory's kinds as objects, between the machines of `tests/tincan_link/net.py`.

A packet goes from a host through its box (which maps) into the world, and from the world through the other box (which
filters) to its host. A box has one host behind it, whose inner address nobody outside can reach.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from ipop_core.lab.nat import NatKind

Address = tuple[str, int]

SEQUENTIAL = "sequential"
"""Symmetric, with the next port for the next flow."""


@dataclass
class Box:
    """One router. `lifetime` in seconds: a mapping that nothing went out by for so long is gone, and so is its port."""

    kind: NatKind | str
    public: str
    random: random.Random
    careful: bool = True
    lifetime: float = 30.0
    next_port: int = 40_000
    flows: dict[tuple[Address, Address], tuple[int, float]] = field(default_factory=dict)
    """(inner, remote) -> outer port, last used."""
    spoiled: dict[tuple[int, Address], float] = field(default_factory=dict)
    """Flows that the router took for its own: (outer port, remote)."""

    def out(self, inner: Address, remote: Address, now: float) -> Address:
        """The outer address of a packet that goes out."""
        self._expire(now)
        known = self.flows.get((inner, remote))
        port = known[0] if known is not None else self._choose(inner, remote)
        self.flows[inner, remote] = (port, now)
        return self.public, port

    def into(self, remote: Address, port: int, now: float) -> Address | None:
        """The inner address that a packet from outside is for; None when it is dropped."""
        self._expire(now)
        for (inner, peer), (outer, _) in self.flows.items():
            if outer == port and self._passes(peer, remote):
                return inner
        if not self.careful and self._is_strict:
            self.spoiled[port, remote] = now
        return None

    def restart(self) -> None:
        """Forget every flow, and give new ports to those that come."""
        self.flows.clear()
        self.next_port += 1000

    @property
    def _is_strict(self) -> bool:
        return self.kind in (NatKind.PORT_RESTRICTED, NatKind.SYMMETRIC, SEQUENTIAL)

    def _passes(self, peer: Address, remote: Address) -> bool:
        if self.kind is NatKind.FULL_CONE:
            return True
        if self.kind is NatKind.ADDRESS_RESTRICTED:
            return peer[0] == remote[0]
        return peer == remote

    def _choose(self, inner: Address, remote: Address) -> int:
        taken = {port for port, _ in self.flows.values()}
        if self.kind == SEQUENTIAL:
            self.next_port += 1
            return self.next_port
        if self.kind is not NatKind.SYMMETRIC:
            same = [port for (known, _), (port, _) in self.flows.items() if known == inner]
            wanted = same[0] if same else inner[1] + self.next_port - 40_000
            if (wanted, remote) not in self.spoiled:
                return wanted
        while True:
            port = self.random.randrange(1024, 65_536)
            if port not in taken and (port, remote) not in self.spoiled:
                return port

    def _expire(self, now: float) -> None:
        kept = {flow: known for flow, known in self.flows.items() if now - known[1] < self.lifetime}
        if len(kept) < len(self.flows) and self.kind != SEQUENTIAL:
            self.next_port += 1
        self.flows = kept
        self.spoiled = {flow: at for flow, at in self.spoiled.items() if now - at < self.lifetime}


@dataclass
class World:
    """Who is behind which box: boxes by the inner host's address."""

    boxes: dict[str, Box] = field(default_factory=dict)

    def leave(self, inner: Address, target: Address, now: float) -> Address:
        """The address that the world sees for a packet from a host's own address."""
        box = self.boxes.get(inner[0])
        return inner if box is None else box.out(inner, target, now)

    def arrive(self, source: Address, target: Address, now: float) -> Address | None:
        """The host's own address that a packet from the world gets to; None when it gets nowhere."""
        for box in self.boxes.values():
            if box.public == target[0]:
                return box.into(source, target[1], now)
        return None if target[0] in self.boxes else target
