"""Rendezvous' driver: carries offers between the machine, the links and the same role on other nodes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Final

from ipop_core.bus.api import Bus, Call, Event, JsonObject
from ipop_core.errors import BusError
from ipop_core.token_bucket import TokenBucket
from ipop_modules.signal.protocol.rendezvous import NO_WORD, Effect, Nat, Probe, Rendezvous, Send
from ipop_modules.signal.timer import Timer

CANDIDATES_FRESH: Final = 0.25
"""Seconds for which what a peer is told of this node's candidates holds."""
ASK_RATE: Final = 16.0
ASK_BURST: Final = 32.0
"""How often the links are asked for them: a flood of messages makes no flood of requests."""


class RendezvousDriver:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._machine = Rendezvous(secrets.token_bytes, asyncio.get_running_loop().time())
        self._timer = Timer(self._machine.next_wake, lambda now: self._perform(self._machine.wake(now)))
        self._own: tuple[Sequence[str], Nat] = ((), NO_WORD)
        self._own_for = ""
        self._own_until = 0.0
        self._asks = TokenBucket(ASK_RATE, ASK_BURST, asyncio.get_running_loop().time())
        self._asking = asyncio.Lock()

    def stop(self) -> None:
        self._timer.cancel()

    @property
    def counters(self) -> Mapping[str, int]:
        return self._machine.counters

    def tally(self, node: str) -> JsonObject:
        """The answer of the action `offers`."""
        return asdict(self._machine.tally(node))

    def want(self, event: Event) -> None:
        """The links want a direct path: the event `link.rendezvous`."""
        node, own = event.body["node"], event.body["candidates"]
        self._perform(self._machine.want(node, own, self._timer.now(), _nat(event.body)))

    def link_up(self, event: Event) -> None:
        self._machine.link_up(event.body["node"])
        self._timer.set()

    async def receive(self, call: Call) -> None:
        """A message from the same role on another node: the action `peer_message`."""
        if call.body["mode"] != "session":
            self._machine.counters["unproven"] += 1
            return
        try:
            own, nat = await self._own_candidates(call.body["sender"])
        except BusError:
            self._machine.counters["no_own_candidates"] += 1
            return
        for data in call.frames:
            self._perform(self._machine.receive(call.body["sender"], data, own, self._timer.now(), nat))

    async def _own_candidates(self, node: str) -> tuple[Sequence[str], Nat]:
        """What to tell this peer; under a flood, what another one was told last."""
        async with self._asking:
            now = self._timer.now()
            known = self._own_for == node and now < self._own_until
            if not known and (self._asks.take(now) or not self._own_for):
                reply = await self._bus.request("link", "candidates", {"node": node}, timeout=2.0)
                self._own, self._own_for = (reply.body["candidates"], _nat(reply.body)), node
                self._own_until = self._timer.now() + CANDIDATES_FRESH
            return self._own

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(node, data):
                    self._bus.notify("link", "send", {"to": node, "mode": "session", "role": "signal"}, [data])
                case Probe(node, endpoints, nat, early):
                    known = {"mapping": nat.mapping, "endpoint": nat.endpoint, "able": nat.able}
                    body = {"node": node, "candidates": list(endpoints), "nat": known, "early": early}
                    self._bus.notify("link", "probe", body)
        self._timer.set()


def _nat(body: JsonObject) -> Nat:
    """What the links say of this node's NAT; another link module than ours may say nothing."""
    told = body.get("nat")
    return NO_WORD if told is None else Nat(told["mapping"], told["endpoint"], told.get("able", True))
