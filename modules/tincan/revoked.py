"""Revoked certificates outside the machine: files that keep the lists, and members that are asked for newer ones.

The lists lie in the node's state folder, one for each authority: `AUTHORITY.crl`, DER, named after the authority's key.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509

from ipop_core.authority.revocation import BadRevocationList, RevocationList, authority_id, read_revocation_list
from ipop_core.bus.api import Bus
from ipop_core.errors import BusError
from ipop_core.kept_file import KeptFile

from .link.protocol.machine import LinkMachine
from .listing import list_members

log = logging.getLogger("ipop.tincan")

ASK_INTERVAL: Final = 30.0
MAX_ASKED: Final = 16
"""Members whom one round asks, besides those in session."""


def list_path(folder: Path, authority: bytes) -> Path:
    return folder / f"{authority.hex()}.crl"


def load_lists(folder: Path, authorities: Sequence[x509.Certificate]) -> tuple[RevocationList, ...]:
    """The lists that were kept; one that can't be read is complained of and comes again from the members."""
    lists = []
    for authority in authorities:
        path = list_path(folder, authority_id(authority))
        try:
            lists.append(read_revocation_list(path.read_bytes(), authorities))
        except FileNotFoundError:
            continue
        except (OSError, BadRevocationList) as error:
            log.warning("list of revoked certificates", extra={"fields": {"file": str(path), "error": str(error)}})
    return tuple(lists)


class Revoked:
    """Keeps what is learnt, and asks around."""

    def __init__(
        self, bus: Bus, machine: LinkMachine, folder: Path, *, clock: Callable[[], float], after: Callable[[], None]
    ) -> None:
        self._bus = bus
        self._machine = machine
        self._folder = folder
        self._clock = clock
        self._after = after
        self._files: dict[bytes, KeptFile] = {}
        """By authority."""
        self._newest: dict[bytes, RevocationList] = {}
        """By authority: what its file holds, or is to hold."""
        self._asking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Ask around from now on."""
        self._asking = asyncio.get_running_loop().create_task(self._ask_around())

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._rest()

    def keep(self, learnt: RevocationList) -> None:
        """Write a newer list, tell all members that can be found, and the other modules once they can read it."""
        self._newest[learnt.authority] = learnt
        if learnt.authority not in self._files:
            path, what = list_path(self._folder, learnt.authority), "lists of revoked certificates"
            self._files[learnt.authority] = KeptFile(path, what, log, kept=lambda: self._tell(learnt.authority))
        fields = {"number": str(learnt.number), "revoked": str(len(learnt.entries))}
        log.info("new list of revoked certificates", extra={"fields": fields})
        self._files[learnt.authority].keep(learnt.der)
        self._rest()
        self.start()

    def _tell(self, authority: bytes) -> None:
        learnt, path = self._newest[authority], self._files[authority].path
        body = {"authority": authority.hex(), "number": learnt.number, "file": str(path)}
        self._bus.publish("link.crl", body)

    def _rest(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    async def _ask_around(self) -> None:
        """Members in session tell each other; this finds those that have no session with any."""
        while True:
            known = await self._members()
            sessions = self._machine.sessions
            missing = [node for node in known if node not in sessions and node != self._machine.own]
            for node in missing[:MAX_ASKED]:
                self._machine.exchange_revocations(node, self._clock())
            self._after()
            await asyncio.sleep(ASK_INTERVAL)

    async def _members(self) -> Iterable[bytes]:
        try:
            nodes, _ = await list_members(self._bus)
        except BusError as error:
            log.debug("the members are not known", extra={"fields": {"error": str(error)}})
            return ()
        return nodes
