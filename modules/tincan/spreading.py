"""Broadcast and multicast of the card: from the kernel to all members, and from members to the kernel.

Joins the card, the tree of members (`link/protocol/broadcast.py`) and the directory, which knows the members. IGMP, MLD
and whatever else the kernel says to routers stay here: there are none on this network.

Ids are free to make up, and whoever hands a frame over can sign it as any of them. So a frame goes on only where its
origin is in the list of members, as long as that is certain; a newcomer's has the list asked for anew, if it is not too
new. What one member hands over has its share of the questions to the directory and of the places to wait in, and this
node's own frames have theirs.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from collections.abc import Set as AbstractSet
from typing import Any, Final

from ipop_core.allowance import Allowance
from ipop_core.bus.api import Bus
from ipop_core.contract import ModuleContext
from ipop_core.errors import BusError
from ipop_core.kept_file import KeptFile
from ipop_core.namespace import Namespace

from .card.protocol.ethernet import mac_of
from .card.protocol.group import is_for_routers
from .card.protocol.ndp import link_local_of
from .card.protocol.source import SourceCheck, source_of
from .frames import FRAME_HEADER, FRAME_HEADER_SIZE, Card
from .link.protocol.broadcast import Arrived, Broadcast, Copy, Refused
from .link.protocol.machine import LinkMachine
from .listing import list_members
from .numbering import first_number
from .owners import Owners

log = logging.getLogger("ipop.tincan")

LIST_LIFETIME: Final = 5.0
"""Seconds until the list of members is asked for again, while frames come."""
LIFETIME_PER_MEMBER: Final = 0.05
"""Seconds for each member, where that is longer: the list of a large namespace is some hundred kilobytes."""
LIST_RETRY: Final = 1.0
"""Seconds, while no list has come."""
NEWCOMERS: Final = 5.0
"""A frame of somebody who is not in the list has it asked for again after this part of the usual time."""
MAX_OWN: Final = 64
"""Frames of this node that wait for the first list of members."""
MAX_WAITING: Final = 256
"""Frames of others that wait for a list of members, or for the directory's word on their source."""
MAX_OF_ONE: Final = 64
"""Of these, so many that one member handed over: a burst of frames may come before the first list."""
LOOKUPS_A_SECOND: Final = 10.0
LOOKUPS_AT_ONCE: Final = 100.0
"""Questions to the directory about the sources of frames that one member handed over."""


