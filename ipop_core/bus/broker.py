"""The broker: who gets which message. Pure routing; `hub.py` gives it time and carries out what it says.

Clients are known by the name of their connection (bytes that the transport vouches for). A client that the controller
admitted is a module and fills its role from its `hello` on; every other one is a guest, which may ask and subscribe.
A request travels under an id of the broker's own, so an answer is taken only from whom it was asked of; and `from` is
written here, so nobody can claim to be somebody else.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import msgspec

from ipop_core.bus.envelope import Envelope, EnvelopeError, decode, error

MAX_GUESTS: Final = 64
MAX_PENDING: Final = 1024
"""Requests of one client that wait for an answer."""
MAX_TOPICS: Final = 256
"""Subscriptions of one client."""
CORE: Final = "core"

_TOPIC: Final = re.compile(r"[a-z][a-z0-9-]{0,30}\.([a-z][a-z0-9_]{0,62}|\*)")


@dataclass(frozen=True, slots=True)
class Delivery:
    """Give this message to that client."""

    client: bytes
    envelope: Envelope
    frames: Sequence[bytes] = ()


Deliveries: TypeAlias = list[Delivery]


@dataclass(slots=True)
class Counters:
    """Messages that went nowhere, by reason."""

    garbage: int = 0
    """Bytes that are no message."""
    queue_full: int = 0
    no_role: int = 0
    """Notifications for a role that nobody fills."""
    stray_answers: int = 0
    """Answers to nothing, too late, or from the wrong client."""
    refused_events: int = 0
    """Events under a topic that is not the publisher's."""


@dataclass(slots=True)
class _Client:
    name: str
    role: str | None
    topics: set[str] = field(default_factory=set)
    pending: int = 0


@dataclass(frozen=True, slots=True)
class _Pending:
    requester: bytes
    request_id: int
    responder: bytes
    what: str


class _Topic(msgspec.Struct, forbid_unknown_fields=True):
    topic: str


