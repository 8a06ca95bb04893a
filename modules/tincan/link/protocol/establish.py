"""Handshakes on their way: ours are repeated until the peer has the keys, the peers' are bounded.

The initiator alone repeats: INIT until a RESPONSE comes, then FINISH until a block under the new keys shows that it
arrived. The first repetition waits for as long as answers have taken lately, straight to an address or over the
overlay: on machines that have too much to do, repeating what is under way would give them more. The others come ever
later, but whoever wants the peer anew has it asked at once: it may be back by now.
A responder keeps its answer for a few seconds and gives the same again. How many it keeps is bounded for each
source (half_open.py); under load an INIT from a UDP address must bring a token first, which costs this node no memory
(retry.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ipop_core.authority.peers import PeerCertificate
from ipop_core.round_trip import RoundTrip

from . import half_open, wire
from .events import Endpoint
from .handshake import Credentials, Established, HandshakeRefused, Initiator, Responder
from .retry import check_token, mint_token
from .source import Overlay, Source

REPEAT_DELAYS: Final = (0.25, 0.5, 1.0, 1.5, 2.0)
"""Between repetitions; after the last the handshake has failed."""
LONGEST_WAIT: Final = 1.5
"""Before the first repetition; no other one comes sooner after the one before."""
UNANSWERED: Final = "no answer"
"""Why it has, then."""
HALF_OPEN_LIFETIME: Final = 6.0
MAX_OUTGOING: Final = 1024
TOKEN_BUCKET: Final = 60.0


class Links(Protocol):
    """What a handshake needs of the link machine."""

    def established(self, agreed: Established, source: Source, rtt: float | None, begun: float, now: float) -> None:
        """`begun`: when the INIT that was answered went out, or came in."""

    def failed(self, node: bytes | None, endpoint: Endpoint | None, reason: str, now: float) -> None: ...

    def transmit_datagram(
        self, datagram: bytes, endpoint: Endpoint | None, node: bytes | None, via: bytes | None, now: float
    ) -> None: ...

    def source_address(self, source: Source) -> tuple[bytes, int] | None: ...

    def confirm_again(self, rid: int, now: float) -> bool: ...

    def is_confirmed(self, rid: int) -> bool: ...

    def rid_in_use(self, rid: int) -> bool: ...

    def is_revoked(self, certificate: PeerCertificate) -> bool: ...

    def count(self, what: str) -> None: ...

    def speaks_otherwise(self, node: bytes, version: int) -> None:
        """A peer speaks another version of the protocol."""


@dataclass(slots=True)
class Outgoing:
    """A handshake of ours: to a node over the overlay, or to a UDP address."""

    rid: int
    initiator: Initiator
    node: bytes | None
    endpoint: Endpoint | None
    via: bytes | None
    datagram: bytes
    sent: float
    sent_before: float
    """When the time before; the same while it was sent once."""
    wait: float
    """Before the first repetition."""
    next_repeat: float
    again_at: float = inf
    """When it is sent once more beside its repetitions, since somebody wants the peer anew."""
    repeats: int = 0
    is_first: bool = True
    """What was sent last was sent once: the answer shows the round trip."""
    finishing: bool = False
    slow: float = 0.0
    """What the answer took if nothing was lost, and it was repeated too soon."""
    retried: bool = False


@dataclass(slots=True)
class Incoming:
    """A peer's handshake that we have answered."""

    responder: Responder
    key: tuple[Source | bytes, int, bytes]
    response: bytes
    source: Source
    place: half_open.Place
    answered: float
    expires: float


