"""tincan in its process: the card, the socket and the link machine, joined to the bus.

This file wires the parts and keeps their timer; the packets' way is `link/lane.py`, the bus actions are `actions.py`,
the directory's answers go through `owners.py`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from math import inf
from typing import Final

from ipop_core.bus.api import Event, JsonObject
from ipop_core.clock import boot_clock
from ipop_core.contract import Module, ModuleContext
from ipop_core.errors import ConfigError, IpopError

from .actions import Actions
from .announcements import Announcements
from .automatic import AutomaticAddress
from .card.errors import CardError
from .card.opening import open_card
from .card.protocol.neighbours import Neighbours
from .card.settings import CardSettings, Interface
from .card.tap import Tap
from .card.user import UserCard
from .credentials import own_node
from .frames import Refusal
from .guarding import Guards
from .link.gateway import Gateway
from .link.lane import Lane
from .link.loop import add_lane, remove_lane
from .link.pressure import Pressure
from .link.protocol.events import Endpoint
from .link.protocol.machine import LinkMachine
from .link.protocol.portmap import NONCE_SIZE
from .link.sockets import Sockets
from .link.udp import UdpSocket, show_endpoint
from .link.watching import Watch
from .meeting import Meeting
from .owners import Owners
from .reach import Reach
from .resuming import Resuming
from .revoked import Revoked
from .settings import TincanSettings
from .spreading import Spreading

log = logging.getLogger("ipop.tincan")

BRING_UP_AFTER: Final = 1.0
TEST_AGAIN: Final = 30.0
"""Seconds for which the answers of peers to a test of the NAT's filter are believed."""
WAKE_AGAIN: Final = 1.0
"""Seconds after a fault that nothing foresaw: it may come again at once, and what else is due must come some time."""
PATIENCE_AT_START: Final = 20
PATIENCE: Final = 3
"""Seconds for which the kernel holds packets for an unknown neighbour; three is its own default."""
_CARD: Final = "card"
_SOCKET: Final = "socket"


def create(context: ModuleContext) -> Module:
    return Tincan(context)


