"""What is known of one peer: its keys, its paths, who wants the link, and what waits for it to come up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from ipop_core.authority.peers import BadCertificate, PeerCertificate
from ipop_core.identity import Address
from ipop_core.token_bucket import TokenBucket

from .block import MAX_BLOCK
from .holding import Held, Room
from .keys import KeyPair
from .loss import SILENCE, BlockSizer
from .path import PathSet
from .waiting import Waiting

if TYPE_CHECKING:
    from .relays import Relay

MAX_WAITING_CONTROL: Final = 256
MAX_OLDER: Final = 2
"""Pairs of keys beside the newest under which blocks may still come."""
MAX_ASIDE: Final = 4096
CARD_IDLE: Final = 60.0
SESSION_IDLE: Final = 120.0
SEEK_AGAIN: Final = 16.0
"""A wish for a direct path that came to nothing is told again after so long, and then ever later."""
SEEK_LONGEST: Final = 256.0
KEYLESS_IDLE: Final = 30.0
"""Nothing came of the handshakes for so long: well past their last repetition (establish.py)."""
ASK_AFTER: Final = 1.0
LEAVE_AFTER: Final = 2.0
LOST_AFTER: Final = 3.0
"""Over the overlay: a peer that has not been heard for so long after we sent is asked, by the same relay and then by
another, and then greeted anew."""
ACKNOWLEDGE_AFTER: Final = 0.25
"""A message on a direct path that nothing goes back for is acknowledged so soon, that the peer need not probe."""
PROOF_REPEAT: Final = 0.5
PROOF_WANTED: Final = 0.1
"""A peer that says that it has not seen our proof gets it again so soon: the first may have overtaken the keys."""
REKEY_AGAIN: Final = 6.0
"""Seconds until a handshake for new keys that came to nothing is begun anew: it repeats itself (establish.py)."""
RESPONDER_PATIENCE: Final = 10.0
"""How much longer than the initiator the responder waits before it changes keys itself."""


class SourceCheck(Protocol):
    """Which inner source addresses the peer may use (card/protocol/source.py)."""

    def refusal(self, frame: memoryview, /) -> str:
        """Why the frame must be dropped, as a counter's name; empty when it may pass."""
        ...


@dataclass(slots=True)
class Keys:
    """A pair of keys and what came with the handshake that made it."""

    pair: KeyPair
    handshake_hash: bytes
    confirmed: bool
    """The other side has been heard under these keys."""
    begun: float
    """When their handshake began: the INIT that was answered went out, or came in."""
    sizer: BlockSizer
    aside: deque[int] = field(default_factory=lambda: deque(maxlen=MAX_ASIDE))
    """Numbers of blocks that went elsewhere than by the path in use, or that may well be too long for it."""
    proof_sent: float = -inf
    """When we last proved our membership under these keys."""


@dataclass(slots=True)
class Counters:
    bytes_in: int = 0
    bytes_out: int = 0
    blocks_in: int = 0
    blocks_out: int = 0
    datagrams_out: int = 0

    def add(self, other: Counters) -> None:
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.blocks_in += other.blocks_in
        self.blocks_out += other.blocks_out
        self.datagrams_out += other.datagrams_out


