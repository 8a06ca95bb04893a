"""All that stands in the kernel for one card, put there and taken away in an order that leaves no gap."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from ipop_core.errors import IpopError
from ipop_core.loader import Registry
from ipop_wireguard import firewall, routing
from ipop_wireguard.card import Address, Card
from ipop_wireguard.peers import Peer
from ipop_wireguard.tunnel import Figures, Tunnel
from ipop_wireguard.waiting import Waiting

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0

log = logging.getLogger("ipop.wireguard")


class Protection:
    """`wanted` is told of an address whose packets wait for a key; `failed` of a fault that is waited out."""

    def __init__(
        self, card: Card, key: Path, port: int, wanted: Callable[[Address], bool], failed: Callable[[str], None]
    ) -> None:
        self.card = card
        self._port = port
        self._tunnel = Tunnel(card, key, port)
        self._wanted = wanted
        self._failed = failed
        self._waiting: Waiting | None = None
        self._keeping: asyncio.Task[None] | None = None
        self.ready = False
        self.restarts = 0

    @property
    def begun(self) -> bool:
        return self._keeping is not None

    async def close_card(self) -> None:
        """From now on nothing passes the card but WireGuard's datagrams. Raises IpopError."""
        await asyncio.to_thread(firewall.apply, firewall.ruleset(self.card, self._port))
        await asyncio.to_thread(Registry().hand_over, "wireguard", self.card.name)

    async def begin(self, again: Callable[[], Awaitable[None]]) -> None:
        """Send user's packets into WireGuard; `again` puts the peers there after WireGuard was started anew.

        Raises IpopError.
        """
        self._waiting = Waiting(self.card.waiting, self._wanted)
        await self._open()
        self._keeping = asyncio.create_task(self._keep(again))

    async def end(self, *, open_card: bool) -> None:
        """Undo `begin`, and then, if `open_card`, `close_card`."""
        self.ready = False
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await asyncio.to_thread(routing.end, self.card)
        if self._waiting is not None:
            self._waiting.close()
        await self._tunnel.close()
        self._keeping = self._waiting = None
        if open_card:
            await asyncio.to_thread(firewall.apply, firewall.removal(self.card))

    async def put(self, peers: Iterable[Peer], gone: Iterable[Peer] = ()) -> None:
        """Let WireGuard speak with these, and no longer with those that are `gone`. Raises IpopError."""
        peers = list(peers)
        await self._tunnel.put(peers, gone)
        await _netlink(routing.add, self.card, [address for peer in peers for address in peer.addresses])
        if self._waiting is not None:
            for peer in peers:
                for address in peer.addresses:
                    self._waiting.release(address)

    def give_up(self, address: Address) -> None:
        """No key has come for what waits for this address."""
        if self._waiting is not None:
            self._waiting.give_up(address)

    @property
    def dropped(self) -> int:
        return 0 if self._waiting is None else self._waiting.dropped

    async def figures(self) -> list[Figures]:
        """Nothing, while WireGuard is away."""
        if self.ready:
            with suppress(IpopError):
                return await self._tunnel.figures()
        return []

    async def _open(self) -> None:
        await self._tunnel.open()
        await _netlink(routing.begin, self.card)
        self.ready = True

    async def _keep(self, again: Callable[[], Awaitable[None]]) -> None:
        pause = FIRST_PAUSE
        while True:
            await self._tunnel.ended()
            self.ready = False
            self._failed("WireGuard has gone, and is started again")
            await asyncio.sleep(pause)
            self.restarts += 1
            try:
                await self._open()
                await again()
                pause = FIRST_PAUSE
            except IpopError as error:
                self._failed(str(error))
                pause = min(2 * pause, LONGEST_PAUSE)


async def _netlink(work: Callable[..., None], *arguments: Any) -> None:
    try:
        await asyncio.to_thread(work, *arguments)
    except NetlinkError as error:
        raise IpopError(f"modules.wireguard: routes into WireGuard can't be made: {error}") from None
