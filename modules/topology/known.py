"""Peers that had a direct link, kept on disk: with all bootstraps gone, a node that starts again asks these."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from ipop_core.bus.api import Bus
from ipop_core.errors import BusError
from ipop_core.kept_file import KeptFile

_log = logging.getLogger(__name__)

KIND: Final = "known"
MOST: Final = 32
AT_ONCE: Final = 3
LONELY: Final = 6.0
"""Seconds without any link before known peers are asked: bootstraps come first."""
CONNECT_SECONDS: Final = 3.0
SAVE_AFTER: Final = 2.0


class KnownPeers:
    def __init__(self, bus: Bus, path: Path, has_links: Callable[[], bool]) -> None:
        self._bus = bus
        self._file = KeptFile(path, "known peers", _log)
        self._has_links = has_links
        self._endpoints = _load(path)
        """By node, the oldest first."""
        self._changed = False

    def note(self, node: str, endpoint: str) -> None:
        """A direct link is up."""
        self._changed = self._changed or self._endpoints.get(node) != endpoint
        self._endpoints.pop(node, None)
        self._endpoints[node] = endpoint
        if len(self._endpoints) > MOST:
            del self._endpoints[next(iter(self._endpoints))]

    async def keep(self) -> None:
        """Save what changes, and ask known peers whenever this node has been alone for a while."""
        lonely, turn = 0.0, 0
        try:
            while True:
                await asyncio.sleep(SAVE_AFTER)
                if self._changed:
                    self._changed = False
                    self._file.keep(msgspec.json.encode(self._endpoints))
                lonely = 0.0 if self._has_links() else lonely + SAVE_AFTER
                if lonely >= LONELY and self._endpoints:
                    await self._ask(turn)
                    turn += AT_ONCE
        finally:
            self._file.close()

    async def _ask(self, turn: int) -> None:
        newest = list(reversed(self._endpoints.items()))
        chosen = {newest[(turn + index) % len(newest)] for index in range(AT_ONCE)}
        await asyncio.gather(*(self._connect(node, endpoint) for node, endpoint in chosen))

    async def _connect(self, node: str, endpoint: str) -> None:
        body = {"node": node, "endpoint": endpoint, "kind": KIND}
        try:
            await self._bus.request("link", "connect", body, timeout=CONNECT_SECONDS)
        except BusError as fault:
            _log.debug("a known peer does not answer", extra={"fields": {"node": node, "fault": str(fault)}})
            return
        _log.info("found a known peer", extra={"fields": {"node": node, "endpoint": endpoint}})
        # The ring wants the links that it needs by itself; until then it stays for want of a reason to close it.
        self._bus.notify("link", "release", {"node": node, "kind": KIND})


def _load(path: Path) -> dict[str, str]:
    try:
        return dict(list(msgspec.json.decode(path.read_bytes(), type=dict[str, str]).items())[-MOST:])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as fault:
        _log.warning("known peers can't be read", extra={"fields": {"fault": str(fault)}})
        return {}
