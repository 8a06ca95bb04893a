"""What `ipop netcheck` and `ipop why` tell: the NAT in front of this node, and why a peer's path is what it is."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from ipop_core.bus.api import JsonObject

from .link.protocol.mapping import Mapping, Nat
from .link.protocol.searching import Refusal
from .link.protocol.session import Session
from .link.udp import show_endpoint
from .reach import IPV4, IPV6

if TYPE_CHECKING:
    from .module import Tincan

NEAREST: Final = 5
SWITCHED_OFF: Final = "switched off by `port_mapping` of the module tincan"
DIRECTNESS: Final = {
    Mapping.UNKNOWN: "Too few peers have told at which address they see this node: two at different addresses must.",
    Mapping.NONE: "No NAT: peers reach this node at its own address, unless a firewall is in between.",
    Mapping.INDEPENDENT: "A NAT that punching goes through: direct links with all but peers behind a symmetric one, "
    "and with those by a search.",
    Mapping.ADDRESS_DEPENDENT: "A symmetric NAT towards other hosts: direct links with open and easy peers, and by a "
    "search with strict ones; relayed with peers behind another symmetric one.",
    Mapping.DEPENDENT: "A symmetric NAT: direct links with open and easy peers, and by a search with strict ones; "
    "relayed with peers behind another symmetric one, unless ports count up regularly.",
}

_WAITS: Final = {
    Refusal.BUSY: "this node searches for another peer",
    Refusal.RESTING: "the last one was in vain",
}


def netcheck(tincan: Tincan) -> JsonObject:
    """The answer of the action `netcheck`."""
    sessions = [session for session in tincan.machine.sessions.values() if session.direct]
    paths = [(session, path) for session in sessions if (path := session.paths.active) is not None]
    paths.sort(key=lambda found: inf if found[1].rtt is None else found[1].rtt)
    nearest = [
        {"node": session.node.hex(), "endpoint": _show(tincan, path.endpoint), "rtt_ms": _ms(path.rtt)}
        for session, path in paths[:NEAREST]
    ]
    lifetime = tincan.machine.mapping_lifetime
    return {
        "port": tincan.udp.port,
        "own": tincan.reach.own,
        "ipv4": _family(tincan.reach.nat(IPV4)),
        "ipv6": _family(tincan.reach.nat(IPV6)),
        "filtering": tincan.machine.filtering.filtering.value,
        "hairpin": tincan.machine.filtering.hairpin,
        "lifetime": {"at_least_s": lifetime.at_least, "at_most_s": lifetime.at_most},
        "port_mapping": _mapping(tincan),
        "port_mapping_fault": tincan.gateway.fault if tincan.settings.port_mapping else SWITCHED_OFF,
        "keepalive_s": min((session.paths.keepalive for session in sessions), default=None),
        "mtu": max((path.mtu.size for _, path in paths), default=None),
        "nearest": nearest,
        "search": {"datagrams": tincan.settings.search_datagrams, "sockets": tincan.settings.search_sockets},
    }


def why(tincan: Tincan, session: Session) -> JsonObject:
    """The answer of the action `why`."""
    now = tincan.now()
    path = session.paths.active
    trials = [
        {
            "endpoint": _show(tincan, endpoint),
            "socket": endpoint[-1] if len(endpoint) > tincan.udp.endpoint_length else 0,
            "outcome": trial.outcome,
            "probes": trial.probes,
            "answers": trial.answers,
            "rtt_ms": _ms(trial.rtt),
            "since_s": round(now - trial.since, 1),
        }
        for endpoint, trial in session.paths.history.trials.items()
    ]
    theirs = tincan.reach.told.get(session.node)
    ours = tincan.reach.nat()
    return {
        "node": session.node.hex(),
        "path": "none" if session.keys is None else "direct" if path is not None else "overlay",
        "endpoint": None if path is None else _show(tincan, path.endpoint),
        "rtt_ms": _ms(path.rtt if path is not None else session.overlay_rtt),
        "wanted": sorted(session.kinds),
        "nat": {"ours": ours.mapping.value, "theirs": None if theirs is None else theirs["mapping"]},
        "relays": [{"node": relay.node.hex(), "rtt_ms": _ms(relay.rtt)} for relay in session.relays],
        "tried": trials,
        "held_back": session.paths.history.held_back,
        "search": {
            **tincan.machine.searching.told(session.node, now),
            "peer_able": None if theirs is None else theirs.get("able", True),
        },
        "reason": _reason(tincan, session, ours, None if theirs is None else Mapping(theirs["mapping"])),
    }


def _reason(tincan: Tincan, session: Session, ours: Nat, theirs: Mapping | None) -> str:
    """One or two sentences for people."""
    path = session.paths.active
    if session.keys is None:
        return (
            "No session: the node has not answered a handshake. It may be down, or no way over the overlay leads there."
        )
    if path is not None:
        others = [other for other in session.paths if other is not path and other.rtt is not None]
        if len(path.endpoint) > tincan.udp.endpoint_length:
            return "Direct, by a socket that a search through a symmetric NAT opened."
        return "Direct: " + ("the best of the addresses that answer." if others else "the one address that answers.")
    if not session.wanted:
        return "Over the overlay: nothing wants a direct path, because little or no traffic goes to this node."
    trials = session.paths.history.trials.values()
    if not trials:
        return "Over the overlay: the other side has not told its addresses yet."
    if any(trial.outcome == "trying" for trial in trials):
        return "Over the overlay, while addresses are being tried."
    if any(trial.outcome == "lost" for trial in trials):
        return "Over the overlay: the direct path that there was has gone silent. It is looked for again."
    if ours.mapping.changes and theirs is not None and theirs.changes:
        return "Over the overlay: both sides are behind symmetric NATs, and neither can foresee the other's port."
    if ours.mapping.changes or (theirs is not None and theirs.changes):
        searching = tincan.machine.searching
        if not searching.allowed:
            return "Over the overlay: one side is behind a symmetric NAT, and searching is switched off here."
        refusal = searching.refusal(session.node, tincan.reach.outer_of(session.node), tincan.now())
        if refusal is not None:
            return f"Over the overlay: one side is behind a symmetric NAT, and a search must wait: {_WAITS[refusal]}."
        told = tincan.reach.told.get(session.node)
        if told is not None and not told.get("able", True):
            return "Over the overlay: one side is behind a symmetric NAT, and the other side can't search now."
        return "Over the overlay: one side is behind a symmetric NAT, and the search has not found a way yet."
    return "Over the overlay: no address of the other side answers. A firewall may drop UDP between the two."


def _family(nat: Nat) -> JsonObject:
    return {
        "mapping": nat.mapping.value,
        "outer": None if nat.outer is None else show_endpoint(nat.outer),
        "preserves_port": nat.preserves_port,
        "step": nat.step,
        "pooled": nat.pooled,
        "observers": nat.observers,
        "meaning": DIRECTNESS[nat.mapping],
    }


def _mapping(tincan: Tincan) -> JsonObject | None:
    mapped = tincan.gateway.mapped
    if mapped is None:
        return None
    outer = show_endpoint((mapped.ip, mapped.port))
    return {"protocol": mapped.protocol, "outer": outer, "expires_s": round(mapped.until - tincan.now())}


def _show(tincan: Tincan, endpoint: tuple[object, ...]) -> str:
    return show_endpoint(tincan.udp.address(endpoint))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