@dataclass(slots=True)
class Session:
    """One peer. Times are seconds on one monotonic clock; the node id is 20 bytes."""

    node: bytes
    paths: PathSet
    created: float
    kinds: set[str] = field(default_factory=set)
    via: bytes | None = None
    """The node through which the peer can be reached while one of the two is not in the ring."""
    hops: int | None = None
    """Overlay links that the peer's last packet over the overlay took."""
    overlay_rtt: float | None = None
    relays: tuple[Relay, ...] = ()
    """Neighbours of both sides that packets go by while there is no direct path, the best one first."""
    relays_told: float = -inf
    """When the peer was told our neighbours."""
    relays_answered: float = -inf
    """When it was because the peer asked."""
    seek_at: float = inf
    """When a rendezvous is asked for again, while there is no direct path."""
    seek_wait: float = SEEK_AGAIN
    certificate: PeerCertificate | None = None
    release: str = ""
    """Of the peer's program, as it says."""
    keys: Keys | None = None
    older: list[Keys] = field(default_factory=list)
    estranged: float = -inf
    """When it was greeted last because it seemed to have other keys."""
    rekey_again: float = -inf
    """Keys that are due to be changed wait until then for the handshake that is under way."""
    vouched: tuple[Address, ...] | None = None
    """The addresses that the namespace's authority gave the peer; None where it vouches for nothing."""
    refusal: BadCertificate | None = None
    """Why the authority does not vouch for the peer; None again once that was told."""
    member: bool = False
    """The peer has proven that it belongs to our namespace."""
    proof_asked: float = -inf
    carries_card: bool = False
    """We have, or had, card frames for the peer, or it proved itself to us: we prove ourselves to it."""
    source: SourceCheck | None = None
    heard: float = 0.0
    owed_since: float | None = None
    """When a message came on the direct path that nothing has gone back for yet."""
    is_needed: bool = False
    """Whether this side needed the link when it was last looked after."""
    part_at: float = inf
    """When the peer is told that this side needs the link no more, or when its answer is waited for no longer."""
    is_parting: bool = False
    """The peer was told, and may be closing the link."""
    unheard_since: float | None = None
    """When we sent over the overlay without having heard anything since."""
    asked: int = 0
    """How often we have asked for a sign of life since then."""
    last_card: float = 0.0
    idle_told: bool = True
    demand_told: float = 0.0
    unplaced_told: float = -inf
    """When it was told last that the peer sends from an address that is not known to be its own."""
    pongs: TokenBucket | None = None
    """How many more of the peer's pings are answered; from the first one on."""
    said: TokenBucket | None = None
    """How many more messages to roles are heard that the peer says (hearing.py); from the first one on."""
    handed: TokenBucket | None = None
    """And of those for roles here that it hands over as a neighbour."""
    torn_told: float = -inf
    """When the peer was told last that only parts of its blocks come."""
    waiting: Waiting = field(default_factory=Waiting)
    """Runs of card frames that wait for keys and the peer's proof."""
    waiting_control: deque[bytes] = field(default_factory=deque)
    """Control frames that wait for keys."""
    held: Held = field(default_factory=lambda: Held(Room()))
    """Card frames from the peer, until the directory has confirmed its address."""
    block_limit: int = MAX_BLOCK
    """The most bytes of plaintext that a block may have: less on a path that loses datagrams."""
    repairs: bool = True
    """Behind each block that takes more than one datagram goes another that can stand for any of them."""
    counters: Counters = field(default_factory=Counters)

    @property
    def direct(self) -> bool:
        return self.keys is not None and self.paths.active is not None

    @property
    def failing(self) -> bool:
        """There is a direct path, and it has probably died."""
        return self.paths.active is not None and self.paths.active.failing

    @property
    def wanted(self) -> bool:
        return bool(self.kinds)

    def keep_alive(self, now: float) -> bool:
        """Whether this side sends keepalives."""
        return bool(self.kinds) or now - self.last_card < CARD_IDLE

    def take_keys(self, fresh: Keys, own: bytes) -> list[Keys]:
        """Use new keys, or where others are preferred only receive under them; returns those that are dropped.

        The two sides need not prefer the same, but each must seal with keys that the other has.
        """
        current = self.keys
        if current is None or not self._prefers_current(current, fresh, own):
            if current is not None:
                self.older.insert(0, current)
            self.keys = fresh
        else:
            self.older.insert(0, fresh)
        dropped = []
        while len(self.older) > MAX_OLDER:
            sending = self.sending_keys()
            dropped.append(next(keys for keys in reversed(self.older) if keys is not sending))
            self.older.remove(dropped[-1])
        return dropped

    def _prefers_current(self, current: Keys, fresh: Keys, own: bytes) -> bool:
        """A handshake that began after the current keys were made is news: the peer may have no others any more.

        The last message of any other may have come late, and the peer may have thrown its keys away meanwhile. Of two
        that crossed, when neither is known to have arrived, both sides prefer the one of the lower id.
        """
        if fresh.begun > current.pair.created:
            return False
        if current.pair.is_initiator == fresh.pair.is_initiator:
            return fresh.begun < current.begun
        return current.confirmed or current.pair.is_initiator == (own < self.node)

    def is_outdated(self, keys: Keys) -> bool:
        """Whether the peer and this node have greeted each other anew since these keys were made."""
        return any(other.begun > keys.pair.created for other in self.all_keys())

    def rekey_due(self, now: float) -> bool:
        keys = self.keys
        if keys is None:
            return False
        return now >= max(self._rekey_at(keys), self.rekey_again)

    def _rekey_at(self, keys: Keys) -> float:
        return keys.pair.rekey_at + (0.0 if keys.pair.is_initiator else RESPONDER_PATIENCE)

    def expired_keys(self, now: float) -> list[Keys]:
        """Take out keys that are too old to be used."""
        expired = [keys for keys in self.older if now >= keys.pair.refuse_at]
        self.older = [keys for keys in self.older if now < keys.pair.refuse_at]
        if self.keys is not None and now >= self.keys.pair.refuse_at:
            expired.append(self.keys)
            self.keys = self.older.pop(0) if self.older else None
        return expired

    def sending_keys(self) -> Keys | None:
        """The keys to seal with: fresh ones once the peer is known to have them."""
        keys = self.keys
        if keys is None or keys.confirmed or not self.older:
            return keys
        return next((older for older in self.older if older.confirmed), keys)

    def all_keys(self) -> list[Keys]:
        """Every pair of keys under which blocks of the peer may still come."""
        return self.older + ([] if self.keys is None else [self.keys])

    def is_over(self, now: float) -> bool:
        """Whether nobody needs the session any more."""
        deadline = self._idle_at()
        return deadline is not None and now >= deadline

    def next_wake(self, now: float) -> float | None:
        times = [self.paths.next_wake(keep=self.keep_alive(now))]
        if self.paths.active is None:
            times.append(self.seek_at)
        else:
            times.append(self.paths.active.mtu.next_wake)
        if self.keys is not None:
            times += [max(self._rekey_at(self.keys), self.rekey_again), self.keys.pair.refuse_at]
        sending = self.sending_keys()
        if sending is not None and self.waiting and not self.member:
            times.append(sending.proof_sent + PROOF_REPEAT)
        if self.unheard_since is not None:
            after = (ASK_AFTER, LEAVE_AFTER, LOST_AFTER)[self.asked]
            times.append(self.unheard_since + after)
        if not self.idle_told:
            times.append(self.last_card + CARD_IDLE)
        if now < self.last_card + 2 * SILENCE:
            times.append(now + SILENCE)
        if self.owed_since is not None:
            times.append(self.owed_since + ACKNOWLEDGE_AFTER)
        times += [self.part_at, self.waiting.next_deadline, self.held.next_deadline, self._idle_at()]
        return min((time for time in times if time is not None and time < inf), default=None)

    def _idle_at(self) -> float | None:
        """When the session is over if nothing more happens; None while it is wanted."""
        quiet_since = max(self.heard, self.last_card, self.created)
        if self.keys is None:
            return quiet_since + KEYLESS_IDLE
        return None if self.wanted else quiet_since + SESSION_IDLE


def new_session(node: bytes, random: Callable[[int], bytes], room: Room, now: float) -> Session:
    return Session(node, PathSet(random), now, held=Held(room))
