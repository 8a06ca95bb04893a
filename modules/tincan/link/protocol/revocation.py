"""News of revoked certificates, from member to member: who has which list, and the way of a newer one.

Each authority's list has a number that only grows (RFC 5280, section 5.2.3). Members tell each other the numbers that
they have, again until the other side has said its own; whoever has a lower one fetches the list in pieces, from every
peer that offers it, so that a peer which gives none or a wrong one delays nobody. A list counts once its authority's
signature was checked, whoever it came from.

Pure: messages to send are collected in `outbox`, and lists that were learnt in `learnt`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509

from ipop_core.authority.peers import PeerCertificate
from ipop_core.authority.revocation import (
    MAX_DER,
    BadRevocationList,
    RevocationList,
    authority_id,
    read_revocation_list,
)
from ipop_core.token_bucket import TokenBucket

from .control import CRL_PIECE, CrlNumber, CrlPiece, CrlRequest
from .timers import Timers

REPEAT: Final = 0.5
"""Seconds until a message that was not answered is sent again; each time twice as many."""
TRIES: Final = 6
PIECES_RATE: Final = 8.0
PIECES_BURST: Final = MAX_DER / CRL_PIECE
"""The longest list at once, and then so many pieces a second to each peer."""


@dataclass(slots=True)
class _Fetch:
    number: int
    data: bytearray = field(default_factory=bytearray)
    tries: int = 0
    ask_at: float = 0.0


@dataclass(slots=True)
class _Peer:
    holds: dict[bytes, int] = field(default_factory=dict)
    """By authority, the number that the peer is known to have."""
    tells: int = 0
    tell_at: float | None = None
    fetches: dict[bytes, _Fetch] = field(default_factory=dict)
    pieces: TokenBucket | None = None
    """What it may still ask for."""
    lied: bool = False
    """It gave a list that no authority signed: nothing is fetched from it any more."""


class Revocations:
    """The newest list of each authority, and what the members say of theirs. Nodes are ids of 20 bytes."""

    def __init__(self, authorities: Sequence[x509.Certificate], lists: Iterable[RevocationList] = ()) -> None:
        self._authorities: Final = tuple(authorities)
        self._ids: Final = frozenset(authority_id(item) for item in authorities)
        self._lists: Final[dict[bytes, RevocationList]] = {}
        self._peers: Final[dict[bytes, _Peer]] = {}
        self._timers: Final = Timers()
        self.outbox: Final[list[tuple[bytes, CrlNumber | CrlRequest | CrlPiece]]] = []
        self.learnt: Final[list[RevocationList]] = []
        for known in lists:
            if known.authority in self._ids and known.number > self._number(known.authority):
                self._lists[known.authority] = known

    def revokes(self, certificate: PeerCertificate) -> bool:
        """Whether any list has the certificate's serial number, or its key."""
        return any(known.revokes(certificate.serial, certificate.node) for known in self._lists.values())

    def learn(self, der: bytes, now: float) -> tuple[RevocationList, bool]:
        """Take a list, from wherever it comes, and tell the peers if it is news: the list, and whether it is.

        Raises BadRevocationList.
        """
        read = read_revocation_list(der, self._authorities)
        if read.number <= self._number(read.authority):
            return read, False
        self._lists[read.authority] = read
        self.learnt.append(read)
        for node, peer in self._peers.items():
            peer.tells = 0
            self._tell(node, peer, now)
        return read, True

    def greet(self, node: bytes, now: float) -> None:
        """There are fresh keys with a member: find out who has the newer lists."""
        peer = self._peers.setdefault(node, _Peer())
        peer.holds.clear()
        peer.tells = 0
        self._tell(node, peer, now)

    def forget(self, node: bytes) -> None:
        """There is no session with this node, or it is no member any more."""
        self._peers.pop(node, None)
        self._timers.forget(node)

    def received(self, node: bytes, message: CrlNumber | CrlRequest | CrlPiece, now: float) -> None:
        """A message from a member that was greeted; others are not heard."""
        peer = self._peers.get(node)
        if peer is None or message.authority not in self._ids:
            return
        match message:
            case CrlNumber():
                self._told(node, peer, message, now)
            case CrlRequest():
                self._give(node, peer, message, now)
            case CrlPiece():
                self._take(node, peer, message, now)

    def wake(self, now: float) -> None:
        """Repeat what was not answered."""
        for node in self._timers.due(now):
            peer = self._peers.get(node)
            if peer is None:
                continue
            if peer.tell_at is not None and peer.tell_at <= now:
                self._tell(node, peer, now)
            for authority, fetch in list(peer.fetches.items()):
                if fetch.ask_at <= now:
                    self._ask(node, peer, authority, now)
            self._plan(node, peer)

    def next_wake(self) -> float | None:
        return self._timers.next()

    def _number(self, authority: bytes) -> int:
        known = self._lists.get(authority)
        return -1 if known is None else known.number

    def _tell(self, node: bytes, peer: _Peer, now: float) -> None:
        """Tell the peer what it is not known to have."""
        news = [known for known in self._lists.values() if peer.holds.get(known.authority, -1) < known.number]
        if not news or peer.tells >= TRIES:
            peer.tell_at = None
            return
        self.outbox.extend((node, CrlNumber(known.authority, known.number, True)) for known in news)
        peer.tell_at = now + REPEAT * 2**peer.tells
        peer.tells += 1
        self._plan(node, peer)

    def _told(self, node: bytes, peer: _Peer, message: CrlNumber, now: float) -> None:
        authority, number = message.authority, message.number
        peer.holds[authority] = max(number, peer.holds.get(authority, -1))
        own = self._number(authority)
        if number > own:
            fetch = peer.fetches.get(authority)
            if not peer.lied and (fetch is None or fetch.number < number):
                peer.fetches[authority] = _Fetch(number)
                self._ask(node, peer, authority, now)
        elif message.wanted:
            self.outbox.append((node, CrlNumber(authority, own, False)))

    def _ask(self, node: bytes, peer: _Peer, authority: bytes, now: float) -> None:
        fetch = peer.fetches[authority]
        if fetch.tries >= TRIES or fetch.number <= self._number(authority):
            del peer.fetches[authority]
            return
        self.outbox.append((node, CrlRequest(authority, fetch.number, len(fetch.data))))
        fetch.ask_at = now + REPEAT * 2**fetch.tries
        fetch.tries += 1
        self._plan(node, peer)

    def _give(self, node: bytes, peer: _Peer, request: CrlRequest, now: float) -> None:
        known = self._lists.get(request.authority)
        if known is None:
            return
        if peer.pieces is None:
            peer.pieces = TokenBucket(PIECES_RATE, PIECES_BURST, now)
        if not peer.pieces.take(now):
            return
        if known.number != request.number:
            self.outbox.append((node, CrlNumber(request.authority, known.number, False)))
            return
        data = known.der[request.offset : request.offset + CRL_PIECE]
        if data:
            piece = CrlPiece(request.authority, known.number, len(known.der), request.offset, data)
            self.outbox.append((node, piece))

    def _take(self, node: bytes, peer: _Peer, piece: CrlPiece, now: float) -> None:
        fetch = peer.fetches.get(piece.authority)
        if fetch is None or (fetch.number, len(fetch.data)) != (piece.number, piece.offset):
            return
        fetch.data += piece.data
        fetch.tries = 0
        if len(fetch.data) < piece.total <= MAX_DER:
            self._ask(node, peer, piece.authority, now)
            return
        del peer.fetches[piece.authority]
        try:
            self.learn(bytes(fetch.data), now)
        except BadRevocationList:
            peer.lied = True
        else:
            self.outbox.append((node, CrlNumber(piece.authority, self._number(piece.authority), False)))

    def _plan(self, node: bytes, peer: _Peer) -> None:
        times = [fetch.ask_at for fetch in peer.fetches.values()]
        if peer.tell_at is not None:
            times.append(peer.tell_at)
        if times:
            self._timers.plan(node, min(times))
