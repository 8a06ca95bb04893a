"""The address of a node that takes any that is free: claimed in the directory, kept in the state folder.

The same address is asked for after a restart. Where two rings that had given it twice grow together, the node that
claimed it later gets another one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from ipaddress import ip_interface
from pathlib import Path
from typing import Final

from ipop_core.bus.api import Bus, Event
from ipop_core.errors import BusError
from ipop_core.kept_file import KeptFile

from .card.settings import Interface, Network

log = logging.getLogger("ipop.tincan")

CLAIM_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 1.0


class AutomaticAddress:
    def __init__(self, bus: Bus, path: Path, network: Network) -> None:
        """`path`: the file that keeps the address."""
        self._bus = bus
        self._file = KeptFile(path, "this node's addresses", log)
        self._network = network
        self._lost = asyncio.Event()
        self.kept: Final = _read(path, network)
        """The address that this node had last, if it fits the network."""

    async def follow(self) -> AsyncIterator[Interface]:
        """Every address that becomes this node's: one, and another whenever the last one turned out to be taken."""
        address = self.kept
        await self._bus.subscribe("topology.registered", lambda event: self._heard(event, address))
        try:
            while True:
                address = await self._claim(address)
                self._lost.clear()
                self._file.keep(f"{address}\n".encode())
                yield address
                await self._lost.wait()
                log.warning("another node had the address first", extra={"fields": {"address": str(address)}})
                address = None
        finally:
            self._file.close()

    async def _claim(self, wanted: Interface | None) -> Interface:
        body = {"network": str(self._network)}
        if wanted is not None:
            body["wanted"] = str(wanted.ip)
        while True:
            try:
                reply = await self._bus.request("topology", "allocate", body, timeout=CLAIM_SECONDS)
            except BusError as error:
                log.warning("no address yet", extra={"fields": {"error": error.message}})
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return ip_interface(reply.body["address"])

    def _heard(self, event: Event, address: Interface | None) -> None:
        is_ours = address is not None and event.body.get("address") == str(address.ip)
        if is_ours and event.body["state"] == "taken":
            self._lost.set()


def _read(path: Path, network: Network) -> Interface | None:
    try:
        address = ip_interface(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return None
    return address if address.network == network else None
