"""What the link machine tells, carried to whom it concerns: the bus, other roles, waiting requests, the log.

What one event brings about is counted and logged, and keeps no other event back.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

from ipop_core.bus.api import Bus
from ipop_core.errors import IpopError
from ipop_core.token_bucket import TokenBucket

from .link.loop import LOGGED_BURST, LOGGED_RATE
from .link.protocol import events
from .link.protocol.filtering import PATIENCE
from .link.udp import show_endpoint

if TYPE_CHECKING:
    from .module import Tincan

T = TypeVar("T")

log = logging.getLogger("ipop.tincan")


class Announcements:
    """Takes the machine's events as they come."""

    def __init__(self, bus: Bus, tincan: Tincan) -> None:
        self._bus = bus
        self._tincan = tincan
        self._links: dict[bytes, list[asyncio.Future[str]]] = {}
        self._contacts: dict[events.Endpoint, list[asyncio.Future[bytes]]] = {}
        self._pings: dict[bytes, asyncio.Future[events.PingAnswered]] = {}
        self._traces: dict[bytes, asyncio.Future[bytes]] = {}
        self._filtering: list[asyncio.Future[None]] = []
        self.faults = 0
        """Events that met an exception which nothing foresaw."""
        self._logged = TokenBucket(LOGGED_RATE, LOGGED_BURST, tincan.now())
        self.pending = False
        """Something was handed to asyncio since its last turn."""

    def publish(self) -> None:
        """Take all events that wait."""
        waiting = self._tincan.machine.events
        while waiting:
            taken = list(waiting)
            waiting.clear()
            for event in taken:
                try:
                    self._take(event)
                except Exception as error:
                    self._fault(event, error)

    async def link(self, node: bytes) -> str:
        """Wait for a direct path to a node; its endpoint. Raises IpopError."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._links.setdefault(node, []).append(future)
        return await future

    async def contact(self, endpoint: events.Endpoint) -> bytes:
        """Wait for the node that answers at a UDP address. Raises IpopError."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._contacts.setdefault(endpoint, []).append(future)
        return await future

    async def ping(self, token: bytes, seconds: float) -> events.PingAnswered:
        """Wait for the answer to a ping. Raises TimeoutError."""
        future: asyncio.Future[events.PingAnswered] = asyncio.get_running_loop().create_future()
        self._pings[token] = future
        try:
            async with asyncio.timeout(seconds):
                return await future
        finally:
            self._pings.pop(token, None)

    async def trace(self, token: bytes, seconds: float) -> bytes:
        """Wait for the node that answers a traced packet. Raises TimeoutError."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._traces[token] = future
        try:
            async with asyncio.timeout(seconds):
                return await future
        finally:
            del self._traces[token]

    async def filtering(self) -> None:
        """Wait for the end of the test of the NAT's filter that has begun. Raises TimeoutError."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._filtering.append(future)
        async with asyncio.timeout(PATIENCE + 1.0):
            await future

    def forget(self) -> None:
        """Fail whatever waits: the module stops."""
        fault = IpopError("the link module stops")
        for links in self._links.values():
            _fail(links, fault)
        for contacts in self._contacts.values():
            _fail(contacts, fault)

    def _take(self, event: events.Event) -> None:  # noqa: PLR0912, PLR0915 - one line for each kind of event
        match event:
            case events.RoleData():
                self._role_data(event)
            case events.LinkUp():
                self._link_up(event)
            case events.LinkDown(node, reason):
                self._log("link is down", node, reason=reason)
                self._bus.publish("link.down", {"node": node.hex(), "reason": reason})
            case events.PathChanged(node, endpoint, reason):
                self._tincan.sockets.enlarge(endpoint)
                self._log("path changed", node, endpoint=self._show(endpoint), reason=reason)
            case events.Contacted(node, endpoint):
                for future in self._contacts.pop(endpoint, ()):
                    if not future.done():
                        future.set_result(node)
            case events.ConnectFailed(node, endpoint, reason):
                self._connect_failed(node, endpoint, reason)
            case events.SessionUp(node, hops):
                self._bus.publish("link.first_packet", {"node": node.hex(), "stage": "session", "hops": hops})
            case events.SessionClosed(node, reason):
                if self._tincan.owners is not None:
                    self._tincan.owners.closed(node, revoked=reason == "revoked")
                _fail(self._links.pop(node, []), IpopError(reason))
            case events.MemberProven(node):
                self._log("member of the namespace", node)
                if self._tincan.owners is not None:
                    self._tincan.owners.confirm(node)
            case events.Unplaced(node, frame):
                if self._tincan.owners is not None:
                    self._tincan.owners.unplaced(node, frame)
            case events.GroupFrame(node, body):
                if self._tincan.spreading is not None:
                    self._tincan.spreading.from_member(node, body, self._tincan.now())
            case events.MemberRefused(node, reason, detail):
                self._log("refused as a member", node, reason=reason, detail=detail)
                if self._tincan.owners is not None:
                    self._tincan.owners.refused(node)
            case events.RevocationsLearnt(learnt):
                self._tincan.revoked.keep(learnt)
            case events.RendezvousWanted(node):
                offer = self._tincan.meeting.offer(node, self._tincan.now())
                self._bus.publish("link.rendezvous", {"node": node.hex(), **offer})
            case events.FilteringKnown():
                self._filtering_known()
            case events.DirectWanted(node):
                self._bus.publish("link.demand", {"node": node.hex()})
            case events.CardIdle(node):
                self._bus.publish("link.idle", {"node": node.hex()})
            case events.Observed(_, endpoint, ip, port):
                self._tincan.reach.observed(endpoint, (ip, port))
            case events.PingAnswered(token=token):
                _settle(self._pings.get(token), event)
            case events.TraceAnswered(token, node):
                _settle(self._traces.get(token), node)
        self.pending = True
        asyncio.get_running_loop().call_soon(self._turn_taken)

    def _fault(self, event: events.Event, error: Exception) -> None:
        self.faults += 1
        if self._logged.take(self._tincan.now()):
            log.error("news of a link met a fault of this program", exc_info=error, extra={"fields": {"news": event}})

    def _filtering_known(self) -> None:
        for waiting in self._filtering:
            if not waiting.done():
                waiting.set_result(None)
        self._filtering.clear()

    def _turn_taken(self) -> None:
        self.pending = False

    def _link_up(self, event: events.LinkUp) -> None:
        endpoint = self._show(event.endpoint)
        self._tincan.sockets.enlarge(event.endpoint)
        session = self._tincan.machine.sessions.get(event.node)
        kinds = sorted(session.kinds) if session is not None else []
        self._log("link is up", event.node, endpoint=endpoint, reason=" ".join(kinds) or "the peer wants it")
        body = {"node": event.node.hex(), "endpoint": endpoint, "kinds": kinds, "initiator": event.initiator}
        self._bus.publish("link.up", body)
        for future in self._links.pop(event.node, ()):
            if not future.done():
                future.set_result(endpoint)

    def _connect_failed(self, node: bytes | None, endpoint: events.Endpoint | None, reason: str) -> None:
        fault = IpopError(reason)
        if endpoint is not None:
            _fail(self._contacts.pop(endpoint, []), fault)
        if node is not None and node not in self._tincan.machine.sessions:
            _fail(self._links.pop(node, []), fault)

    def _role_data(self, event: events.RoleData) -> None:
        body: dict[str, object] = {"sender": event.sender.hex(), "mode": "session" if event.to is None else "routed"}
        for key, value in (("to", event.to), ("via", event.via), ("link", event.link)):
            if value is not None:
                body[key] = value.hex()
        if event.to is not None:
            body["hops"] = event.hops
        self._bus.notify(event.role, "peer_message", body, [event.data])

    def _show(self, endpoint: events.Endpoint) -> str:
        return show_endpoint(self._tincan.udp.address(endpoint))

    def _log(self, what: str, node: bytes, **fields: str) -> None:
        owners = self._tincan.owners
        addresses = [] if owners is None else sorted(map(str, owners.addresses_of(node)))
        known = {"address": " ".join(addresses)} if addresses else {}
        log.info(what, extra={"fields": {"node": node.hex(), **known, **fields}})


def _settle(future: asyncio.Future[T] | None, result: T) -> None:
    if future is not None and not future.done():
        future.set_result(result)


def _fail(futures: list[asyncio.Future[str]] | list[asyncio.Future[bytes]], fault: IpopError) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(fault)
