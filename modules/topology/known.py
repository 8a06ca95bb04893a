"""Keeps the peers that had a direct link on disk, and asks some of them (`protocol/remembered.py` says which and when).

It names some of them to newcomers as well, and asks those that were named to this node (the same says why).

With all bootstraps gone, a node that starts again asks these. A node that has links asks one that it has lost now and
then: a ring that was split, all of whose bootstraps are gone, grows together again once there is a way across.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Iterable
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final

import msgspec

from ipop_core.bus.api import Bus
from ipop_core.clock import boot_clock
from ipop_core.errors import BusError
from ipop_core.kept_file import KeptFile
from ipop_modules.topology.protocol.remembered import Kept, Remembered

_log = logging.getLogger(__name__)

KIND: Final = "known"
CONNECT_SECONDS: Final = 3.0
HELD: Final = 6.0
"""Seconds that a link to one is kept for: to hear who its neighbours are, and to ask for a place among them."""
SAVE_AFTER: Final = 2.0


class KnownPeers:
    def __init__(
        self, bus: Bus, path: Path, linked: Callable[[], Collection[str]], is_alone: Callable[[], bool]
    ) -> None:
        """`linked` gives the nodes that have a direct link now, `is_alone` is the ring's."""
        self._bus = bus
        self._is_alone = is_alone
        self._file = KeptFile(path, "known peers", _log)
        self._linked = linked
        self._kept = _load(path)
        self._remembered = Remembered(self._kept, os.urandom, boot_clock())
        self._changed = False

    def note(self, node: str, endpoint: str, kinds: Collection[str]) -> None:
        """A direct link is up, and this node wants it for these reasons."""
        if self._remembered.note(node, endpoint, kinds, self._linked()):
            self._changed = True

    def introduction(self, members: Iterable[bytes]) -> list[tuple[bytes, str]]:
        """Those of these that a newcomer may ask beside this node, and their endpoints."""
        known = [(member, self._remembered.endpoint(member.hex())) for member in members]
        return [(member, endpoint) for member, endpoint in known if endpoint and is_fit(endpoint)]

    def introduced(self, node: bytes, endpoint: str) -> None:
        """A member named this one: a stranger's word, so it counts only where a peer of another machine may be."""
        if is_fit(endpoint):
            self._remembered.introduced(node.hex(), endpoint)

    async def keep(self) -> None:
        """Save what changes, and ask whom there is to ask."""
        try:
            while True:
                await asyncio.sleep(SAVE_AFTER)
                if self._changed:
                    self._changed = False
                    self._file.keep(msgspec.json.encode(self._kept))
                await self._ask(self._remembered.wake(self._linked(), boot_clock(), alone=self._is_alone()))
        finally:
            self._file.close()

    async def _ask(self, chosen: Iterable[tuple[str, str]]) -> None:
        await asyncio.gather(*(self._connect(node, endpoint) for node, endpoint in chosen))

    async def _connect(self, node: str, endpoint: str) -> None:
        body = {"node": node, "endpoint": endpoint, "kind": KIND}
        try:
            await self._bus.request("link", "connect", body, timeout=CONNECT_SECONDS)
        except BusError as fault:
            _log.debug("a known peer does not answer", extra={"fields": {"node": node, "fault": str(fault)}})
            return
        _log.info("found a known peer", extra={"fields": {"node": node, "endpoint": endpoint}})
        await asyncio.sleep(HELD)
        # The ring wants the links that it needs by itself.
        self._bus.notify("link", "release", {"node": node, "kind": KIND})


def is_fit(endpoint: str) -> bool:
    """Whether it is `1.2.3.4:4741` or `[2001:db8::1]:4741`, with an address that one other machine may have."""
    host, _, port = endpoint.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        return False
    is_bracketed = host.startswith("[") and host.endswith("]")
    try:
        ip = ip_address(host[1:-1] if is_bracketed else host)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        if not is_bracketed or ip.scope_id:
            return False
    elif is_bracketed or ip.packed[0] == 0:
        return False
    return not (ip.is_multicast or ip.is_unspecified or ip.is_loopback or ip.is_link_local or ip.is_reserved)


def _load(path: Path) -> Kept:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except FileNotFoundError:
        return Kept()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        _log.warning("known peers can't be read", extra={"fields": {"fault": str(fault)}})
        return Kept()
