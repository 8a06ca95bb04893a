"""A restart of tincan alone: who was linked, and who owned which address, so that both are there again at once.

Written when it has changed, read when the module starts, removed when it stops in an orderly way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import msgspec

from ipop_core.kept_file import KeptFile

from .card.protocol.neighbours import Neighbours
from .link.protocol.machine import LinkMachine
from .link.udp import UdpSocket, read_endpoint, show_endpoint
from .saved import Saved, SavedLink, load

log = logging.getLogger("ipop.tincan")

SAVE_DELAY: Final = 0.2


class Resuming:
    """Knows the file. `neighbours` gives the card's owners of addresses, None while there is no card."""

    def __init__(
        self, path: Path, machine: LinkMachine, udp: UdpSocket, neighbours: Callable[[], Neighbours | None]
    ) -> None:
        self._file: Final = KeptFile(path, "links that a restart takes up again", log)
        self._machine: Final = machine
        self._udp: Final = udp
        self._neighbours: Final = neighbours
        self._timer: asyncio.TimerHandle | None = None
        self._saved: Saved | None = None
        """What the file holds, or is to hold."""

    def resume(self, now: float) -> None:
        """Shake hands at once with the peers that were there."""
        saved = load(self._file.path)
        neighbours = self._neighbours()
        if neighbours is not None:
            owners = [(ip_address(address).packed, bytes.fromhex(node)) for address, node in saved.owners]
            neighbours.restore(owners, now)
        members = {node for _, node in saved.owners}
        # Those with card traffic first: their packets are waiting.
        for link in sorted(saved.links, key=lambda link: link.node not in members):
            ip, port = read_endpoint(link.endpoint)
            endpoint = self._udp.endpoint(ip, port)
            node = bytes.fromhex(link.node)
            for kind in link.kinds:
                self._machine.want(node, kind, now)
            if endpoint is not None:
                self._machine.contact(endpoint, node, now)
        if saved.links:
            log.info("resuming", extra={"fields": {"links": len(saved.links)}})

    def soon(self) -> None:
        """Something may have changed: write it in a moment."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SAVE_DELAY, self._save)

    def forget(self) -> None:
        """Write no more, and leave nothing for the next start."""
        if self._timer is not None:
            self._timer.cancel()
        self._file.close()
        self._file.path.unlink(missing_ok=True)

    def _save(self) -> None:
        self._timer = None
        links = []
        for session in self._machine.sessions.values():
            path = session.paths.active
            if path is not None and session.keys is not None:
                endpoint = show_endpoint(self._udp.address(path.endpoint))
                links.append(SavedLink(session.node.hex(), endpoint, tuple(sorted(session.kinds))))
        neighbours = self._neighbours()
        known = [] if neighbours is None else neighbours.entries()
        now = Saved(tuple(links), tuple((str(ip_address(address)), node.hex()) for address, node in known))
        if now == self._saved:
            return
        self._saved = now
        self._file.keep(msgspec.json.encode(now))
