"""Drives the topology machine: performs its effects over the bus and wakes it when it asks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from ipaddress import ip_address
from math import inf
from typing import Any, Final, TypeAlias

from ipop_core.bus.api import Bus
from ipop_core.clock import boot_clock
from ipop_core.errors import BusError
from ipop_modules.topology.known import KnownPeers
from ipop_modules.topology.protocol.effects import (
    Allocated,
    Connect,
    Effect,
    Introduce,
    Introduced,
    Joined,
    Listed,
    Registered,
    Release,
    Resolved,
    Routes,
    Send,
    Surveyed,
    Weigh,
)
from ipop_modules.topology.protocol.machine import Machine

_log = logging.getLogger(__name__)

Answer: TypeAlias = Resolved | Allocated | Listed | Surveyed

CONNECT_SECONDS: Final = 6.0
CONFIRM_ROUTES: Final = 1.0
WAKE_AGAIN: Final = 1.0
"""Seconds after a fault that nothing foresaw: it may come again at once, and what else is due must come some time."""


class Driver:
    def __init__(
        self,
        bus: Bus,
        machine: Machine,
        answer: Callable[[Answer], None],
        known: KnownPeers,
    ) -> None:
        """`answer` takes the end of whatever somebody waits for."""
        self._bus = bus
        self._machine = machine
        self._answer = answer
        self._known = known
        self._timer: asyncio.Handle | None = None
        self._is_waking = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._routes = Routes(False, {})
        self._confirming: asyncio.Task[None] | None = None

    def perform(self, effects: Iterable[Effect]) -> None:
        """To be called with what every call of the machine returned."""
        for effect in effects:
            try:
                self._perform(effect)
            except BusError as fault:
                _log.error("%s: %s", type(effect).__name__, fault)
        self._set_timer()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run in the background until `stop`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Send():
                body = {"to": effect.to.hex(), "mode": effect.mode, "role": "topology"}
                if effect.via is not None:
                    body["via"] = effect.via.hex()
                self._bus.notify("link", "send", body, [effect.payload])
            case Connect():
                self.spawn(self._connect(effect))
            case Release():
                self._bus.notify("link", "release", {"node": effect.node.hex(), "kind": effect.kind})
            case Weigh():
                self.spawn(self._weigh())
            case Introduce(node, members):
                self.perform(self._machine.introduce(node, self._known.introduction(members), boot_clock()))
            case Introduced(peers):
                for node, endpoint in peers:
                    self._known.introduced(node, endpoint)
            case Routes():
                self._push(effect)
            case Joined():
                _log.info("joined the ring", extra={"fields": {"neighbours": len(effect.neighbours)}})
                self._bus.publish("topology.joined", {"neighbours": [node.hex() for node in effect.neighbours]})
            case Registered():
                self._tell_registered(effect)
            case Resolved() | Allocated() | Listed() | Surveyed():
                self._answer(effect)

    def _tell_registered(self, registered: Registered) -> None:
        subject, owner = registered.subject, registered.owner.hex()
        kind, shown = ("name", subject) if isinstance(subject, str) else ("address", str(ip_address(subject)))
        level = logging.INFO if registered.state == "registered" else logging.WARNING
        _log.log(level, "%s %s is %s", kind, shown, registered.state, extra={"fields": {"owner": owner}})
        self._bus.publish("topology.registered", {kind: shown, "state": registered.state, "owner": owner})

    async def _connect(self, wish: Connect) -> None:
        body = {"node": wish.node.hex(), "kind": wish.kind}
        if wish.via is not None:
            body["via"] = wish.via.hex()
        try:
            made = await self._bus.request("link", "connect", body, timeout=CONNECT_SECONDS)
        except BusError as fault:
            _log.debug("no link", extra={"fields": {**body, "fault": str(fault)}})
            self.perform(self._machine.connect_failed(wish.node, wish.kind, boot_clock()))
        else:
            # A link that was there, or that the peer began, is wanted now: no link.up says so.
            self._known.note(wish.node.hex(), made.body["endpoint"], [wish.kind])
            self.perform(self._machine.link_up(wish.node, boot_clock(), initiator=True))

    async def _weigh(self) -> None:
        try:
            peers = (await self._bus.request("link", "peers")).body["peers"]
        except BusError as fault:
            _log.debug("traffic is not known", extra={"fields": {"fault": str(fault)}})
            return
        sent = {bytes.fromhex(peer["node"]): peer["bytes_out"] for peer in peers}
        self.perform(self._machine.weigh(sent, boot_clock()))

    def _push(self, routes: Routes) -> None:
        """At once, so that it goes before the messages that need it; and again until it is confirmed."""
        self._routes = routes
        self._bus.notify("link", "routes", self._table())
        if self._confirming is None or self._confirming.done():
            self._confirming = self.spawn(self._confirm_routes())

    async def _confirm_routes(self) -> None:
        confirmed = None
        while confirmed is not self._routes:
            await asyncio.sleep(CONFIRM_ROUTES)
            pushed = self._routes
            try:
                await self._bus.request("link", "routes", self._table())
            except BusError as fault:
                _log.debug("routes are not taken yet", extra={"fields": {"fault": str(fault)}})
            else:
                confirmed = pushed

    def _table(self) -> dict[str, Any]:
        hops = [{"node": node.hex(), "next": following.hex()} for node, following in self._routes.hops.items()]
        return {"member": self._routes.member, "routes": hops}

    def _set_timer(self) -> None:
        if self._is_waking:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = boot_clock()
        due = self._machine.next_wake()
        if due != inf:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, due - now), self._wake_soon)

    def _wake_soon(self) -> None:
        """After what has come meanwhile: where this process had to wait, an answer may be there that seems missing."""
        self._is_waking = True
        self._timer = asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._is_waking = False
        try:
            effects = self._machine.wake(boot_clock())
        except BaseException:
            self._timer = asyncio.get_running_loop().call_later(WAKE_AGAIN, self._wake)
            raise
        self.perform(effects)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a background task broke", exc_info=task.exception())
