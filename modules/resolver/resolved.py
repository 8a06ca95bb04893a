"""Tells systemd-resolved, where it runs, that the card's names are answered here (D-Bus, org.freedesktop.resolve1).

It is asked to send questions for our zones, and no others, to the card's own address: a link's DNS server with routing
domains (`~ipop`, org.freedesktop.resolve1(5)). What was said is taken back when the node stops; with the card, it goes
by itself. Where resolved comes later or is started again, it is told again. It is never started for this, and a node
works as well without it.

Its bus is the machine's, which a network namespace doesn't part from others: there an interface's number would mean
another card. So nothing is said where resolved is seen to live in another network namespace.

D-Bus and not `resolvectl`: errors have names, a service that comes is seen, and no program is started for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ipop_core.identity import Address

if TYPE_CHECKING:
    from dbus_fast.aio import MessageBus

_log = logging.getLogger(__name__)

Call = tuple[str, str, list[Any]]
"""A method with its signature and its arguments."""

SERVICE: Final = "org.freedesktop.resolve1"
_MANAGER: Final = (SERVICE, "/org/freedesktop/resolve1", "org.freedesktop.resolve1.Manager")
"""Name on the bus, path and interface."""
_BUS: Final = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
LIMIT: Final = 5.0
"""Seconds for an answer."""
NOT_THERE: Final = "not there"
TOLD: Final = "told"
_ABSENT: Final = ("org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner")


class RefusedError(Exception):
    """What the other side says, and the error's name on D-Bus."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


@dataclass(frozen=True)
class Wish:
    """What resolved is told of one link."""

    interface: int
    servers: Sequence[Address]
    port: int
    zones: Sequence[str]
    """Without a dot at the end."""

    def calls(self) -> list[Call]:
        servers = [
            [socket.AF_INET if ip.version == 4 else socket.AF_INET6, ip.packed, self.port, ""] for ip in self.servers
        ]
        return [
            ("SetLinkDNSEx", "ia(iayqs)", [self.interface, servers]),
            ("SetLinkDomains", "ia(sb)", [self.interface, [[zone, True] for zone in self.zones]]),
            ("SetLinkDefaultRoute", "ib", [self.interface, False]),
            # No authority signs a name of ours, and what asks is on the same machine.
            ("SetLinkDNSSEC", "is", [self.interface, "no"]),
            ("SetLinkDNSOverTLS", "is", [self.interface, "no"]),
        ]


class Resolved:
    def __init__(self) -> None:
        self.state = NOT_THERE
        """What came of it, for people."""
        self._bus: MessageBus | None = None
        self._wish: Wish | None = None
        self._telling: set[asyncio.Task[None]] = set()

    async def tell(self, wish: Wish) -> None:
        """Never fails: what went wrong stands in `state`."""
        self._wish = wish
        try:
            async with asyncio.timeout(LIMIT):
                if self._bus is None:
                    self._bus = await self._connect()
                await self._say(self._bus, wish)
        except RefusedError as error:
            absent = error.name in _ABSENT
            self._is(NOT_THERE if absent else f"refused: {error}", logging.DEBUG if absent else logging.WARNING)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            # Without a bus there is no systemd-resolved either.
            self._is(NOT_THERE, logging.DEBUG, str(error))

    async def take_back(self) -> None:
        for task in self._telling:
            task.cancel()
        bus, self._bus = self._bus, None
        if bus is None:
            return
        wish, told = self._wish, self.state == TOLD
        with contextlib.suppress(RefusedError, OSError, EOFError, TimeoutError):
            async with asyncio.timeout(LIMIT):
                if told and wish is not None:
                    await _call(bus, _MANAGER, ("RevertLink", "i", [wish.interface]))
        bus.disconnect()
        self.state = NOT_THERE

    async def _connect(self) -> MessageBus:
        from dbus_fast import BusType  # noqa: PLC0415 - only where names are answered
        from dbus_fast.aio import MessageBus as Connection  # noqa: PLC0415

        bus = await Connection(bus_type=BusType.SYSTEM).connect()
        bus.add_message_handler(self._heard)
        rule = f"type='signal',sender='{_BUS[0]}',member='NameOwnerChanged',arg0='{SERVICE}'"
        await _call(bus, _BUS, ("AddMatch", "s", [rule]))
        return bus

    async def _say(self, bus: MessageBus, wish: Wish) -> None:
        (process,) = await _call(bus, _BUS, ("GetConnectionUnixProcessID", "s", [SERVICE]))
        if is_elsewhere(process):
            self._is("in another network namespace")
            return
        for call in wish.calls():
            await _call(bus, _MANAGER, call)
        self._is(TOLD)

    def _heard(self, message: Any) -> None:
        """systemd-resolved has come, or has gone: then its new owner is empty."""
        if message.member != "NameOwnerChanged" or message.body[0] != SERVICE or self._wish is None:
            return
        if not message.body[2]:
            self._is(NOT_THERE)
            return
        task = asyncio.create_task(self.tell(self._wish))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    def _is(self, state: str, level: int = logging.INFO, why: str = "") -> None:
        if state != self.state or level == logging.DEBUG:
            _log.log(level, "systemd-resolved: %s%s", state, why and f" ({why})")
        self.state = state


async def _call(bus: MessageBus, whom: tuple[str, str, str], call: Call) -> list[Any]:
    """Raises RefusedError."""
    from dbus_fast import Message, MessageFlag, MessageType  # noqa: PLC0415 - as above

    (service, path, interface), (method, signature, body) = whom, call
    reply = await bus.call(
        Message(
            destination=service,
            path=path,
            interface=interface,
            member=method,
            signature=signature,
            body=body,
            flags=MessageFlag.NO_AUTOSTART,
        )
    )
    if reply is None or reply.message_type is MessageType.ERROR:
        name = "" if reply is None else reply.error_name or ""
        raise RefusedError(name, str(reply.body[0]) if reply is not None and reply.body else name)
    return list(reply.body)


def is_elsewhere(process: int) -> bool:
    """Whether that process is seen to be in another network namespace. Who may not look takes it to be in this one."""
    try:
        return os.stat(f"/proc/{process}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116
    except OSError:
        return False
