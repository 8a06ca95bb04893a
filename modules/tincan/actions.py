"""The bus actions of the role `link`; their contracts are in `schemas/messages/link.json`."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ipop_core.authority.revocation import BadRevocationList
from ipop_core.bus.api import Bus, Call, JsonObject
from ipop_core.errors import IpopError

from . import diagnosis
from .card.errors import CardError
from .card.figures import card_figures
from .card.protocol.endpoint import Answered, Unanswered
from .card.user import UserCard
from .link.loop import faults
from .link.protocol.events import PingAnswered
from .link.protocol.session import Session
from .link.udp import show_endpoint
from .tracing import trace

if TYPE_CHECKING:
    from .module import Tincan

T = TypeVar("T")

PING_SECONDS: Final = 4.0
PINGS: Final = 5
ECHO_SECONDS: Final = 4.0
ANSWER_BEFORE: Final = 0.1
_ECHO_IDENTIFIER: Final = 0x1F0F


class Actions:
    """Answers other modules and the `ipop` command."""

    def __init__(self, bus: Bus, tincan: Tincan) -> None:
        self._bus = bus
        self._tincan = tincan

    def serve(self) -> None:
        for action in (
            self.status,
            self.peers,
            self.connect,
            self.release,
            self.turn_away,
            self.candidates,
            self.probe,
            self.routes,
            self.send,
            self.ping,
            self.trace,
            self.echo,
            self.netcheck,
            self.why,
            self.crl,
        ):
            self._bus.serve(action.__name__, action)

    async def status(self, _call: Call) -> JsonObject:
        tincan = self._tincan
        card = tincan.card
        settings = tincan.settings
        counters: Counter[str] = Counter()
        for source in (tincan.machine.counters, tincan.lane.counters, tincan.udp.counters, tincan.pressure.counters):
            counters.update(source)
        counters["socket_overflow"] = tincan.sockets.overflow
        counters["lane_faults"] = faults(asyncio.get_running_loop())
        counters["event_faults"] = tincan.announcements.faults
        figures = None if card is None else card_figures(card.name)
        if card is not None:
            counters.update(card.counters)
        if figures is not None:
            counters["read_overflow"] = figures.pop("dropped_out")
        if tincan.owners is not None:
            counters.update({f"neighbour_{name}": n for name, n in tincan.owners.neighbours.counters.items()})
        return {
            "node": tincan.node_id,
            "card": None
            if card is None
            else {
                "name": card.name,
                "mac": card.mac.hex(":"),
                "addresses": [str(interface) for interface in tincan.interfaces],
                "mtu": settings.mtu,
                "up": tincan.card_is_up,
                "blocked": tincan.guards.blocked,
            },
            "listening": [f"[::]:{tincan.udp.port}"],
            "observed": tincan.reach.seen(),
            "sessions": len(tincan.machine.sessions),
            "other_versions": [
                {"node": node.hex(), "protocol": version} for node, version in tincan.machine.other_versions.items()
            ],
            "counters": dict(sorted(counters.items())),
            "traffic": {
                "card": figures,
                "sessions": dataclasses.asdict(tincan.machine.carried()),
                "unfinished": dict(zip(("blocks", "bytes"), tincan.machine.unfinished(), strict=True)),
            },
        }

    async def peers(self, _call: Call) -> JsonObject:
        now = self._tincan.now()
        known: dict[bytes, list[str]] = {}
        if self._tincan.owners is not None:
            for address, node in self._tincan.owners.neighbours.entries():
                known.setdefault(node, []).append(str(ip_address(address)))
        sessions = sorted(self._tincan.machine.sessions.values(), key=lambda session: session.node)
        return {"peers": [self._peer(session, known.get(session.node, []), now) for session in sessions]}

    async def connect(self, call: Call) -> JsonObject:
        tincan, body = self._tincan, call.body
        node = _id(body.get("node"))
        if "endpoint" in body:
            return await self._contact(call, node)
        if node is None:
            raise IpopError("connect needs a node or an endpoint")
        if node == tincan.machine.own:
            raise IpopError("connect: that is this node itself")
        tincan.machine.connect(node, body["kind"], _id(body.get("via")), tincan.now())
        session = tincan.machine.sessions.get(node)
        path = session.paths.active if session is not None else None
        if session is not None and session.keys is not None and path is not None:
            tincan.settle()
            return {"node": node.hex(), "endpoint": show_endpoint(tincan.udp.address(path.endpoint))}
        waiting = asyncio.ensure_future(tincan.announcements.link(node))
        await asyncio.sleep(0)  # the waiter must be known before the machine's events are told
        tincan.settle()
        return {"node": node.hex(), "endpoint": await _in_time(waiting, call, "direct path")}

    async def _contact(self, call: Call, node: bytes | None) -> JsonObject:
        tincan, text, kind = self._tincan, call.body["endpoint"], call.body["kind"]
        try:
            endpoint = tincan.reach.endpoint(text)
        except ValueError as error:
            raise IpopError(str(error)) from error
        if endpoint is None:
            raise IpopError(f"{text}: this node has no IPv6")
        waiting = asyncio.ensure_future(tincan.announcements.contact(endpoint))
        await asyncio.sleep(0)
        tincan.machine.contact(endpoint, node, tincan.now())
        tincan.settle()
        found = await _in_time(waiting, call, "answer")
        tincan.machine.want(found, kind, tincan.now())
        tincan.settle()
        return {"node": found.hex(), "endpoint": text}

    async def release(self, call: Call) -> JsonObject:
        self._tincan.machine.release(bytes.fromhex(call.body["node"]), call.body["kind"], self._tincan.now())
        self._tincan.settle()
        return {}

    async def turn_away(self, call: Call) -> JsonObject:
        self._tincan.machine.turn_away(bytes.fromhex(call.body["node"]), self._tincan.now())
        self._tincan.settle()
        return {}

    async def candidates(self, call: Call) -> JsonObject:
        if self._tincan.reach.is_to_look:
            await self._tincan.look_around()
        return self._tincan.meeting.offer(_id(call.body.get("node")), self._tincan.now())

    async def probe(self, call: Call) -> JsonObject:
        tincan, body = self._tincan, call.body
        node, early = bytes.fromhex(body["node"]), body.get("early", False)
        try:
            tincan.meeting.attempt(node, body["candidates"], body.get("nat"), tincan.now(), early=early)
        except ValueError as error:
            raise IpopError(str(error)) from error
        tincan.settle()
        return {}

    async def routes(self, call: Call) -> JsonObject:
        routes = {bytes.fromhex(route["node"]): bytes.fromhex(route["next"]) for route in call.body["routes"]}
        self._tincan.machine.set_routes(routes, member=call.body["member"])
        return {}

    async def send(self, call: Call) -> JsonObject:
        tincan, body = self._tincan, call.body
        to, role, data, now = bytes.fromhex(body["to"]), body["role"], call.frames[0], tincan.now()
        if len(data) > 60_000:
            raise IpopError(f"send: {len(data)} bytes, expected at most 60000")
        if body["mode"] in ("session", "link"):
            sent = tincan.machine.send_role(to, role, data, now, direct_only=body["mode"] == "link")
        else:
            via = _id(body.get("via"))
            sent = tincan.machine.send_routed(to, role, data, now, closest=body["mode"] == "closest", via=via)
        tincan.settle()
        if not sent:
            raise IpopError(f"no way to {body['to']} now")
        return {}

    async def ping(self, call: Call) -> JsonObject:
        node = _id(call.body.get("node"))
        if node is None:
            node = await self._owner(call.body.get("address"))
        answer = await self._round_trip(node)
        path = "direct" if answer.direct else "overlay"
        return {"node": node.hex(), "rtt_ms": round(answer.rtt * 1000, 3), "path": path, "hops": answer.hops}

    async def trace(self, call: Call) -> JsonObject:
        node = _id(call.body.get("node"))
        if node is None:
            node = await self._owner(call.body.get("address"))
        if node == self._tincan.machine.own:
            raise IpopError("trace: that is this node itself")
        return await trace(self._tincan, node)

    async def _round_trip(self, node: bytes) -> PingAnswered:
        """The first answer to a few pings: one may be lost, or go to a peer that has forgotten the session's keys."""
        tincan = self._tincan
        waiting: set[asyncio.Task[PingAnswered]] = set()
        try:
            for left in reversed(range(PINGS)):
                token = tincan.machine.ping(node, tincan.now())
                seconds = PING_SECONDS * (left + 1) / PINGS
                waiting.add(asyncio.ensure_future(tincan.announcements.ping(token, seconds)))
                await asyncio.sleep(0)
                tincan.settle()
                done, _ = await asyncio.wait(waiting, timeout=PING_SECONDS / PINGS, return_when=asyncio.FIRST_COMPLETED)
                waiting -= done
                for task in done:
                    if task.exception() is None:
                        return task.result()
            raise IpopError(f"no answer from {node.hex()} in {PING_SECONDS:g} s")
        finally:
            for task in waiting:
                task.cancel()

    async def echo(self, call: Call) -> JsonObject:
        card = self._tincan.card
        if not isinstance(card, UserCard):
            raise IpopError("echo is for a card in user space; use the system's ping")
        answered: asyncio.Future[Answered | Unanswered] = asyncio.get_running_loop().create_future()
        payload = bytes.fromhex(call.body.get("payload", ""))
        sequence = call.body.get("sequence", 1)
        try:
            ip = ip_address(call.body["address"])
            card.ping(ip, payload, _ECHO_IDENTIFIER, sequence, answered.set_result)
        except (CardError, ValueError) as error:
            raise IpopError(str(error)) from error
        deadline = self._tincan.now() + ECHO_SECONDS
        while not answered.done() and self._tincan.now() < deadline:
            await asyncio.wait((answered,), timeout=0.25)
            card.wake(self._tincan.now())
        result = answered.result() if answered.done() else None
        return {"rtt_ms": round(result.round_trip * 1000, 3) if isinstance(result, Answered) else None}

    async def crl(self, call: Call) -> JsonObject:
        tincan = self._tincan
        try:
            learnt, is_news = tincan.machine.learn_revocations(call.frames[0], tincan.now())
        except BadRevocationList as error:
            raise IpopError(f"crl: {error}") from error
        tincan.settle()
        return {"number": learnt.number, "news": is_news}

    async def netcheck(self, _call: Call) -> JsonObject:
        await self._tincan.look_around()
        await self._tincan.test_filtering()
        return diagnosis.netcheck(self._tincan)

    async def why(self, call: Call) -> JsonObject:
        node = _id(call.body.get("node"))
        if node is None:
            node = await self._owner(call.body.get("address"))
        session = self._tincan.machine.sessions.get(node)
        if session is None:
            raise IpopError(f"no session with {node.hex()}: nothing was sent to it lately; `ipop ping` makes one")
        return diagnosis.why(self._tincan, session)

    async def _owner(self, text: str | None) -> bytes:
        tincan = self._tincan
        if text is None:
            raise IpopError("expected an address or a node")
        if tincan.owners is None:
            raise IpopError("this node has no card, and so no namespace to look an address up in")
        try:
            address = ip_address(text)
        except ValueError:
            raise IpopError(f"{text!r} is not an IP address") from None
        if any(address == interface.ip for interface in tincan.interfaces):
            raise IpopError(f"{text} is this node's own address")
        node = await tincan.owners.find(address.packed)
        if node is None:
            raise IpopError(f"nobody in the namespace owns {text}")
        return node

    def _peer(self, session: Session, addresses: list[str], now: float) -> dict[str, Any]:
        path = session.paths.active
        direct = path is not None and session.keys is not None
        rtt = path.rtt if path is not None else session.overlay_rtt
        return {
            "node": session.node.hex(),
            "addresses": sorted(addresses),
            "path": "direct" if direct else "overlay" if session.keys is not None else "none",
            "endpoint": show_endpoint(self._tincan.udp.address(path.endpoint)) if path is not None else None,
            "rtt_ms": None if rtt is None else round(rtt * 1000, 3),
            "overlay_hops": session.hops,
            "kinds": sorted(session.kinds),
            "member": session.member,
            "version": session.release,
            "bytes_in": session.counters.bytes_in,
            "bytes_out": session.counters.bytes_out,
            "age_s": round(now - session.created, 3),
        }


async def _in_time(waiting: asyncio.Future[T], call: Call, what: str) -> T:
    """Wait a little less than the requester does, so that it hears why."""
    seconds = max(call.timeout - ANSWER_BEFORE, ANSWER_BEFORE)
    try:
        async with asyncio.timeout(seconds):
            return await waiting
    except TimeoutError:
        raise IpopError(f"no {what} in {seconds:.1f} s") from None


def _id(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)
