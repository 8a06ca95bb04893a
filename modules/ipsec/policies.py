"""Which packets on the virtual card must be ESP, and which may pass or never do: the security policies of one card.

They are what the tutorial wrote into setkey.conf, made to fail closed: they stand in the kernel whether anybody
negotiates keys or not, and without keys nothing passes.

- Between this node and its subnet: ESP in transport mode, or nothing.
- Neighbour discovery (ICMPv6 135 and 136, RFC 4861) passes: without it no IPv6 address is ever found.
- Everything else on the card is blocked. Multicast and broadcast can't be negotiated between two, so mDNS and its kin
  would leave in plaintext.
- IKE needs no exception: charon's own sockets carry one, and no other program's.

Policies are bound to the card where the kernel can tell (6.1 and 6.18 were tried). Outbound IPv4 and link-local IPv6
are. For what arrives at an address of this machine it asks with the loopback card, where the route of a local address
leads. For outbound IPv6 it asks before it knows the card, unless the program chose one: a policy that is bound to the
card would let everything else leave in plaintext. There the policies are bound to the subnet instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_network
from typing import Final, Literal, TypeAlias

Interface: TypeAlias = IPv4Interface | IPv6Interface
Network: TypeAlias = IPv4Network | IPv6Network
Direction: TypeAlias = Literal["in", "out", "fwd"]
Action: TypeAlias = Literal["esp", "allow", "block"]

EXCEPTION: Final = 10
NEGOTIATED: Final = 15
"""Charon's own: for one peer, naming the association to use, so that a change of keys loses no packet."""
PROTECT: Final = 20
BLOCK: Final = 30
"""Priorities; of several policies that match, the kernel takes the one with the lowest."""

NEIGHBOUR_DISCOVERY: Final = (135, 136)
"""ICMPv6 types: solicitation and advertisement (RFC 4861, sections 4.3 and 4.4)."""
_ALL4: Final = IPv4Network("0.0.0.0/0")
_ALL6: Final = IPv6Network("::/0")


@dataclass(frozen=True, slots=True)
class Policy:
    """What becomes of packets from `source` to `destination`; `card` is an interface index, 0 for any."""

    direction: Direction
    action: Action
    source: Network
    destination: Network
    priority: int
    card: int = 0
    icmp6_type: int | None = None


def policies_for(interfaces: Iterable[Interface], card: int) -> list[Policy]:
    """All policies of the card with this index and these addresses."""
    policies = [*_neighbour_discovery(card), *_nothing_else(card)]
    for interface in interfaces:
        policies += _of_interface(interface, card)
    return list(dict.fromkeys(policies))


def _neighbour_discovery(card: int) -> Iterator[Policy]:
    for kind in NEIGHBOUR_DISCOVERY:
        yield Policy("out", "allow", _ALL6, _ALL6, EXCEPTION, card, kind)
        yield Policy("in", "allow", _ALL6, _ALL6, EXCEPTION, card, kind)


def _nothing_else(card: int) -> Iterator[Policy]:
    for everything in (_ALL4, _ALL6):
        for direction in ("out", "in", "fwd"):
            yield Policy(direction, "block", everything, everything, BLOCK, card)


def _of_interface(interface: Interface, card: int) -> Iterator[Policy]:
    own, subnet = ip_network(interface.ip), interface.network
    everything = _ALL4 if interface.version == 4 else _ALL6
    outbound = card if interface.version == 4 else 0
    yield Policy("out", "esp", own, subnet, PROTECT, outbound)
    yield Policy("in", "esp", subnet, own, PROTECT)
    yield Policy("in", "block", subnet, everything, BLOCK)
    yield Policy("fwd", "block", subnet, everything, BLOCK)
    yield Policy("fwd", "block", everything, subnet, BLOCK)
    if isinstance(interface, IPv4Interface):
        if interface.network.prefixlen < 31:
            broadcast = IPv4Network(interface.network.broadcast_address)
            yield Policy("out", "block", own, broadcast, EXCEPTION, card)
        return
    yield Policy("out", "block", own, everything, BLOCK)
    yield Policy("out", "block", everything, subnet, BLOCK)
    # What a machine sends to itself: over IPv4 the kernel does not ask.
    yield Policy("out", "allow", own, own, EXCEPTION)
    yield Policy("in", "allow", own, own, EXCEPTION)
    for kind in NEIGHBOUR_DISCOVERY:
        yield Policy("in", "allow", subnet, _ALL6, EXCEPTION, icmp6_type=kind)
