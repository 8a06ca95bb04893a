"""What the link machine tells its adapter: frozen facts, in the order in which they happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from ipop_core.authority.revocation import RevocationList

Endpoint: TypeAlias = tuple[Any, ...]
"""A UDP address as the socket gives it: (host, port, flow, scope) on a dual-stack socket."""


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A direct path to a node carries its traffic from now on."""

    node: bytes
    endpoint: Endpoint
    initiator: bool


@dataclass(frozen=True, slots=True)
class Contacted:
    """A handshake of ours with a UDP address succeeded, and this node answered there."""

    node: bytes
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class LinkDown:
    """No direct path to that node any more."""

    node: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class PathChanged:
    """Traffic moved from one direct path to another."""

    node: bytes
    endpoint: Endpoint
    reason: str


@dataclass(frozen=True, slots=True)
class SessionUp:
    """Keys are agreed with a node that was not in session; `hops` is None on a direct path."""

    node: bytes
    hops: int | None


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """A session and its keys are gone."""

    node: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """A handshake got no answer, or a refusal; `node` or `endpoint` says which."""

    node: bytes | None
    endpoint: Endpoint | None
    reason: str


@dataclass(frozen=True, slots=True)
class MemberProven:
    """A peer proved that it belongs to this node's namespace; its addresses are still only claims."""

    node: bytes


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A member sent this card frame from an address that is not known to be its own; told now and then."""

    node: bytes
    frame: bytes


@dataclass(frozen=True, slots=True)
class GroupFrame:
    """A member handed over the body of a BROADCAST frame."""

    node: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class MemberRefused:
    """A peer wanted to be a member, but the namespace's authority does not vouch for it."""

    node: bytes
    reason: str
    """A code (`certificates.Fault`)."""
    detail: str


@dataclass(frozen=True, slots=True)
class RevocationsLearnt:
    """A newer list of revoked certificates came: keep it."""

    list: RevocationList


@dataclass(frozen=True, slots=True)
class FilteringKnown:
    """The test of the NAT's filter is over (`filtering.py`)."""


@dataclass(frozen=True, slots=True)
class RendezvousWanted:
    """A session over the overlay wants a direct path."""

    node: bytes


@dataclass(frozen=True, slots=True)
class DirectWanted:
    """Card traffic for a node goes over the overlay."""

    node: bytes


@dataclass(frozen=True, slots=True)
class CardIdle:
    """No card traffic for that node for a while."""

    node: bytes


@dataclass(frozen=True, slots=True)
class Observed:
    """A peer, asked at `endpoint`, sees this node at that address (IP bytes, port)."""

    node: bytes
    endpoint: Endpoint
    ip: bytes
    port: int


@dataclass(frozen=True, slots=True)
class RoleData:
    """Data for the module that fills a role here. `to` None: sealed end to end, the sender is proven."""

    role: str
    sender: bytes
    data: bytes
    to: bytes | None = None
    via: bytes | None = None
    link: bytes | None = None
    hops: int = 0


@dataclass(frozen=True, slots=True)
class PingAnswered:
    """The answer to a ping with that token."""

    token: bytes
    node: bytes
    rtt: float
    direct: bool
    hops: int


@dataclass(frozen=True, slots=True)
class TraceAnswered:
    """The node where a traced packet with that token came to its end, as it says itself."""

    token: bytes
    node: bytes


Event: TypeAlias = (
    LinkUp
    | Contacted
    | LinkDown
    | PathChanged
    | SessionUp
    | SessionClosed
    | ConnectFailed
    | MemberProven
    | Unplaced
    | GroupFrame
    | MemberRefused
    | RevocationsLearnt
    | FilteringKnown
    | RendezvousWanted
    | DirectWanted
    | CardIdle
    | Observed
    | RoleData
    | PingAnswered
    | TraceAnswered
)
