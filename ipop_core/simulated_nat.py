"""For authors of modules: NATs in virtual time, the laboratory's kinds as objects.

A packet goes from a host out through its router (which maps) into the world, and from the world in through the other
router (which filters). Routers may stand behind routers, as a home's behind its carrier's.

nats = Nats()
nats.put("10.77.1.2", SimulatedNat(NatKind.SYMMETRIC, "203.0.113.7", random.Random(1)))
outer = nats.leave(("10.77.1.2", 4741), target, now)     # what the world sees
inner = nats.arrive(outer, target, now)                  # who gets it; None: nobody
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ipop_core.lab.nat import NatKind

Address: TypeAlias = tuple[str, int]

LIFETIME: Final = 30.0
"""Of a mapping; Linux has 30 s until there was an answer."""
_FIRST_PORT: Final = 40_000


@dataclass
class SimulatedNat:
    """One router.

    `careful`: an early packet from outside does not spoil the mapping of the answer. `hairpin`: what an inner host
    sends to this router's outer address comes back in. `lifetime` in seconds: a mapping that nothing went out by for so
    long is gone, and so is its port. `carrier`: the router behind which this one stands.
    """

    kind: NatKind
    public: str
    random: random.Random
    careful: bool = True
    hairpin: bool = False
    lifetime: float = LIFETIME
    carrier: SimulatedNat | None = None
    next_port: int = _FIRST_PORT
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
        if (port, remote) not in self.spoiled:
            for (inner, peer), (outer, _) in self.flows.items():
                if outer == port and self._passes(peer, remote):
                    return inner
        if not self.careful and self.kind is not NatKind.FULL_CONE:
            self.spoiled[port, remote] = now
        return None

    def holder(self, port: int) -> Address | None:
        """The inner address that has an outer port, whoever its flows go to."""
        return next((inner for (inner, _), (outer, _) in self.flows.items() if outer == port), None)

    def restart(self) -> None:
        """Forget every flow, and give new ports to those that come."""
        self.flows.clear()
        self.next_port += 1000

    def _passes(self, peer: Address, remote: Address) -> bool:
        if self.kind is NatKind.FULL_CONE:
            return True
        if self.kind is NatKind.ADDRESS_RESTRICTED:
            return peer[0] == remote[0]
        return peer == remote

    def _choose(self, inner: Address, remote: Address) -> int:
        taken = {port for port, _ in self.flows.values()}
        if self.kind is NatKind.SEQUENTIAL:
            self.next_port += 1
            return self.next_port
        if self.kind is not NatKind.SYMMETRIC:
            same = [port for (known, _), (port, _) in self.flows.items() if known == inner]
            wanted = same[0] if same else inner[1] + self.next_port - _FIRST_PORT
            others = {port for (known, _), (port, _) in self.flows.items() if known != inner}
            if wanted not in others and (wanted, remote) not in self.spoiled:
                return wanted
        while True:
            port = self.random.randrange(1024, 65_536)
            if port not in taken and (port, remote) not in self.spoiled:
                return port

    def _expire(self, now: float) -> None:
        kept = {flow: known for flow, known in self.flows.items() if now - known[1] < self.lifetime}
        if len(kept) < len(self.flows) and self.kind is not NatKind.SEQUENTIAL:
            self.next_port += 1
        self.flows = kept
        self.spoiled = {flow: at for flow, at in self.spoiled.items() if now - at < self.lifetime}


class Nats:
    """Who is behind which router, and between whom nothing passes."""

    def __init__(self) -> None:
        self.of: Final[dict[str, SimulatedNat]] = {}
        """Routers by the inner hosts' addresses."""
        self._routers: Final[dict[str, SimulatedNat]] = {}
        self._blocked: Final[set[frozenset[str]]] = set()

    def put(self, host: str, router: SimulatedNat) -> None:
        """Put a host behind a router; several may be behind one."""
        self.of[host] = router
        nat: SimulatedNat | None = router
        while nat is not None:
            self._routers[nat.public] = nat
            nat = nat.carrier

    def block(self, one: str, other: str) -> None:
        """From now on nothing passes between these two public addresses."""
        self._blocked.add(frozenset((one, other)))

    def leave(self, inner: Address, target: Address, now: float) -> Address:
        """The address that the target sees for a packet from a host's own address."""
        nat = self.of.get(inner[0])
        if nat is not None and self.of.get(target[0]) is nat:
            return inner
        source = inner
        while nat is not None:
            source = nat.out(source, target, now)
            if target[0] == nat.public:
                break
            nat = nat.carrier
        return source

    def holder(self, target: Address) -> Address | None:
        """The host's own address that stands behind an address as the world sees it, be it let in or not."""
        inner: Address | None = target
        while inner is not None and (nat := self._routers.get(inner[0])) is not None:
            inner = nat.holder(inner[1])
        return inner

    def arrive(self, source: Address, target: Address, now: float) -> Address | None:
        """The host's own address that a packet gets to, `source` being what `leave` said; None: it gets nowhere."""
        if frozenset((source[0], target[0])) in self._blocked:
            return None
        if target[0] in self.of:
            return target if self.of.get(source[0]) is self.of[target[0]] else None
        while (nat := self._routers.get(target[0])) is not None:
            if nat.public == source[0] and not nat.hairpin:
                return None
            inner = nat.into(source, target[1], now)
            if inner is None:
                return None
            target = inner
        return target
