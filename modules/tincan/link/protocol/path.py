"""Direct paths of one session: candidates are probed, the best that answers carries the traffic, a dead one is left.

A path whose suspicion a lost probe has confirmed is `failing`: what is sent goes over the overlay as well, until it
answers or is given up, so that a dead path costs a second or two and a late answer costs nothing.

A path is a local socket and an address of the peer's; an `Endpoint` names both. It goes from `trying` to `live` when a
probe of ours was answered through it; a live path that stays silent while we send is `suspect` and probed twice a
second, and is given up after three seconds. Times are in seconds on one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv6Address, ip_address, ip_network
from math import inf
from typing import Final

from ipop_core.round_trip import RoundTrip

from .events import Endpoint
from .history import History
from .mtu import MtuSearch

TRY_DELAYS: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 1.9)
"""Between the probes of a candidate; it is forgotten after the last (a hole may need both sides' third try)."""
KEEPALIVE: Final = 15.0
"""Well under the 30 s after which Linux and many home routers forget a UDP mapping."""
SHORTEST_KEEPALIVE: Final = 5.0
KEEPALIVE_CUT: Final = 0.6
"""A path that died of an idle time is kept alive so much more often from then on."""
BYPASSED_AFTER: Final = 0.5
"""A path that was not heard for so long is asked when the peer sends over the overlay instead."""
SILENT_AFTER: Final = 0.3
"""A path that owes us an answer for so long gives way to another that has just answered."""
STALE_AFTER: Final = 20.0
"""A path in use that was not heard for so long, longer than keepalives take, gives way to another that was."""
SUSPECT_AFTER: Final = 1.0
SUSPECT_INTERVAL: Final = 0.5
RELAY_SUSPECT_AFTER: Final = 0.4
RELAY_SUSPECT_INTERVAL: Final = 0.3
"""The same for a link that carries other sessions' packets: 0.7 s after its end they go by another relay."""
RELAYING: Final = 5.0
"""Seconds for which a link counts as one of those after the last such packet."""
SLOWEST: Final = 2.5
"""Seconds that answers may take at most before their lack means anything, where they have taken that long."""
LATELY: Final = 30.0
RTTS: Final = 1.5
"""Round trips that an answer may take before its lack means anything."""
DEAD_AFTER: Final = 3.0
PASSIVE_LIFETIME: Final = 60.0
MAX_PATHS: Final = 48
BETTER: Final = 0.7
"""A live path replaces a live one only when its round trip is under this part of the other's."""
NEARER: Final = 1.3
NEARER_SLACK: Final = 0.002
"""A path to a private address may be slower by this factor and these seconds, and still replaces one over routers."""


PRIVATE: Final = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")))
"""RFC 1918, RFC 4193, and what is local to a link."""


class State(Enum):
    TRYING = "trying"
    LIVE = "live"
    SUSPECT = "suspect"


@dataclass(slots=True)
class Path:
    """One UDP address of the peer."""

    endpoint: Endpoint
    state: State = State.TRYING
    rtt: float | None = None
    heard: float = 0.0
    waiting_since: float | None = None
    """When we sent without having heard anything since."""
    tries: int = 0
    next_probe: float = 0.0
    mtu: MtuSearch = field(default_factory=MtuSearch)
    probes: dict[bytes, float] = field(default_factory=dict)
    """Tokens in flight, and when each left."""
    asked: bool = False
    """A probe is wanted now, whatever was heard."""
    unanswered: int = 0
    """Probes since it came under suspicion."""
    failing: bool = False
    relayed: float = -inf
    """When a packet of another session was last handed over on it."""
    seen: tuple[bytes, int] | None = None
    """Where the peer saw us, by its last answer."""
    trip: RoundTrip = field(default_factory=lambda: RoundTrip(unknown=0.0, shortest=0.0, longest=SLOWEST))
    """Of its probes."""
    measured: float = -inf
    """When one was answered last."""
    private: bool = False
    """The address is on a network of the peer's own, and so of ours when it answers."""

    def patience(self, now: float) -> float:
        """Seconds of silence, while we send, after which it is suspect.

        On machines that have too much to do everything is late. To send each packet a second time, over the overlay,
        would only add to that.
        """
        return self._delay(RELAY_SUSPECT_AFTER if now - self.relayed < RELAYING else SUSPECT_AFTER, now)

    def repeat(self, now: float) -> float:
        """Seconds between its probes while it is suspect."""
        return self._delay(RELAY_SUSPECT_INTERVAL if now - self.relayed < RELAYING else SUSPECT_INTERVAL, now)

    def _delay(self, least: float, now: float) -> float:
        slow = self.trip.timeout if now < self.measured + LATELY else 0.0
        return max(least, min(max(RTTS * (self.rtt or 0.0), slow), SLOWEST))


class PathSet:
    """All direct paths of one session."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._paths: dict[Endpoint, Path] = {}
        self.active: Path | None = None
        self.keepalive = KEEPALIVE
        self.history = History()
        self.away_until: float | None = None
        """The peer was turned away until then: what comes directly is taken, and nothing is sent or tried so."""
        self._reserved: Endpoint | None = None

    def __iter__(self) -> Iterator[Path]:
        return iter(self._paths.values())

    def add(self, endpoint: Endpoint, start: float) -> None:
        """Try this address from `start` on; one that is being tried is only tried sooner."""
        if self.away_until is not None:
            return
        path = self._paths.get(endpoint)
        if path is None:
            if len(self._paths) >= MAX_PATHS:
                return
            path = self._paths[endpoint] = _new_path(endpoint)
            path.next_probe = start
            self.history.offered(endpoint, start)
        elif path.state is State.TRYING:
            path.next_probe = min(path.next_probe, start)

    def establish(self, endpoint: Endpoint, rtt: float | None, now: float) -> None:
        """Take an address through which a handshake has just gone both ways."""
        self.away_until = None
        path = self._paths.get(endpoint)
        if path is None:
            if len(self._paths) >= MAX_PATHS:
                self._forget(min((path for path in self if path is not self.active), key=lambda path: path.heard))
            path = self._paths[endpoint] = _new_path(endpoint)
        self._make_live(path, rtt, now)

    def validated(self, endpoint: Endpoint) -> bool:
        path = self._paths.get(endpoint)
        return path is not None and path.state is not State.TRYING

    def heard(self, endpoint: Endpoint, now: float) -> bool:
        """An authentic block came from this address; True when it is a new one that will be tried, as `reflexive`."""
        path = self._paths.get(endpoint)
        if path is None:
            self.reflexive(endpoint, now)
            return endpoint in self._paths
        path.heard = now
        if path.failing:
            return False  # that it works the other way says nothing: an answer to a probe must come
        path.waiting_since = None
        if path.state is State.SUSPECT:
            path.state = State.LIVE
            path.next_probe = now + self.keepalive
        return False

    def reflexive(self, endpoint: Endpoint, now: float) -> None:
        """A probe of the peer's came from this address: what reached us may be reached (RFC 8445, section 7.3.1.4)."""
        if endpoint not in self._paths and endpoint != self._reserved:
            self.add(endpoint, now)

    def answered(self, token: bytes, endpoint: Endpoint, now: float) -> bool:
        """A probe's answer came from this address; False when it is not the answer to a probe sent there."""
        path = self._paths.get(endpoint)
        sent = None if path is None else path.probes.pop(token, None)
        if path is None or sent is None:
            return False
        path.trip.took(now - sent)
        path.measured = now
        self._make_live(path, now - sent, now)
        return True

    def seen(self, endpoint: Endpoint, address: tuple[bytes, int]) -> bool:
        """The peer saw us at this address; True when it saw us at another one before."""
        path = self._paths.get(endpoint)
        if path is None:
            return False
        before, path.seen = path.seen, address
        return before is not None and before != address

    def ask(self) -> None:
        """Probe the path in use now."""
        if self.active is not None:
            self.active.asked = True

    def doubt(self, now: float) -> None:
        """This node's addresses changed: whatever worked is asked again, at once."""
        if self.away_until is not None:
            return
        for path in self._paths.values():
            if path.state is not State.TRYING:
                self._distrust(path, now)

    def bypassed(self, now: float) -> bool:
        """The peer sent over the overlay though there is a direct path; True when that is now asked."""
        path = self.active
        if path is None or path.state is not State.LIVE or now - path.heard < BYPASSED_AFTER:
            return False
        self._distrust(path, now)
        return True

    def reserve(self, endpoint: Endpoint) -> None:
        """This address, by way of that socket, is for a test: what comes from it makes no path."""
        self._reserved = endpoint

    def leave(self, endpoint: Endpoint) -> None:
        """Forget an address that has only been heard of, and not been tried yet."""
        path = self._paths.get(endpoint)
        if path is not None and path.state is State.TRYING and not path.tries:
            del self._paths[endpoint]

    def turn_away(self, until: float) -> None:
        """Use no direct path for now, and try none; those that worked are still listened to, until they are silent."""
        self.away_until, self.active = until, None
        for path in [path for path in self._paths.values() if path.state is State.TRYING]:
            self._forget(path)

    def welcome(self) -> None:
        """Direct paths are used again: they are tried as if nothing were known of them."""
        if self.away_until is not None:
            self.away_until = None
            self.drop_all()

    def drop_all(self) -> None:
        self._paths.clear()
        self.active = None

    def wake(self, now: float, *, keep: bool) -> list[tuple[Endpoint, bytes]]:
        """Move every path on; returns the probes to send, as (address, token). `keep`: this side wants the link."""
        probes: list[tuple[Endpoint, bytes]] = []
        if self.away_until is not None:
            for path in [path for path in self._paths.values() if now - path.heard >= PASSIVE_LIFETIME]:
                self._forget(path)
            return probes
        for path in list(self._paths.values()):
            if self._expired(path, now, keep=keep):
                self._forget(path)
                continue
            self._suspect(path, now)
            if self._due(path, now, keep=keep):
                probes.append((path.endpoint, self._probe(path, now)))
        self._leave_stale(now)
        return probes

    def _leave_stale(self, now: float) -> None:
        """Where the peer's router forgot a mapping while the link was idle, the peer is heard from another address."""
        active = self.active
        if active is None or now - active.heard < STALE_AFTER:
            return
        live = [path for path in self._paths.values() if path.state is State.LIVE]
        newest = max(live, key=lambda path: path.heard, default=active)
        if now - newest.heard < STALE_AFTER:
            self.active = newest

    def next_wake(self, *, keep: bool) -> float | None:
        """When `wake` has something to do, if nothing is heard before."""
        if self.away_until is not None:
            return min((path.heard + PASSIVE_LIFETIME for path in self._paths.values()), default=None)
        times = []
        for path in self._paths.values():
            if path.state is State.LIVE:
                times.append(path.heard + PASSIVE_LIFETIME)
                if path.waiting_since is not None:
                    times.append(path.waiting_since + path.patience(path.waiting_since))
                if keep:
                    times.append(max(path.next_probe, path.heard + self.keepalive))
            else:
                times.append(path.next_probe)
        return min(times, default=None)

    def _distrust(self, path: Path, now: float) -> None:
        path.state, path.failing = State.SUSPECT, True
        path.next_probe, path.waiting_since = now, now - path.patience(now)

    def _make_live(self, path: Path, rtt: float | None, now: float) -> None:
        path.state = State.LIVE
        path.failing = False
        path.heard = now
        path.waiting_since = None
        path.next_probe = now + self.keepalive
        if rtt is not None:
            path.rtt = rtt if path.rtt is None else min(rtt, 0.8 * path.rtt + 0.2 * rtt)
        self.history.answered(path.endpoint, path.rtt, now)
        self._choose(path, now)

    def _choose(self, path: Path, now: float) -> None:
        active = self.active
        if self.away_until is not None:
            return
        if active is None or active.state is State.SUSPECT or is_silent(active, now):
            self.active = path
        elif path.rtt is not None and active.rtt is not None:
            nearer = path.private and not active.private and path.rtt < NEARER * active.rtt + NEARER_SLACK
            farther = active.private and not path.private
            if nearer or (not farther and path.rtt < BETTER * active.rtt):
                self.active = path

    def _expired(self, path: Path, now: float, *, keep: bool) -> bool:
        if path.state is State.TRYING:
            return path.tries > len(TRY_DELAYS) and now >= path.next_probe
        if path.state is State.SUSPECT:
            dead = path.waiting_since is not None and now - path.waiting_since >= path.patience(now) + DEAD_AFTER
            if dead and path.waiting_since is not None and path.waiting_since - path.heard >= self.keepalive:
                self.keepalive = max(SHORTEST_KEEPALIVE, KEEPALIVE_CUT * self.keepalive)
            return dead
        return not keep and now - path.heard >= PASSIVE_LIFETIME

    def _suspect(self, path: Path, now: float) -> None:
        silent = path.waiting_since is not None and now - path.waiting_since >= path.patience(path.waiting_since)
        if path.state is State.LIVE and silent:
            path.state = State.SUSPECT
            path.next_probe = now
            path.unanswered = 0

    def _due(self, path: Path, now: float, *, keep: bool) -> bool:
        if path.asked:
            return True
        if path.state is not State.LIVE:
            return now >= path.next_probe
        return keep and now >= max(path.next_probe, path.heard + self.keepalive)

    def _probe(self, path: Path, now: float) -> bytes:
        token = self._random(8)
        path.asked = False
        if len(path.probes) >= 8:
            path.probes.pop(next(iter(path.probes)))
        path.probes[token] = now
        self.history.probed(path.endpoint)
        if path.state is State.TRYING:
            path.next_probe = now + TRY_DELAYS[min(path.tries, len(TRY_DELAYS) - 1)]
            path.tries += 1
            return token
        if path.state is State.SUSPECT:
            path.failing = path.failing or path.unanswered > 0
            path.unanswered += 1
        path.next_probe = now + (path.repeat(now) if path.state is State.SUSPECT else self.keepalive)
        if path.waiting_since is None:
            path.waiting_since = now
        return token

    def _forget(self, path: Path) -> None:
        del self._paths[path.endpoint]
        self.history.left(path.endpoint, was_live=path.state is not State.TRYING)
        if path is not self.active:
            return
        live = [other for other in self._paths.values() if other.state is State.LIVE]
        self.active = min(live, key=lambda other: other.rtt or 1.0, default=None)


def is_silent(path: Path, now: float) -> bool:
    return path.waiting_since is not None and now - path.waiting_since >= SILENT_AFTER


def _new_path(endpoint: Endpoint) -> Path:
    ip = ip_address(endpoint[0].partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return Path(endpoint, private=any((mapped or ip) in network for network in PRIVATE))