class Tincan:
    """The module. After `start` the card is up and the socket is served."""

    def __init__(self, context: ModuleContext) -> None:
        self._context: Final = context
        self._settings: TincanSettings = context.settings
        self._deadline = 0.0
        self._bringing_up: asyncio.Task[None] | None = None
        self._filtering_tested = -inf
        self.card_is_up = False
        self._passing: Tap | UserCard | None = None
        """The card, once packets may pass it."""
        self._timer: asyncio.TimerHandle | None = None
        self._watch = Watch(self._surroundings_changed, lambda: self.reach.routers)
        self._looking: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._kept_card: int | None = None
        self.interfaces: tuple[Interface, ...] = ()
        """The card's addresses; none until the directory has given one, where it chooses."""
        self.card: Tap | UserCard | None = None
        self.guards = Guards(context.bus, context.guards)
        self.owners: Owners | None = None
        self.spreading: Spreading | None = None
        self.udp: UdpSocket
        self.gateway: Gateway
        self.reach: Reach
        self.pressure: Pressure
        self.sockets: Sockets
        self.machine: LinkMachine
        self.meeting: Meeting
        self.lane: Lane
        self.announcements: Announcements
        self.revoked: Revoked
        self._resuming: Resuming

    async def start(self) -> None:
        context = self._context
        loop = asyncio.get_running_loop()
        card_settings = self._settings.card_settings
        self._settings.check_namespace(None if context.namespace is None else context.namespace.name)
        self.udp = self._open_socket()
        nonce = context.identity.secret("port mapping", NONCE_SIZE)
        self.gateway = Gateway(self.udp.port, nonce, boot_clock, self._mapping_changed)
        self.reach = Reach(self.udp, boot_clock, lambda: self.gateway.mapped)
        self.pressure = Pressure(boot_clock, self._pause)
        self.sockets = Sockets(self.udp, self._server, self._endpoints, self.pressure)
        automatic = self._automatic(card_settings)
        looking = loop.create_task(self.reach.look_around())
        self._kept_card = context.descriptors.take(_CARD)
        self.interfaces = card_settings.interfaces
        if automatic is not None and self._kept_card is not None and automatic.kept is not None:
            self.interfaces = (automatic.kept,)
        self.machine = LinkMachine(
            own_node(context, self._addresses),
            self.sockets,
            self._deliver,
            os.urandom,
            limits=self._settings.search_limits,
            deliver_train=self._deliver_train,
        )
        self.machine.limit_relaying(self._settings.relay_mbps, boot_clock())
        self.meeting = Meeting(self.machine, self.reach)
        self.lane = Lane(self.machine, self.udp, boot_clock, self._after_turn)
        self.announcements = Announcements(context.bus, self)
        self.revoked = Revoked(context.bus, self.machine, context.identity.folder, clock=boot_clock, after=self.settle)
        path = context.run / "tincan-links.json"
        self._resuming = Resuming(path, self.machine, self.udp, self._neighbours)
        # From here on `stop` finds all that it ends, should it come before the start is over.
        if self.interfaces:
            self.card = await self._open_card(card_settings)
        if self.card is not None:
            self._serve_card(self.card)
            await self._bring_up_in_time(self.card)
        if automatic is not None:
            self._following = loop.create_task(self._follow(automatic))
        self._resuming.resume(boot_clock())
        add_lane(loop, self.udp.fileno(), self.lane.socket_ready)
        self._watch.start()
        await looking
        if self._settings.port_mapping:
            self._asking = loop.create_task(self.gateway.ask(self.reach.surroundings.router))
        self.machine.lifetime.begin(boot_clock())
        Actions(context.bus, self).serve()
        log.info("listening", extra={"fields": {"port": self.udp.port, "node": context.identity.hex}})
        if context.namespace is not None and context.namespace.authorities:
            self.revoked.start()
        self.settle()

    async def stop(self) -> None:
        loop = asyncio.get_running_loop()
        self._watch.close()
        for task in (self._looking, self._asking, self._following):
            if task is not None:
                task.cancel()
        await self.gateway.end()
        self.machine.close(boot_clock())
        self.announcements.forget()
        self.revoked.close()
        if self._bringing_up is not None:
            self._bringing_up.cancel()
        if self._timer is not None:
            self._timer.cancel()
        for part in (self.owners, self.spreading):
            if part is not None:
                part.close()
        self.sockets.close()
        remove_lane(loop, self.udp.fileno())
        self.udp.close()
        self._let_nothing_pass()
        if self.card is not None:
            self.card.close()
        self._resuming.forget()

    async def reconfigure(self, settings: TincanSettings) -> None:
        self._settings = settings
        self.machine.searching.limits = settings.search_limits
        self.machine.limit_relaying(settings.relay_mbps, boot_clock())

    @property
    def settings(self) -> TincanSettings:
        return self._settings

    @property
    def node_id(self) -> str:
        return self._context.identity.hex

    def now(self) -> float:
        return boot_clock()

    async def test_filtering(self) -> None:
        """Find out how the NAT in front of this node filters, unless that was done a moment ago."""
        now = boot_clock()
        if now - self._filtering_tested < TEST_AGAIN:
            return
        self._filtering_tested = now
        self.machine.filtering.begin(self.reach.nat().outer, [node for node, _ in self.machine.routes.entries()], now)
        known = asyncio.ensure_future(self.announcements.filtering())
        await asyncio.sleep(0)  # the waiter must be known before the machine's events are told
        self.settle()
        with suppress(TimeoutError):
            await known

    def _surroundings_changed(self) -> None:
        self._looking = asyncio.get_running_loop().create_task(self.look_around())

    async def look_around(self) -> None:
        """Learn where this machine is now; where that is another place, begin anew there."""
        if not await self.reach.look_around():
            return
        routers = " ".join(str(router.ip) for router in self.reach.surroundings.routers)
        log.info("another network", extra={"fields": {"addresses": " ".join(self.reach.own), "routers": routers}})
        self.reach.moved()
        self.machine.moved(boot_clock())
        self.machine.lifetime.begin(boot_clock())
        self.settle()
        if self._settings.port_mapping:
            await self.gateway.ask(self.reach.surroundings.router)

    def _mapping_changed(self) -> None:
        mapped = self.gateway.mapped
        fields = {} if mapped is None else {"at": show_endpoint((mapped.ip, mapped.port)), "by": mapped.protocol}
        log.info("the router's port mapping is gone" if mapped is None else "port mapping", extra={"fields": fields})
        if mapped is not None:
            self.machine.mapped(boot_clock())
            self.settle()

    def _neighbours(self) -> Neighbours | None:
        return None if self.owners is None else self.owners.neighbours

    def _endpoints(self) -> set[Endpoint]:
        return self.machine.endpoints()

    def _server(self, sock: UdpSocket, number: int) -> Callable[[], bool]:
        return self.lane.server(sock, number)

    def settle(self) -> None:
        """Tell what happened and plan the next wake-up; called after anything that touched the machine."""
        if self.machine.events:
            self.announcements.publish()
            self._resuming.soon()
        due = self.machine.next_wake()
        if due is None or (self._timer is not None and self._deadline <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._deadline = due
        self._timer = asyncio.get_running_loop().call_later(max(due - boot_clock(), 0.0), self._wake)

    def _wake(self) -> None:
        self._timer = None
        try:
            self.machine.wake(boot_clock())
        except BaseException:
            self._deadline = boot_clock() + WAKE_AGAIN
            self._timer = asyncio.get_running_loop().call_later(WAKE_AGAIN, self._wake)
            raise
        self.settle()

    def _after_turn(self) -> bool:
        """After a turn of the lane: true when asyncio has something to do."""
        machine = self.machine
        if machine.events or machine.stirred or self._timer is None or machine.next_timer() < self._deadline:
            self.settle()
            return True
        return self.announcements.pending

    def _deliver(self, offload: int, size: int, frame: memoryview) -> bool:
        return self._passing is not None and self._passing.write(offload, size, frame)

    def _deliver_train(self, run: memoryview, refusal: Refusal) -> int:
        return 0 if self._passing is None else self._passing.write_train(run, refusal)

    async def _open_card(self, settings: CardSettings) -> Tap | UserCard | None:
        node, kept, self._kept_card = self._context.identity.node, self._kept_card, None
        # In a thread: pyroute2 runs an event loop of its own.
        try:
            return await asyncio.to_thread(open_card, settings, self.interfaces, node, boot_clock, kept)
        except CardError as error:
            raise _fault(error) from error

    def _open_socket(self) -> UdpSocket:
        kept = self._context.descriptors.take(_SOCKET)
        if kept is not None:
            return UdpSocket(socket.socket(fileno=kept))
        try:
            opened = UdpSocket.open(self._settings.port)
        except IpopError as error:
            raise ConfigError("modules.tincan.port", str(error)) from error
        self._context.descriptors.keep(_SOCKET, opened.fileno())
        return opened

    def _serve_card(self, card: Tap | UserCard) -> None:
        context = self._context
        if isinstance(card, Tap):
            context.descriptors.keep(_CARD, card.fileno())
        neighbours = Neighbours(context.identity.node, self.interfaces)
        self.owners = Owners(
            context.bus,
            self.machine,
            neighbours,
            card,
            namespace=context.namespace,
            clock=boot_clock,
            after=self.settle,
        )
        if context.namespace is not None:
            self.spreading = Spreading(
                context,
                context.namespace,
                self.machine,
                self.owners,
                card,
                deliver=self._deliver,
                mtu=self._settings.mtu,
                clock=boot_clock,
                after=self.settle,
            )
            self.lane.attach(card, neighbours, self.owners.question, self.spreading.from_card)
        if not self.guards:
            self._let_pass(card)

    def _let_pass(self, card: Tap | UserCard) -> None:
        self._passing = card
        if not self.pressure.is_paused:
            self._read(card)

    def _read(self, card: Tap | UserCard) -> None:
        add_lane(asyncio.get_running_loop(), card.fileno(), self.lane.card_ready)

    def _pause(self, is_paused: bool) -> None:
        """Read the card no more, or again."""
        if self._passing is None:
            return
        if is_paused:
            remove_lane(asyncio.get_running_loop(), self._passing.fileno())
        else:
            self._read(self._passing)

    def _let_nothing_pass(self) -> None:
        if self._passing is not None:
            remove_lane(asyncio.get_running_loop(), self._passing.fileno())
            self._passing = None

    async def _pass_when_guarded(self, card: Tap | UserCard) -> None:
        if self.guards:
            await self.guards.answered(self._card_facts(card))
            self._let_pass(card)

    def _automatic(self, settings: CardSettings) -> AutomaticAddress | None:
        if settings.network is None or settings.card is None:
            return None
        namespace = self._context.namespace
        if namespace is not None and namespace.kind == "authority":
            raise ConfigError("modules.tincan.address", '"auto", but the authority gives the address: write that one')
        return AutomaticAddress(self._context.bus, self._context.state / "address", settings.network)

    async def _follow(self, automatic: AutomaticAddress) -> None:
        """Make every address that the directory gives the card's own."""
        async for address in automatic.follow():
            if self.interfaces == (address,):
                continue
            self.interfaces = (address,)
            self.machine.introduce(own_node(self._context, self._addresses).credentials, boot_clock())
            try:
                await self._replace_card()
            except IpopError as error:
                log.error("no card", extra={"fields": {"error": str(error)}})
            self.settle()

    async def _replace_card(self) -> None:
        """Open a card with the address of now; one with another address goes."""
        before = self.card
        if before is not None:
            self._leave_card(before)
        self.card = await self._open_card(self._settings.card_settings)
        if self.card is not None:
            self._serve_card(self.card)
            await self._bring_up_in_time(self.card, registered=True)

    def _leave_card(self, card: Tap | UserCard) -> None:
        if self._bringing_up is not None:
            self._bringing_up.cancel()
        for part in (self.owners, self.spreading):
            if part is not None:
                part.close()
        self._let_nothing_pass()
        if isinstance(card, Tap):
            self._kept_card = os.dup(card.fileno())
        card.close()

    @property
    def _addresses(self) -> list[IPv4Address | IPv6Address]:
        return [interface.ip for interface in self.interfaces]

    async def _bring_up_in_time(self, card: Tap | UserCard, *, registered: bool = False) -> None:
        """Bring the card up when this node has registered, as nobody can find anybody before; or after a moment.

        Where it takes longer, the kernel is told to hold its packets for longer than usual. However long it takes, no
        card comes up before its guards have answered.
        """
        if not isinstance(card, Tap):
            if self.guards:
                raise ConfigError(
                    "modules.tincan.card_type", "user, which no kernel guards; give this node a real card"
                )
            self.card_is_up = True
            self._announce_card()
            return
        from .card.netlink import bring_up, set_patience  # noqa: PLC0415 - a quarter of a second to import

        set_patience(card.name, PATIENCE_AT_START)
        has_registered = asyncio.Event()
        if registered:
            has_registered.set()

        def on_registered(event: Event) -> None:
            if "address" in event.body:
                has_registered.set()

        await self._context.bus.subscribe("topology.registered", on_registered)

        async def registration() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(BRING_UP_AFTER):
                    await has_registered.wait()

        async def wait() -> None:
            await asyncio.gather(self._pass_when_guarded(card), registration())
            try:
                await asyncio.to_thread(bring_up, card.name, card.mac, self.interfaces)
            except CardError as error:
                log.warning("the card stays down", extra={"fields": {"error": str(error)}})
                return
            self.card_is_up = True
            self._announce_card()
            await has_registered.wait()
            set_patience(card.name, PATIENCE)

        self._bringing_up = asyncio.get_running_loop().create_task(wait())

    def _card_facts(self, card: Tap | UserCard) -> JsonObject:
        return {"name": card.name, "mac": card.mac.hex(":"), "addresses": [str(item) for item in self.interfaces]}

    def _announce_card(self) -> None:
        if self.card is not None:
            facts = self._card_facts(self.card)
            fields = {"card": facts["name"], "addresses": " ".join(facts["addresses"])}
            log.info("card is up", extra={"fields": fields})
            self._context.bus.publish("link.card", facts)


def _fault(error: CardError) -> ConfigError:
    return ConfigError("modules.tincan", str(error))
