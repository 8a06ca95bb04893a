"""The story, step by step, in whichever place it plays."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import TYPE_CHECKING, Final

from ipop_core import pidfile
from ipop_core.demo.diary import Diary, Entry
from ipop_core.demo.evidence import LAST
from ipop_core.demo.figures import Figures, milliseconds, round_trips
from ipop_core.demo.memory import pss_mb
from ipop_core.demo.narrator import Narrator
from ipop_core.demo.node import Node
from ipop_core.demo.ping import Reply
from ipop_core.demo.place import ADDRESSES, COUNT, INTERVAL, NETWORK, Place
from ipop_core.demo.ring import draw_identities
from ipop_core.demo.timeline import narrate_timeline
from ipop_core.demo.together import together
from ipop_core.errors import IpopError

if TYPE_CHECKING:
    from ipop_core.bus.api import Bus

NEAR: Final = 4
"""A bare node with so many near neighbours, two on each side, has found its place among the nine."""
POLL: Final = 0.1
BOBS_ADDRESS: Final = NETWORK.format(ADDRESSES["bob"])


class Story:
    def __init__(self, place: Place, narrator: Narrator) -> None:
        self._place = place
        self._narrator = narrator
        self._diary = Diary()
        self._replies: list[Reply] = []
        self._began = time.monotonic()

    async def tell(self) -> Figures:
        """Play it to its end. Raises DemoError."""
        await self._make_overlay()
        keeping = asyncio.create_task(self._diary.keep(self._place.alice))
        try:
            await self._bring_up()
            await self._ping()
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError, IpopError):
                await keeping
        return await self._conclude()

    async def _make_overlay(self) -> None:
        place, narrator = self._place, self._narrator
        with narrator.step("building the network"):
            place.build()
            bare = [node.state for node in place.bare]
            self._alice_id, self._bob_id = draw_identities(place.alice.state, place.bob.state, bare)
        narrator.heading("The network")
        for line in place.description:
            narrator.line(line)
        narrator.line("Keys are drawn so that at least three overlay nodes lie between Alice and Bob on the ring.")
        with narrator.step("starting the overlay nodes, and waiting until they have formed their ring"):
            place.start_bare()
            await together(node.ask(_in_its_place, "place in the ring") for node in place.bare)
        narrator.line(
            f"The overlay nodes have formed their ring, {time.monotonic() - self._began:.1f} s after the start."
        )

    async def _bring_up(self) -> None:
        place, narrator = self._place, self._narrator
        narrator.heading("Alice and Bob: one command each")
        namespace = f"demo-{secrets.token_hex(4)}"
        with narrator.step("starting Alice's and Bob's nodes"):
            start = time.monotonic()
            for node in (place.alice, place.bob):
                narrator.command(node.name, place.join(node, namespace))
            times = await together(self._card_up(node, start) for node in (place.alice, place.bob))
            self._cards_up = dict(zip(ADDRESSES, times, strict=True))
        for node in (place.alice, place.bob):
            command, printed = await place.show_card(node)
            narrator.command(node.name, command)
            for line in printed.splitlines():
                narrator.line(line)
            narrator.line(f"up {self._cards_up[node.name]:.0f} ms after the start of the command")

    async def _card_up(self, node: Node, start: float) -> float:
        await self._place.card_up(node)
        return round((time.monotonic() - start) * 1000, 1)

    async def _ping(self) -> None:
        place, narrator = self._place, self._narrator
        narrator.heading("Alice pings Bob, about whom nothing has been looked up yet")
        before: int | None = None
        with narrator.step("pinging"):
            self._pinged = time.monotonic()
            command, replies = place.ping(BOBS_ADDRESS)
            narrator.command("alice", command)
            async with contextlib.aclosing(replies):
                async for reply in replies:
                    self._replies.append(reply)
                    narrator.line(f"reply {reply.sequence:2} after {reply.rtt_ms:.2f} ms")
                    if before is None and reply.sequence >= COUNT - LAST:
                        before = await self._relayed()
            after = await self._relayed()
            self._relayed_last = after - (after if before is None else before)

    async def _relayed(self) -> int:
        """Packets that the bare nodes have passed on, all together, by their own counters."""
        return sum(await together(node.ask(_relayed_by) for node in self._place.bare))

    async def _conclude(self) -> Figures:
        place, replies = self._place, self._replies
        with self._narrator.step("looking at what was captured"):
            evidence = await place.evidence(self._diary)
            hops = await self._hops()
        found = self._lookup()
        first = replies[0] if replies else None
        start = self._pinged if first is None else first.sent - (first.sequence - 1) * INTERVAL
        relay_rtt, direct_rtt = round_trips(replies, evidence.direct_from)
        figures = Figures(
            place=place.name,
            nat=",".join(place.nat),
            sent=COUNT,
            received=len(replies),
            lost=COUNT - len(replies),
            lookup_ms=found.body["ms"] if found else None,
            looked_up_after_ms=milliseconds(start, found.at if found else None),
            first_reply_ms=first.rtt_ms if first else None,
            first_reply_hops=hops,
            relay_rtt_ms=relay_rtt,
            direct=evidence.direct,
            direct_after_ms=milliseconds(start, evidence.direct_at),
            direct_rtt_ms=direct_rtt,
            relayed_by_others=self._relayed_last,
            canary_on_card=evidence.canary_on_card,
            canary_on_public=evidence.canary_on_public,
            cards_up_ms=self._cards_up,
            start_ms=round((self._pinged - self._began) * 1000, 1),
            pss_mb={name: _memory(node) for name, node in (("alice", place.alice), ("bob", place.bob))},
        )
        narrate_timeline(self._narrator, figures, evidence.summary)
        return figures

    def _lookup(self) -> Entry | None:
        """The directory's answer about Bob's address, as Alice's node got it."""
        answers = self._diary.find("topology.resolved", address=BOBS_ADDRESS, node=self._bob_id.hex())
        return next(answers, None)

    async def _hops(self) -> int | None:
        """Overlay links between Alice and Bob when their session began, by Alice's node."""
        told = self._diary.find("link.first_packet", node=self._bob_id.hex())
        hops: int | None = next((entry.body["hops"] for entry in told if entry.body.get("hops")), None)
        return hops


async def _in_its_place(bus: Bus) -> None:
    """Return when the node is in the ring, with its near neighbours on both sides."""
    while True:
        ring = (await bus.request("topology", "status")).body
        if ring["joined"] and sum(neighbour["kind"] == "near" for neighbour in ring["neighbours"]) >= NEAR:
            return
        await asyncio.sleep(POLL)


async def _relayed_by(bus: Bus) -> int:
    counters = (await bus.request("link", "status")).body["counters"]
    return int(counters.get("relayed", 0))


def _memory(node: Node) -> float | None:
    pid = pidfile.holder(node.run)
    return pss_mb(pid) if pid else None