class Establishing:
    """All handshakes of one node that are under way."""

    def __init__(self, links: Links, credentials: Credentials, random: Callable[[int], bytes]) -> None:
        self._links = links
        self.credentials = credentials
        """Shown in every handshake that begins."""
        self._random = random
        self._outgoing: dict[int, Outgoing] = {}
        self._incoming: dict[int, Incoming] = {}
        self._answers: dict[tuple[Source | bytes, int, bytes], int] = {}
        self._half_open = half_open.HalfOpen()
        self._secret = random(32)
        self._straight = _round_trip()
        self._over_overlay = _round_trip()

    def start(self, node: bytes | None, endpoint: Endpoint | None, via: bytes | None, now: float) -> None:
        """Shake hands, unless that is being done already. At least one of `node` and `endpoint` is known."""
        for known in self._outgoing.values():
            same = known.endpoint == endpoint if endpoint is not None else known.node == node and known.endpoint is None
            if same and not known.finishing:
                self._hurry(known, now)
                return
        if len(self._outgoing) >= MAX_OUTGOING:
            self._links.failed(node, endpoint, "too many", now)
            return
        rid = self._new_rid()
        initiator = Initiator(self.credentials, rid, self._ephemeral(), node)
        datagram = initiator.first(0 if endpoint is None else wire.INIT_SIZE)
        wait = self._round_trip(endpoint).timeout
        outgoing = Outgoing(rid, initiator, node, endpoint, via, datagram, now, now, wait, now + wait)
        self._outgoing[rid] = outgoing
        self._send(outgoing, now)

    def is_under_way(self, node: bytes) -> bool:
        """Whether a handshake of ours with this node may still give keys."""
        return any(outgoing.node == node and not outgoing.finishing for outgoing in self._outgoing.values())

    def receive(self, datagram: memoryview, source: Source, now: float) -> None:
        """Take one datagram that is no fragment; what makes no sense is counted."""
        try:
            message = wire.parse(datagram)
            match message:
                case wire.Init():
                    self._on_init(message, source, now)
                case wire.Response():
                    self._on_response(message, source, now)
                case wire.Finish():
                    self._on_finish(message, source, now)
                case wire.Retry():
                    self._on_retry(message, source, now)
        except wire.BadDatagram:
            self._links.count("drop_bad_datagram")
        except HandshakeRefused as error:
            self._links.count("refused_" + error.reason.replace("-", "_"))
            if error.speaker is not None:
                self._links.speaks_otherwise(*error.speaker)

    def wake(self, now: float) -> None:
        for outgoing in list(self._outgoing.values()):
            if outgoing.finishing and self._links.is_confirmed(outgoing.rid):
                del self._outgoing[outgoing.rid]
            elif now >= outgoing.next_repeat:
                self._repeat(outgoing, now)
            elif now >= outgoing.again_at:
                self._send_again(outgoing, now)
        for rid, incoming in list(self._incoming.items()):
            if now < incoming.expires:
                break
            self._forget(rid)

    def next_wake(self) -> float | None:
        times = [min(outgoing.next_repeat, outgoing.again_at) for outgoing in self._outgoing.values()]
        if self._incoming:
            times.append(next(iter(self._incoming.values())).expires)
        return min(times, default=None)

    def _repeat(self, outgoing: Outgoing, now: float) -> None:
        outgoing.repeats += 1
        if outgoing.repeats >= len(REPEAT_DELAYS):
            del self._outgoing[outgoing.rid]
            if not outgoing.finishing:
                self._links.failed(outgoing.node, outgoing.endpoint, UNANSWERED, now)
            return
        outgoing.next_repeat = now + max(outgoing.wait, REPEAT_DELAYS[outgoing.repeats])
        self._send_again(outgoing, now)

    def _hurry(self, outgoing: Outgoing, now: float) -> None:
        """Ask the peer at once, but no more often than a handshake that has just begun does."""
        outgoing.again_at = outgoing.sent + outgoing.wait
        if now >= outgoing.again_at:
            self._send_again(outgoing, now)

    def _send_again(self, outgoing: Outgoing, now: float) -> None:
        outgoing.is_first = False
        self._send(outgoing, now)

    def _send(self, outgoing: Outgoing, now: float) -> None:
        outgoing.sent_before, outgoing.sent = outgoing.sent, now
        outgoing.again_at = inf
        self._links.transmit_datagram(outgoing.datagram, outgoing.endpoint, outgoing.node, outgoing.via, now)

    def _on_init(self, init: wire.Init, source: Source, now: float) -> None:
        key = (_key(source), init.sender, init.ephemeral)
        known = self._answers.get(key)
        if known is not None:
            self._answer(self._incoming[known], source, now)
            return
        place = self._place(init, source, now)
        if place is None:
            return
        if not self._half_open.has_room(place):
            self._links.count("drop_half_open")
            return
        rid = self._new_rid()
        direct = not isinstance(source, Overlay)
        responder = Responder(self.credentials, rid, self._ephemeral())
        response = responder.on_init(init, self._links.source_address(source), padded=direct)
        incoming = Incoming(responder, key, response, source, place, now, now + HALF_OPEN_LIFETIME)
        self._half_open.add(place)
        self._incoming[rid] = incoming
        self._answers[key] = rid
        self._answer(incoming, source, now)

    def _answer(self, incoming: Incoming, source: Source, now: float) -> None:
        if isinstance(source, Overlay):
            self._links.transmit_datagram(incoming.response, None, source.node, source.via, now)
        else:
            self._links.transmit_datagram(incoming.response, source, None, None, now)

    def _place(self, init: wire.Init, source: Source, now: float) -> half_open.Place | None:
        """Where a handshake came from; None when the initiator must first show that it receives at its address."""
        if isinstance(source, Overlay):
            return half_open.overlay(source.link)
        address = self._links.source_address(source)
        if address is None or self._half_open.has_room(half_open.UNPROVEN):
            return half_open.UNPROVEN
        bucket = int(now / TOKEN_BUCKET)
        if init.token and check_token(init.token, self._secret, bucket, address, init.ephemeral):
            return half_open.proven(address[0])
        if init.size < wire.INIT_SIZE:
            self._links.count("refused_short_init")
            return None
        token = mint_token(self._secret, bucket, address, init.ephemeral)
        self._links.count("retry_sent")
        self._links.transmit_datagram(wire.Retry(init.sender, token).encode(), source, None, None, now)
        return None

    def _on_response(self, response: wire.Response, source: Source, now: float) -> None:
        outgoing = self._outgoing.get(response.receiver)
        if outgoing is not None and outgoing.slow and _answers(outgoing, source):
            # Another answer: nothing was lost, so what was answered first was sent before the last repetition.
            self._round_trip(outgoing.endpoint).took(outgoing.slow)
            outgoing.slow = 0.0
        if outgoing is None or outgoing.finishing or not _answers(outgoing, source):
            self._links.count("drop_unasked_response")
            return
        try:
            finish, agreed = outgoing.initiator.on_response(response, self._links.source_address(source))
            self._check(agreed)
        except HandshakeRefused as error:
            if error.reason in ("own-id", "wrong-node", "revoked"):
                del self._outgoing[outgoing.rid]
                self._links.failed(outgoing.node, outgoing.endpoint, error.reason, now)
                return
            raise
        begun = outgoing.sent_before
        rtt = now - begun if outgoing.is_first else None
        if outgoing.is_first and not outgoing.retried:
            self._round_trip(outgoing.endpoint).took(now - outgoing.sent)
        elif not outgoing.retried:
            outgoing.slow = now - outgoing.sent_before
        outgoing.datagram = finish
        outgoing.finishing = True
        outgoing.repeats = 0
        outgoing.wait = self._round_trip(outgoing.endpoint).timeout
        outgoing.next_repeat = now + outgoing.wait
        self._send(outgoing, now)
        self._links.established(agreed, source, rtt, begun, now)

    def _on_finish(self, finish: wire.Finish, source: Source, now: float) -> None:
        incoming = self._incoming.get(finish.receiver)
        if incoming is None or _key(incoming.source) != _key(source):
            if not self._links.confirm_again(finish.receiver, now):
                self._links.count("drop_unasked_finish")
            return
        agreed = incoming.responder.on_finish(finish)
        self._forget(finish.receiver)
        self._check(agreed)
        self._links.established(agreed, source, now - incoming.answered, incoming.answered, now)

    def _on_retry(self, retry: wire.Retry, source: Source, now: float) -> None:
        outgoing = self._outgoing.get(retry.receiver)
        if outgoing is None or outgoing.finishing or outgoing.retried or not _answers(outgoing, source):
            self._links.count("drop_unasked_retry")
            return
        outgoing.retried = True
        outgoing.datagram = outgoing.initiator.first(wire.INIT_SIZE, retry.token)
        self._send(outgoing, now)

    def _round_trip(self, endpoint: Endpoint | None) -> RoundTrip:
        return self._over_overlay if endpoint is None else self._straight

    def _check(self, agreed: Established) -> None:
        if self._links.is_revoked(agreed.certificate):
            raise HandshakeRefused("revoked", f"the authority took back the certificate of {agreed.node.hex()}")

    def _forget(self, rid: int) -> None:
        incoming = self._incoming.pop(rid)
        self._answers.pop(incoming.key, None)
        self._half_open.remove(incoming.place)

    def _ephemeral(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self._random(32))

    def _new_rid(self) -> int:
        while True:
            rid = int.from_bytes(self._random(8))
            if rid not in self._outgoing and rid not in self._incoming and not self._links.rid_in_use(rid):
                return rid


def _round_trip() -> RoundTrip:
    return RoundTrip(unknown=REPEAT_DELAYS[0], shortest=REPEAT_DELAYS[0], longest=LONGEST_WAIT)


def _key(source: Source) -> Source | bytes:
    """What stays the same of a source: packets of one handshake may take different ways over the overlay."""
    return source.node if isinstance(source, Overlay) else source


def _answers(outgoing: Outgoing, source: Source) -> bool:
    if isinstance(source, Overlay):
        return outgoing.endpoint is None and outgoing.node == source.node
    return outgoing.endpoint == source
