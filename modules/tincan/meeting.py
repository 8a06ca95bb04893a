"""The links' side of a rendezvous: what a peer is told of this node, and what is tried when the peer's word has come.

Both the module and a simulation use it: it does no I/O, and what it knows of the machine's place is in `reach.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ipop_core.bus.api import JsonObject

from .link.protocol.machine import LinkMachine
from .link.protocol.mapping import ALTERNATE, NEXT
from .reach import Reach


class Meeting:
    def __init__(self, machine: LinkMachine, reach: Reach) -> None:
        self._machine: Final = machine
        self._reach: Final = reach

    def offer(self, node: bytes | None, now: float) -> JsonObject:
        """What the other side of a rendezvous is told, that node: the answer of the action `candidates`."""
        searching, reach = self._machine.searching, self._reach
        able = node is None or searching.able(node, reach.outer_of(node), now)
        order = ALTERNATE if node is not None and self._machine.own < node else NEXT
        return {"candidates": reach.candidates(order), "nat": reach.nat_body(searching.allowed, able)}

    def attempt(
        self, node: bytes, candidates: Iterable[str], nat: JsonObject | None, now: float, *, early: bool = False
    ) -> None:
        """Try what the peer told: the action `probe`. Raises ValueError for an endpoint that is none."""
        places = [self._reach.endpoint(text) for text in candidates]
        usable = [place for place in places if place is not None]
        search = None if nat is None else self._reach.search(node, nat)
        able = nat is None or nat.get("able", True)
        self._machine.probe(node, usable, now, early=early, search=search, peer_is_able=able)
