"""Who owns which virtual address, as the directory says: for the kernel's questions, and for peers that send to us.

Joins the card's neighbour table, the topology module's directory and the link machine. The kernel's questions about an
unknown address become lookups; a peer that proved its membership may send only from addresses that are confirmed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from ipop_core.bus.api import Bus
from ipop_core.errors import BusError
from ipop_core.namespace import Namespace

from .card.protocol.ethernet import mac_of
from .card.protocol.neighbours import Effects, Neighbours, Reply
from .card.protocol.source import SourceCheck, source_of
from .frames import Card
from .link.protocol.machine import LinkMachine

log = logging.getLogger("ipop.tincan")

LOOKUP_SECONDS: Final = 2.6
CLAIM_RETRIES: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
MAX_CLAIMED: Final = 16
CONTEST_INTERVAL: Final = 1.0
"""Seconds between fresh questions for an address that the table gives to another than the one who uses it."""
MAX_CONTESTS: Final = 1024
PROOF_SECONDS: Final = 2.0


class Owners:
    """Asks the directory, and puts its answers where they are needed."""

    def __init__(
        self,
        bus: Bus,
        machine: LinkMachine,
        neighbours: Neighbours,
        card: Card,
        *,
        namespace: Namespace | None,
        clock: Callable[[], float],
        after: Callable[[], None],
    ) -> None:
        self.neighbours: Final = neighbours
        self._bus = bus
        self._machine = machine
        self._card = card
        self._namespace = namespace
        self._clock = clock
        self._after = after
        self._tasks: set[asyncio.Task[None]] = set()
        self._claims: set[bytes] = set()
        """Peers whose addresses are being looked up."""
        self._granted: dict[bytes, set[bytes]] = {}
        """By peer in session, the addresses that it may send from."""
        self._contests: dict[tuple[bytes, bytes], float] = {}
        """By address and node that is not its owner by the table: when the directory was asked."""
        self._proofs: dict[bytes, list[asyncio.Future[None]]] = {}
        """By peer, those who wait for its proof of membership or its refusal."""
        self._timer: asyncio.TimerHandle | None = None

    def question(self, frame: memoryview, now: float) -> None:
        """The local kernel asks who has an address."""
        self._perform(self.neighbours.receive(frame, now))

    async def find(self, address: bytes) -> bytes | None:
        """The owner of an address (packed), from the table or the directory; None when nobody is known."""
        known = self.neighbours.owner(address)
        return known if known is not None else await self._look_up(address, fresh=False)

    async def owns(self, node: bytes, address: bytes) -> bool:
        """Whether an address (packed) is a node's.

        Addresses change hands: where the table names another, the directory is asked anew, at most once a
        CONTEST_INTERVAL.
        """
        known = self.neighbours.owner(address)
        if known == node:
            return True
        if known is not None and not self._may_contest(address, node):
            return False
        return await self._look_up(address, fresh=known is not None) == node

    def confirm(self, node: bytes) -> None:
        """A peer proved its membership: find out which of the addresses that it claims are its own."""
        self._settle_proof(node)
        if node not in self._claims:
            self._claims.add(node)
            self._spawn(self._confirm(node))

    def unplaced(self, node: bytes, frame: bytes) -> None:
        """A member sends from an address that is not known to be its own: it may be by now, or is told to register."""
        address = source_of(frame)
        if address is not None and node not in self._claims and len(self._granted.get(node, ())) < MAX_CLAIMED:
            self._claims.add(node)
            self._spawn(self._place(node, address))

    def refused(self, node: bytes) -> None:
        """The authority does not vouch for a peer."""
        self._settle_proof(node)

    def closed(self, node: bytes, *, revoked: bool) -> None:
        """There is no session with a peer any more; `revoked` where it lost its addresses, too."""
        self._settle_proof(node)
        self._granted.pop(node, None)
        if revoked:
            self.forget(node)

    def forget(self, node: bytes) -> None:
        """A node owns no address any more."""
        for address, owner in self.neighbours.entries():
            if owner == node:
                self._perform(self.neighbours.resolved(address, None, self._clock(), certain=True))

    def grant(self, node: bytes, addresses: set[bytes]) -> None:
        """Let a peer send from these addresses, too."""
        granted = self._granted.setdefault(node, set())
        granted |= addresses
        self._let_in(node, granted)
        for address in addresses:
            self._learn(address, node)

    def addresses_of(self, node: bytes) -> list[IPv4Address | IPv6Address]:
        """Those that are confirmed to be this node's."""
        return [ip_address(address) for address, owner in self.neighbours.entries() if owner == node]

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()

    async def _confirm(self, node: bytes) -> None:
        try:
            for delay in CLAIM_RETRIES:
                session = self._machine.sessions.get(node)
                if session is None or session.certificate is None:
                    return
                claimed = {address.packed for address in session.certificate.addresses[:MAX_CLAIMED]}
                if not claimed:
                    return
                own = claimed if self._is_certified() else {a for a in claimed if await self.owns(node, a)}
                if own:
                    self.grant(node, own)
                    return
                for address in claimed:
                    self._bus.publish("link.unplaced", {"node": node.hex(), "address": str(ip_address(address))})
                await asyncio.sleep(delay)
            log.warning("a peer's address is not its own by the directory", extra={"fields": {"node": node.hex()}})
            self._machine.refuse_source(node)
        finally:
            self._claims.discard(node)

    async def _place(self, node: bytes, address: bytes) -> None:
        try:
            if await self.owns(node, address):
                self.grant(node, {address})
            else:
                self._bus.publish("link.unplaced", {"node": node.hex(), "address": str(ip_address(address))})
        finally:
            self._claims.discard(node)

    def _is_certified(self) -> bool:
        """In an authority's namespace the certificate that proved membership speaks for its addresses."""
        return self._namespace is not None and self._namespace.kind == "authority"

    def _perform(self, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, Reply):
                self._card.write(0, 0, memoryview(effect.frame))
            else:
                self._spawn(self._resolve(effect.address))
        self._plan()

    async def _resolve(self, address: bytes) -> None:
        node, certain, _ = await self._ask(address)
        if node is not None:
            # The kernel's packet comes as soon as it has its answer: the session may be ready by then.
            self._machine.want_member(node, self._clock())
            self._after()
            if not await self._is_vouched_for(address, node):
                node, certain = None, False
        if node is not None:
            self._take_back(address, node)
        self._perform(self.neighbours.resolved(address, node, self._clock(), certain=certain))
        self._after()

    async def _look_up(self, address: bytes, *, fresh: bool) -> bytes | None:
        """The owner that the directory names and that may have the address; the table learns it."""
        node, _, certificate = await self._ask(address, fresh=fresh)
        if node is None or not (
            self._is_shown(address, node, certificate) or await self._is_vouched_for(address, node)
        ):
            return None
        self._learn(address, node)
        return node

    def _may_contest(self, address: bytes, node: bytes) -> bool:
        now = self._clock()
        if now < self._contests.get((address, node), -CONTEST_INTERVAL) + CONTEST_INTERVAL:
            return False
        self._contests.pop((address, node), None)
        if len(self._contests) >= MAX_CONTESTS:
            del self._contests[next(iter(self._contests))]
        self._contests[address, node] = now
        return True

    def _learn(self, address: bytes, node: bytes) -> None:
        self._take_back(address, node)
        self._perform(self.neighbours.learn(address, node, self._clock()))

    def _take_back(self, address: bytes, owner: bytes) -> None:
        """Let nobody else send from an address that is this node's. What a certificate gives is not the directory's."""
        if self._is_certified() or self.neighbours.owner(address) == owner:
            return
        for node, granted in self._granted.items():
            if node != owner and address in granted:
                granted.discard(address)
                self._let_in(node, granted)

    def _let_in(self, node: bytes, granted: set[bytes]) -> None:
        check = SourceCheck(mac_of(node), self._card.mac, granted)
        self._machine.confirm_source(node, check, self._clock())

    def _is_shown(self, address: bytes, node: bytes, certificate: bytes) -> bool:
        """Whether the directory showed the authority's certificate: then there need be no session to see it in."""
        session = self._machine.sessions.get(node)
        if not certificate or not self._is_certified() or (session is not None and session.member):
            return False
        return self._machine.is_given(address, node, certificate, self._clock())

    async def _is_vouched_for(self, address: bytes, node: bytes) -> bool:
        """Whether the authority, where there is one, gave this node the address: the directory takes anyone's word."""
        if not self._is_certified():
            return True
        session = self._machine.sessions.get(node)
        if session is None or not session.member:
            proof = asyncio.get_running_loop().create_future()
            self._proofs.setdefault(node, []).append(proof)
            self._machine.want_member(node, self._clock())
            self._after()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROOF_SECONDS):
                    await proof
            session = self._machine.sessions.get(node)
        if session is None or not session.member or session.vouched is None:
            return False
        if address in {vouched.packed for vouched in session.vouched}:
            return True
        self._machine.counters["refused_wrong_address"] += 1
        fields = {"node": node.hex(), "address": str(ip_address(address))}
        log.warning("a node claims an address that its certificate does not have", extra={"fields": fields})
        return False

    def _settle_proof(self, node: bytes) -> None:
        for proof in self._proofs.pop(node, ()):
            if not proof.done():
                proof.set_result(None)

    async def _ask(self, address: bytes, *, fresh: bool = False) -> tuple[bytes | None, bool, bytes]:
        """The owner, whether that is certain, and the certificate of the authority that the directory has of it."""
        body = {"address": str(ip_address(address)), "fresh": fresh}
        try:
            reply = await self._bus.request("topology", "resolve", body, timeout=LOOKUP_SECONDS)
        except BusError as error:
            log.debug("lookup failed", extra={"fields": {"address": body["address"], "error": str(error)}})
            return None, False, b""
        node = reply.body["node"]
        certificate = bytes.fromhex(reply.body.get("certificate", ""))
        return (None if node is None else bytes.fromhex(node)), bool(reply.body["certain"]), certificate

    def _plan(self) -> None:
        due = self.neighbours.next_wake()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            delay = max(due - self._clock(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(delay, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._perform(self.neighbours.wake(self._clock()))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
