"""The bus as a module holds it: implements `api.Bus` over any transport.

Messages are checked at this border: a request before it is sent and again before its handler sees it, an answer where
it is made, an event where it is published. Handlers run as tasks of their own, so a slow one holds nobody up.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ipop_core.bus.api import Call, CallHandler, Event, EventHandler, JsonObject, Reply
from ipop_core.bus.contracts import HEARTBEAT, RECONFIGURE, Contracts
from ipop_core.bus.envelope import (
    MAX_DEADLINE_MS,
    Envelope,
    EnvelopeError,
    decode,
    encode,
    error,
    pack,
    unpack,
    unpack_fault,
)
from ipop_core.errors import BusError, IpopError

MAX_HANDLERS: Final = 256
"""Handlers of one client that run at once."""
GRACE: Final = 0.5
"""Seconds that the broker's own word on a deadline has to arrive, before the client stops waiting."""

_log: Final = logging.getLogger(__name__)


class Transport(Protocol):
    """What carries messages to the broker and back."""

    def open(self, receive: Callable[[Sequence[bytes]], None]) -> None:
        """Hand every message that comes to `receive`, in the running event loop, from now on."""
        ...

    def send(self, parts: Sequence[bytes]) -> bool:
        """Never waits. False: the queue is full and the message was not taken."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True)
class ClientCounters:
    """Messages of this client that went nowhere, by reason."""

    garbage: int = 0
    queue_full: int = 0
    busy: int = 0
    """Requests and notifications that found MAX_HANDLERS running."""
    invalid: int = 0
    """Notifications that broke their contract or named no action."""


class BusClient:
    """One client of the bus. `role` is what it answers for; None for one that only asks."""

    def __init__(self, transport: Transport, contracts: Contracts, role: str | None = None) -> None:
        self.counters = ClientCounters()
        self._transport = transport
        self._contracts = contracts
        self._role = role
        self._started = False
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Reply]] = {}
        self._handlers: dict[str, CallHandler] = {}
        self._events: dict[str, list[EventHandler]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        transport.open(self._receive)

    async def request(
        self,
        role: str,
        action: str,
        body: JsonObject | None = None,
        frames: Sequence[bytes] = (),
        *,
        timeout: float = 5.0,  # noqa: ASYNC109 - the deadline travels with the request
    ) -> Reply:
        request_id = next(self._ids)
        deadline = min(max(int(timeout * 1000), 1), MAX_DEADLINE_MS)
        parts = self._outgoing(role, action, body, frames, request_id=request_id, deadline=deadline)
        answer = self._answers[request_id] = asyncio.get_running_loop().create_future()
        try:
            if not self._transport.send(parts):
                self.counters.queue_full += 1
                raise BusError("busy", f"{role}.{action}: the queue to the bus is full")
            # Not wait_for: before Python 3.12 it loses a cancellation that comes with the answer.
            async with asyncio.timeout(deadline / 1000 + GRACE):
                reply: Reply = await answer
            return reply
        except TimeoutError:
            raise BusError("timeout", f"{role}.{action}: no answer in time") from None
        finally:
            del self._answers[request_id]

    def notify(self, role: str, action: str, body: JsonObject | None = None, frames: Sequence[bytes] = ()) -> None:
        """As `Bus.notify`. Raises BusError when the message itself breaks its contract."""
        self._send(self._outgoing(role, action, body, frames, request_id=0, deadline=0))

    def publish(self, topic: str, body: JsonObject | None = None, frames: Sequence[bytes] = ()) -> None:
        """As `Bus.publish`. Raises BusError when the event breaks its contract or is another role's."""
        if topic.partition(".")[0] != self._role:
            raise BusError("invalid", f"{topic}: published by the role {self._role}")
        self._contracts.check_event(topic, body or {}, len(frames))
        self._send(_encoded(Envelope(kind="event", topic=topic, body=_packed(topic, body)), frames, topic))

    def serve(self, action: str, handler: CallHandler) -> None:
        """As `Bus.serve`. Raises ValueError for an action that the role's contract doesn't have, or served already."""
        if self._role is None:
            raise ValueError(f"cannot serve {action}: this client fills no role")
        if action in self._handlers:
            raise ValueError(f"{self._role}.{action} is served already")
        known = self._role not in self._contracts.roles() or self._contracts.action(self._role, action) is not None
        if not known and action != RECONFIGURE:
            raise ValueError(f"{self._role}.{action} is not in the contract of the role")
        self._handlers[action] = handler

    async def subscribe(self, topic: str, handler: EventHandler) -> None:
        self._events.setdefault(topic, []).append(handler)
        await self.request("core", "subscribe", {"topic": topic})

    async def hello(self) -> None:
        """Fill the role from now on. Raises BusError `refused` when the broker knows of no such module."""
        await self.request("core", "hello")

    def started(self) -> None:
        """Every handler is in place: what is not served now is not served at all."""
        self._started = True

    async def close(self) -> None:
        """Let go of the transport; handlers that still run are cancelled."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._transport.close()

    def _outgoing(
        self,
        role: str,
        action: str,
        body: JsonObject | None,
        frames: Sequence[bytes],
        *,
        request_id: int,
        deadline: int,
    ) -> Sequence[bytes]:
        self._contracts.check_request(role, action, body or {}, len(frames))
        what = f"{role}.{action}"
        envelope = Envelope(
            kind="request", id=request_id, to=role, action=action, deadline=deadline, body=_packed(what, body)
        )
        return _encoded(envelope, frames, what)

    def _send(self, parts: Sequence[bytes]) -> None:
        if not self._transport.send(parts):
            self.counters.queue_full += 1

    def _receive(self, parts: Sequence[bytes]) -> None:
        try:
            envelope, frames = decode(parts)
        except EnvelopeError as fault:
            self.counters.garbage += 1
            _log.warning("dropped a bus message: %s", fault)
            return
        match envelope.kind:
            case "request":
                self._called(envelope, frames)
            case "event":
                self._happened(envelope, frames)
            case _:
                self._answered(envelope, frames)

    def _answered(self, envelope: Envelope, frames: Sequence[bytes]) -> None:
        answer = self._answers.get(envelope.id)
        if answer is None or answer.done():
            return
        if envelope.kind == "error":
            fault = unpack_fault(envelope)
            answer.set_exception(BusError(fault.code, fault.message))
            return
        try:
            answer.set_result(Reply(unpack(envelope), frames))
        except EnvelopeError as fault:
            answer.set_exception(BusError("failed", f"the answer makes no sense: {fault}"))

    def _happened(self, envelope: Envelope, frames: Sequence[bytes]) -> None:
        try:
            event = Event(envelope.topic, envelope.sender, unpack(envelope), frames)
        except EnvelopeError:
            self.counters.garbage += 1
            return
        wildcard = event.topic.partition(".")[0] + ".*"
        for handler in [*self._events.get(event.topic, ()), *self._events.get(wildcard, ())]:
            try:
                handler(event)
            except Exception:
                _log.exception("the handler of the event %s broke", event.topic)

    def _called(self, envelope: Envelope, frames: Sequence[bytes]) -> None:
        if envelope.action == HEARTBEAT:
            self._answer(envelope, Reply({}))
            return
        what = f"{self._role}.{envelope.action}"
        handler = self._handlers.get(envelope.action)
        if handler is None:
            self._reject(envelope, self._unserved(what))
            return
        if len(self._tasks) >= MAX_HANDLERS:
            self.counters.busy += 1
            self._reject(envelope, BusError("busy", f"{what}: {MAX_HANDLERS} calls are being worked on"))
            return
        try:
            body = unpack(envelope)
            self._contracts.check_request(str(self._role), envelope.action, body, len(frames))
        except EnvelopeError as fault:
            self._reject(envelope, BusError("invalid", f"{what}: {fault}"))
            return
        except BusError as fault:
            self._reject(envelope, fault)
            return
        call = Call(envelope.action, envelope.sender, body, frames, envelope.deadline / 1000)
        task = asyncio.get_running_loop().create_task(self._work(envelope, handler, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _unserved(self, what: str) -> BusError:
        if self._started:
            return BusError("unknown-action", f"{what}: the module does not serve it")
        return BusError("no-role", f"{what}: the module is still starting")

    async def _work(self, envelope: Envelope, handler: CallHandler, call: Call) -> None:
        what = f"{self._role}.{call.action}"
        try:
            answer = await handler(call)
        except BusError as fault:
            self._reject(envelope, BusError("refused", fault.message))
        except IpopError as fault:
            self._reject(envelope, BusError("refused", str(fault)))
        except Exception as fault:
            _log.exception("the handler of %s broke", what)
            self._reject(envelope, BusError("failed", f"{what}: broke on {type(fault).__name__}; see the log"))
        else:
            self._answer(envelope, answer if isinstance(answer, Reply) else Reply(answer or {}))

    def _answer(self, envelope: Envelope, reply: Reply) -> None:
        if not envelope.id:
            return
        what = f"answer of {self._role}.{envelope.action}"
        try:
            if envelope.action != HEARTBEAT:
                self._contracts.check_response(str(self._role), envelope.action, reply.body, len(reply.frames))
            response = Envelope(kind="response", id=envelope.id, body=_packed(what, reply.body))
            self._send(_encoded(response, reply.frames, what))
        except BusError as fault:
            _log.error("%s", fault)
            self._send(encode(error(envelope.id, "failed", fault.message)))

    def _reject(self, envelope: Envelope, fault: BusError) -> None:
        if envelope.id:
            self._send(encode(error(envelope.id, fault.code, fault.message)))
            return
        if fault.code in {"invalid", "unknown-action"}:
            self.counters.invalid += 1
        _log.debug("a notification came to nothing: %s", fault)


def _packed(what: str, body: JsonObject | None) -> Any:
    with _as_invalid(what):
        return pack(body)


def _encoded(envelope: Envelope, frames: Sequence[bytes], what: str) -> Sequence[bytes]:
    with _as_invalid(what):
        return encode(envelope, frames)


@contextlib.contextmanager
def _as_invalid(what: str) -> Any:
    try:
        yield
    except EnvelopeError as fault:
        raise BusError("invalid", f"{what}: {fault}") from None
