"""Reaching one bootstrap by whichever of its addresses answers first (RFC 8305, in spirit)."""

from __future__ import annotations

import asyncio
from typing import Final

from ipop_core.bus.api import Bus, JsonObject
from ipop_core.errors import BusError
from ipop_modules.signal.protocol.bootstrap import Bootstrap
from ipop_modules.signal.protocol.contact import KIND
from ipop_modules.signal.resolver import ResolveError, resolve

CONNECT_LIMIT: Final = 3.0
OWN_ID: Final = "own-id"
"""The links' word for a handshake in which this node met itself."""
HEAD_START: Final = 0.25
"""Seconds that an address is given before the next one is tried beside it."""


class DialError(Exception):
    """Says in a line why no address of a bootstrap gave a link."""


class SelfDialledError(Exception):
    """The bootstrap is this very node."""


async def dial(bus: Bus, bootstrap: Bootstrap) -> str:
    """The id of the node that answered first and has a direct link now. Raises DialError and SelfDialledError."""
    try:
        endpoints = await resolve(bootstrap)
    except ResolveError as error:
        raise DialError(str(error)) from None
    running: set[asyncio.Task[str]] = set()
    faults: dict[str, None] = {}
    try:
        while endpoints or running:
            if endpoints:
                running.add(asyncio.create_task(_connect(bus, bootstrap, endpoints.pop(0))))
            limit = HEAD_START if endpoints else None
            done, running = await asyncio.wait(running, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            for trial in done:
                try:
                    winner = trial.result()
                except DialError as error:
                    faults[str(error)] = None
                else:
                    _let_go(bus, winner, (done | running) - {trial})
                    running = set()
                    return winner
    finally:
        for trial in running:
            trial.cancel()
    raise DialError("; ".join(faults))


async def confirm(bus: Bus, node: str) -> str:
    """The node, if its direct link is there, as it is after `dial`. Raises DialError."""
    return await _ask(bus, {"node": node, "kind": KIND})


async def _connect(bus: Bus, bootstrap: Bootstrap, endpoint: str) -> str:
    expected = {} if bootstrap.node is None else {"node": bootstrap.node}
    return await _ask(bus, {"endpoint": endpoint, "kind": KIND, **expected})


async def _ask(bus: Bus, body: JsonObject) -> str:
    try:
        reply = await bus.request("link", "connect", body, timeout=CONNECT_LIMIT)
    except BusError as error:
        if error.code == "refused" and OWN_ID in error.message:
            raise SelfDialledError from None
        raise DialError("no answer" if error.code == "timeout" else error.message) from None
    return str(reply.body["node"])


def _let_go(bus: Bus, winner: str, losers: set[asyncio.Task[str]]) -> None:
    """A name may stand for several nodes: links to those that answer later aren't kept."""

    def answered(loser: asyncio.Task[str]) -> None:
        if not loser.cancelled() and loser.exception() is None and loser.result() != winner:
            bus.notify("link", "release", {"node": loser.result(), "kind": KIND})

    for loser in losers:
        loser.add_done_callback(answered)