class Broker:
    """Routes requests to roles, answers to requesters and events to subscribers."""

    def __init__(self) -> None:
        self.counters = Counters()
        self._clients: dict[bytes, _Client] = {}
        self._roles: dict[str, bytes] = {}
        self._pending: dict[int, _Pending] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._ids = itertools.count(1)
        self._guests = itertools.count(1)

    def admit(self, client: bytes, name: str, role: str) -> None:
        """A module of this controller will speak under that connection name; it fills `role` from its `hello` on."""
        self._clients[client] = _Client(name, role)

    def leave(self, client: bytes) -> Deliveries:
        """The client is gone: whoever waits for it hears so."""
        gone = self._clients.pop(client, None)
        if gone is None:
            return []
        if gone.role is not None and self._roles.get(gone.role) == client:
            del self._roles[gone.role]
        out: Deliveries = []
        for broker_id, pending in list(self._pending.items()):
            if pending.requester == client:
                del self._pending[broker_id]
            elif pending.responder == client:
                out += self._fail(broker_id, "failed", f"{pending.what}: the module {gone.name} ended while it worked")
        return out

    def receive(self, client: bytes, parts: Sequence[bytes], now: float) -> Deliveries:
        """Route one message, as it came. Bad ones are counted and answered with nothing."""
        try:
            envelope, frames = decode(parts)
        except EnvelopeError:
            self.counters.garbage += 1
            return []
        sender = self._clients.get(client) or self._welcome(client)
        match envelope.kind:
            case "request" if envelope.to == CORE and envelope.action in {"hello", "subscribe", "unsubscribe"}:
                return self._own(client, sender, envelope)
            case "request":
                return self._request(client, sender, envelope, frames, now)
            case "event":
                return self._event(sender, envelope, frames)
            case _:
                return self._answer(client, envelope, frames)

    def undelivered(self, delivery: Delivery) -> Deliveries:
        """A client's queue was full: count what was lost, and tell the requester when it was a request."""
        self.counters.queue_full += 1
        envelope = delivery.envelope
        if envelope.kind != "request" or not envelope.id:
            return []
        return self._fail(envelope.id, "busy", f"{envelope.to}.{envelope.action}: the module's queue is full")

    def next_wake(self) -> float | None:
        """When `wake` has something to do."""
        while self._deadlines and self._deadlines[0][1] not in self._pending:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def wake(self, now: float) -> Deliveries:
        """Answer the requests whose deadline passed."""
        out: Deliveries = []
        while self._deadlines and self._deadlines[0][0] <= now:
            _, broker_id = heapq.heappop(self._deadlines)
            pending = self._pending.get(broker_id)
            if pending is not None:
                out += self._fail(broker_id, "timeout", f"{pending.what}: no answer in time")
        return out

    def _welcome(self, client: bytes) -> _Client:
        guests = [known for known, entry in self._clients.items() if entry.role is None]
        if len(guests) >= MAX_GUESTS:
            self.leave(guests[0])
        guest = self._clients[client] = _Client(f"guest-{next(self._guests)}", None)
        return guest

    def _own(self, client: bytes, sender: _Client, envelope: Envelope) -> Deliveries:
        fault = self._hello(client, sender) if envelope.action == "hello" else _subscription(sender, envelope)
        if not envelope.id:
            return []
        if fault is None:
            return [Delivery(client, Envelope(kind="response", id=envelope.id))]
        return [Delivery(client, error(envelope.id, *fault))]

    def _hello(self, client: bytes, sender: _Client) -> tuple[str, str] | None:
        if sender.role is None:
            return "refused", "core.hello: not a module of this controller"
        self._roles[sender.role] = client
        return None

    def _request(
        self, client: bytes, sender: _Client, envelope: Envelope, frames: Sequence[bytes], now: float
    ) -> Deliveries:
        what = f"{envelope.to}.{envelope.action}"
        responder = self._roles.get(envelope.to)
        if not envelope.id:
            return self._notification(responder, sender, envelope, frames)
        if responder is None:
            fault = error(envelope.id, "no-role", f"{what}: no running module fills the role {envelope.to}")
            return [Delivery(client, fault)]
        if sender.pending >= MAX_PENDING:
            fault = error(envelope.id, "busy", f"{what}: {MAX_PENDING} requests wait for an answer already")
            return [Delivery(client, fault)]
        broker_id = next(self._ids)
        self._pending[broker_id] = _Pending(client, envelope.id, responder, what)
        sender.pending += 1
        heapq.heappush(self._deadlines, (now + envelope.deadline / 1000, broker_id))
        return [Delivery(responder, msgspec.structs.replace(envelope, id=broker_id, sender=sender.name), frames)]

    def _notification(
        self, responder: bytes | None, sender: _Client, envelope: Envelope, frames: Sequence[bytes]
    ) -> Deliveries:
        if responder is None:
            self.counters.no_role += 1
            return []
        return [Delivery(responder, msgspec.structs.replace(envelope, sender=sender.name), frames)]

    def _event(self, sender: _Client, envelope: Envelope, frames: Sequence[bytes]) -> Deliveries:
        role = envelope.topic.partition(".")[0]
        if sender.role is None or role != sender.role:
            self.counters.refused_events += 1
            return []
        stamped = msgspec.structs.replace(envelope, id=0, sender=sender.name)
        wanted = {envelope.topic, f"{role}.*"}
        return [
            Delivery(client, stamped, frames)
            for client, entry in self._clients.items()
            if not entry.topics.isdisjoint(wanted)
        ]

    def _answer(self, client: bytes, envelope: Envelope, frames: Sequence[bytes]) -> Deliveries:
        pending = self._pending.get(envelope.id)
        if pending is None or pending.responder != client:
            self.counters.stray_answers += 1
            return []
        self._forget(envelope.id)
        sender = self._clients[client].name
        answer = Envelope(kind=envelope.kind, id=pending.request_id, sender=sender, body=envelope.body)
        return [Delivery(pending.requester, answer, frames)]

    def _fail(self, broker_id: int, code: str, message: str) -> Deliveries:
        pending = self._forget(broker_id)
        return [Delivery(pending.requester, error(pending.request_id, code, message))] if pending else []

    def _forget(self, broker_id: int) -> _Pending | None:
        pending = self._pending.pop(broker_id, None)
        if pending is not None and pending.requester in self._clients:
            self._clients[pending.requester].pending -= 1
        return pending


def _subscription(sender: _Client, envelope: Envelope) -> tuple[str, str] | None:
    """Take down or cancel a subscription; what is wrong with it, as code and message."""
    try:
        topic = msgspec.json.decode(envelope.body, type=_Topic).topic
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        return "invalid", f"core.{envelope.action}: body: {fault}"
    if not _TOPIC.fullmatch(topic):
        return (
            "invalid",
            f"core.{envelope.action}: body.topic: {topic[:80]!r} is not a topic such as `link.up` or `link.*`",
        )
    if envelope.action == "unsubscribe":
        sender.topics.discard(topic)
        return None
    if len(sender.topics) >= MAX_TOPICS:
        return "busy", f"core.subscribe: {MAX_TOPICS} subscriptions already"
    sender.topics.add(topic)
    return None
