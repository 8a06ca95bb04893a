"""Peers that had a direct link, kept on disk: with all bootstraps gone, a node that starts again asks these.

A node that has links asks one that it has lost now and then: a ring that was split, all of whose bootstraps are gone,
grows together again once there is a way across.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Sequence
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
LONELY: Final = 2.0
"""Seconds without any link before known peers are asked. Bootstraps come first, but a node that is alone for longer
takes itself for the first of its ring (founding.py), and what it claims then it may have to give back."""
LOST: Final = 300.0
"""Seconds, on average, from asking one peer that has no link any more to the next, while there are other links."""
CONNECT_SECONDS: Final = 3.0
HELD: Final = 6.0
"""Seconds that a link to one is kept for: to hear who its neighbours are, and to ask for a place among them."""
SAVE_AFTER: Final = 2.0


class KnownPeers:
    def __init__(self, bus: Bus, path: Path, linked: Callable[[], Collection[str]]) -> None:
        """`linked` gives the nodes that have a direct link now."""
        self._bus = bus
        self._file = KeptFile(path, "known peers", _log)
        self._linked = linked
        self._endpoints = _load(path)
        """By node, the oldest first; that which is linked no more makes room for others."""
        self._changed = False

    def note(self, node: str, endpoint: str) -> None:
        """A direct link is up."""
        self._changed = self._changed or self._endpoints.get(node) != endpoint
        self._endpoints.pop(node, None)
        self._endpoints[node] = endpoint
        if len(self._endpoints) > MOST:
            linked = self._linked()
            gone = (other for other in self._endpoints if other not in linked and other != node)
            del self._endpoints[next(gone, next(iter(self._endpoints)))]

    async def keep(self) -> None:
        """Save what changes; ask known peers when this node has been alone for a while, and lost ones now and then."""
        lonely, turn, pause = 0.0, 0, _pause()
        try:
            while True:
                await asyncio.sleep(SAVE_AFTER)
                if self._changed:
                    self._changed = False
                    self._file.keep(msgspec.json.encode(self._endpoints))
                linked = self._linked()
                lonely = 0.0 if linked else lonely + SAVE_AFTER
                pause -= SAVE_AFTER
                lost = [item for item in reversed(self._endpoints.items()) if item[0] not in linked]
                if lonely >= LONELY and lost:
                    await self._ask([lost[(turn + index) % len(lost)] for index in range(min(AT_ONCE, len(lost)))])
                    turn += AT_ONCE
                elif pause <= 0.0:
                    pause = _pause()
                    await self._ask(random.sample(lost, min(1, len(lost))))
        finally:
            self._file.close()

    async def _ask(self, chosen: Sequence[tuple[str, str]]) -> None:
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


def _pause() -> float:
    """Different for every node, lest all ask at once."""
    return random.uniform(0.5, 1.5) * LOST


def _load(path: Path) -> dict[str, str]:
    try:
        return dict(list(msgspec.json.decode(path.read_bytes(), type=dict[str, str]).items())[-MOST:])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        _log.warning("known peers can't be read", extra={"fields": {"fault": str(fault)}})
        return {}
