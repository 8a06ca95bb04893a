"""A home: a router on the public segment, a network of its own behind it, and a host there."""

from __future__ import annotations

from dataclasses import dataclass

from ipop_core.lab.host import Host
from ipop_core.lab.nat import NatKind
from ipop_core.lab.segment import Segment


@dataclass(frozen=True)
class Router:
    """A home router: its card `wan` is on the public segment, its bridge `lan` is the home's network."""

    wan: Host
    lan: Segment
    carrier: Router | None = None
    """The carrier's router, where this one's card `wan` is in the carrier's network and not on the public segment."""

    @property
    def public_address(self) -> str:
        """The IPv4 address that the world sees."""
        return self.wan.address if self.carrier is None else self.carrier.public_address


@dataclass(frozen=True)
class Home:
    name: str
    kind: NatKind
    host: Host
    router: Router | None
    """None where the kind is OPEN: then the host itself is on the public segment."""

    @property
    def public_address(self) -> str:
        """The IPv4 address that the world sees."""
        return self.router.public_address if self.router else self.host.address