class Spreading:
    def __init__(
        self,
        context: ModuleContext,
        namespace: Namespace,
        machine: LinkMachine,
        owners: Owners,
        card: Card,
        *,
        deliver: Callable[[int, int, memoryview], bool],
        mtu: int,
        clock: Callable[[], float],
        after: Callable[[], None],
    ) -> None:
        identity = context.identity
        self._bus: Bus = context.bus
        self._machine = machine
        self._owners = owners
        self._card = card
        self._deliver = deliver
        self._longest = FRAME_HEADER_SIZE + 14 + mtu
        self._clock = clock
        self._after = after
        self._number = KeptFile(context.state / "broadcast", "numbers of broadcast frames", log)
        first = first_number(self._number, time.time())
        self._broadcast = Broadcast(identity.node, identity.public_key_der, identity.sign, namespace.key, first)
        self._own: Final = identity.node
        self._members: list[bytes] = []
        self._listed: frozenset[bytes] = frozenset()
        """The same."""
        self._is_certain = False
        """Whether the list is: who is not in it is no member, or came later."""
        self._list_at = -math.inf
        """When the list is to be asked for again."""
        self._newcomers_at = -math.inf
        """When it may be because of somebody who is not in it."""
        self._is_doubted = False
        """The last list named fewer members, but was not certain."""
        self._listing: asyncio.Task[None] | None = None
        self._lookups: Final = Allowance(LOOKUPS_A_SECOND, LOOKUPS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: Counter[bytes] = Counter()
        """By who handed them over, this node among them, how many frames wait."""

    def close(self) -> None:
        self._number.close()
        for task in self._tasks:
            task.cancel()

    def from_card(self, frame: memoryview, now: float) -> None:
        """The local kernel sends a group frame (a CARD frame, header and all)."""
        counters = self._machine.counters
        if is_for_routers(frame[FRAME_HEADER_SIZE:]):
            counters["drop_group_routers"] += 1
        elif len(frame) > self._longest:
            counters["drop_group_large"] += 1
        else:
            self._wait(self._send_own(bytes(frame)), self._own)

    def from_member(self, member: bytes, body: bytes, now: float) -> None:
        """A member (its id) hands over a broadcast frame."""
        try:
            arrived = self._broadcast.received(member, memoryview(body), now)
        except Refused as refusal:
            self._machine.counters[f"drop_{refusal}"] += 1
            return
        self._machine.counters["group_received"] += 1
        if self._members and self._is_member(arrived.origin):
            self._refresh()
            self._start(self._take(member, arrived))
        else:
            self._wait(self._take_from_newcomer(member, arrived), member)

    async def _send_own(self, frame: bytes) -> None:
        await self._know_members()
        try:
            copies = self._broadcast.originate(frame, self._members, self._is_in_session, self._clock())
        except Refused as refusal:
            self._machine.counters[f"drop_{refusal}"] += 1
            return
        self._machine.counters["group_sent"] += 1
        self._send(copies)

    async def _take_from_newcomer(self, member: bytes, arrived: Arrived) -> None:
        """A frame whose origin is not in the list of members."""
        await self._know_members()
        if not self._is_member(arrived.origin):
            if self._listing is None and self._clock() >= self._newcomers_at:
                self._listing = self._start(self._list())
            if self._listing is not None:
                await asyncio.wait((self._listing,))
        if self._is_certain and not self._is_member(arrived.origin):
            self._machine.counters["drop_group_stranger"] += 1
            return
        address = self._hand_on(member, arrived)
        if address is not None:
            await self._look_up(arrived, address)

    async def _take(self, member: bytes, arrived: Arrived) -> None:
        address = self._hand_on(member, arrived)
        if address is not None:
            self._wait(self._look_up(arrived, address), member)

    def _hand_on(self, member: bytes, arrived: Arrived) -> bytes | None:
        """To other members, and to the card; or the source that the directory is to be asked about first."""
        self._send(self._broadcast.onward(arrived, self._members, self._is_in_session))
        frame = memoryview(arrived.frame)[FRAME_HEADER_SIZE:]
        address = source_of(frame)
        if address is None or address == link_local_of(mac_of(arrived.origin)):
            self._to_card(arrived, frozenset())
        elif self._owners.neighbours.owner(address) == arrived.origin:
            self._to_card(arrived, {address})
        elif self._lookups.take(member, self._clock()):
            return address
        else:
            self._machine.counters["drop_group_lookup_limit"] += 1
        return None

    async def _look_up(self, arrived: Arrived, address: bytes) -> None:
        is_own = await self._owners.owns(arrived.origin, address)
        self._to_card(arrived, {address} if is_own else frozenset())

    def _to_card(self, arrived: Arrived, addresses: AbstractSet[bytes]) -> None:
        """Where it comes from one of these addresses of its origin, or from the link-local one."""
        _, offload, size, _ = FRAME_HEADER.unpack_from(arrived.frame)
        frame = memoryview(arrived.frame)[FRAME_HEADER_SIZE:]
        mac = mac_of(arrived.origin)
        refusal = SourceCheck(mac, self._card.mac, addresses).refusal(frame, broadcast=True)
        if refusal:
            self._machine.counters[f"drop_group_{refusal}"] += 1
        elif not self._deliver(offload, size, frame):
            self._machine.counters["drop_card"] += 1

    def _send(self, copies: list[Copy]) -> None:
        now = self._clock()
        for copy in copies:
            self._machine.send_group(copy.node, copy.frame, now)
        self._after()

    def _is_in_session(self, node: bytes) -> bool:
        session = self._machine.sessions.get(node)
        return session is not None and session.member and session.keys is not None

    def _is_member(self, node: bytes) -> bool:
        return node in self._listed or self._is_in_session(node)

    def _refresh(self) -> None:
        if self._listing is None and self._clock() >= self._list_at:
            self._listing = self._start(self._list())

    async def _know_members(self) -> None:
        """Wait for the list of members the first time; later the old one serves while a newer is asked for."""
        self._refresh()
        if not self._members and self._listing is not None:
            await asyncio.wait((self._listing,))

    async def _list(self) -> None:
        try:
            nodes, certain = await list_members(self._bus)
        except BusError as error:
            log.debug("the members are not known", extra={"fields": {"error": str(error)}})
            self._is_certain = False
        else:
            self._is_certain = certain
            self._is_doubted = not certain and len(nodes) < len(self._members) and not self._is_doubted
            if not self._is_doubted:
                self._members, self._listed = nodes, frozenset(nodes)
        finally:
            count = len(self._members)
            pause = max(LIST_LIFETIME, LIFETIME_PER_MEMBER * count) if count else LIST_RETRY
            self._list_at = self._clock() + pause
            self._newcomers_at = self._clock() + max(pause / NEWCOMERS, LIST_RETRY)
            self._listing = None

    def _wait(self, work: Coroutine[Any, Any, None], member: bytes) -> None:
        """Do what may take a while with a frame that a member, or this node, handed over, if it has a place left."""
        count, others = self._waiting[member], self._waiting.total() - self._waiting[self._own]
        if count >= MAX_OWN if member == self._own else count >= MAX_OF_ONE or others >= MAX_WAITING:
            self._machine.counters["drop_group_waiting"] += 1
            work.close()
            return
        self._waiting[member] += 1
        self._start(work).add_done_callback(lambda _: self._waited(member))

    def _waited(self, member: bytes) -> None:
        self._waiting[member] -= 1
        if not self._waiting[member]:
            del self._waiting[member]

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
