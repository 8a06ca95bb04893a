"""The story, step by step, in whichever place it plays; it ends with the figures."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, AsyncIterator, Final

from ipop_core import pidfile
from ipop_core.demo.diary import Diary
from ipop_core.demo.evidence import LAST
from ipop_core.demo.figures import Figures, Told
from ipop_core.demo.memory import pss_mb
from ipop_core.demo.narrator import Narrator
from ipop_core.demo.node import Node
from ipop_core.demo.ping import Reply
from ipop_core.demo.place import ADDRESSES, COUNT, NETWORK, Place
from ipop_core.demo.ring import draw_identities

if TYPE_CHECKING:
    from ipop_core.bus.api import Bus, JsonObject

JOIN_PATIENCE: Final = 60.0
JOIN_POLL: Final = 0.1
NEIGHBOURS: Final = 3
"""A bare node that has so many near neighbours has found its place among the nine."""


async def tell(place: Place, narrator: Narrator) -> Figures:
    """Play it. Raises DemoError."""
    began = time.monotonic()
    with narrator.step("building the network"):
        place.build()
        alice_id, bob_id = draw_identities(place.alice.state, place.bob.state, [node.state for node in place.bare])
    narrator.heading("The network")
    for line in place.description:
        narrator.line(line)
    narrator.line("the ids are drawn so that Alice and Bob are no neighbours on the ring: see docs/demo.md")
    with narrator.step("starting nine overlay nodes, and waiting for their ring"):
        place.start_bare()
        await asyncio.gather(*map(_joined, place.bare))
    narrator.line(f"the nine have formed a ring, {time.monotonic() - began:.1f} s after the start")
    ...
