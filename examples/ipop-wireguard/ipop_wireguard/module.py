"""The module: the bus on one side, what stands in the kernel on the other, and who is let in."""

import asyncio
import logging
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ipop_core.bus.api import Call, Event, JsonObject
from ipop_core.contract import ModuleContext
from ipop_core.errors import BusError, IpopError
from ipop_core.token_bucket import TokenBucket
from ipop_wireguard.card import Address, Card, put_down, read_card
from ipop_wireguard.keys import load_or_create
from ipop_wireguard.peers import BadHello, Hello, Peer, Peers, decode, encode
from ipop_wireguard.protection import Protection
from ipop_wireguard.silence import Silence
from ipop_wireguard.tunnel import Figures

LOOK_EVERY = 5.0
ASK_AGAIN = (0.5, 1.0, 1.5)
"""Seconds from one question for a peer's key to the next; then its packets are given up."""
YOUNG = 10.0
"""Seconds after which a peer that asks again has forgotten what was agreed on."""
DEAD = 180
"""Seconds; older keys WireGuard does not use (REJECT_AFTER_TIME)."""

log = logging.getLogger("ipop.wireguard")


@dataclass(frozen=True)
class Settings:
    """The section `modules.wireguard`."""

    port: int


def clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class WireGuard:
    def __init__(self, context: ModuleContext) -> None:
        self._context = context
        self._bus = context.bus
        self._settings: Settings = context.settings
        self._key_file, self._key = load_or_create(context.state)
        self._peers = Peers(self._key)
        self._protection: Protection
        self._on = True
        self._fault: str | None = None
        self._changing = asyncio.Lock()
        self._answers: dict[Address, asyncio.Future[None]] = {}
        """Of the addresses whose keys are being asked for."""
        self._greeted: set[str] = set()
        self._agreed: dict[bytes, float] = {}
        """When each node was put into WireGuard."""
        self._silence = Silence()
        self._asking = TokenBucket(rate=20.0, size=256.0, filled_at=clock())
        self._hearing = TokenBucket(rate=20.0, size=256.0, filled_at=clock())
        self._counters: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises IpopError where nothing can be protected."""
        body = (await self._bus.request("link", "status")).body["card"]
        await self._protect(await asyncio.to_thread(read_card, body))
        for action in ("guard", "status", "on", "off", "peer_message"):
            self._bus.serve(action, getattr(self, f"_serve_{action}"))
        await self._bus.subscribe("link.up", lambda _: self._spawn(self._greet()))
        await self._bus.subscribe("link.down", self._forget)
        self._spawn(self._look())

    async def stop(self) -> None:
        """The card stays, and may be used without this module next time: put it out of service, and leave nothing."""
        for task in list(self._tasks):
            task.cancel()
        if self._on:
            await self._protection.end(open_card=await asyncio.to_thread(put_down, self._protection.card))

    # Protecting the card.

    async def _protect(self, card: Card) -> None:
        self._protection = Protection(card, self._key_file, self._settings.port, self._wanted, self._has_fault)
        await self._protection.close_card()
        await self._protection.begin(self._put_again)
        self._fault = None
        self._spawn(self._greet())

    async def _unprotect(self, *, open_card: bool) -> None:
        await self._protection.end(open_card=open_card)
        self._peers.clear()
        self._agreed.clear()
        self._greeted.clear()

    async def _put_again(self) -> None:
        async with self._changing:
            await self._protection.put(self._peers)
        self._fault = None

    async def _serve_guard(self, call: Call) -> None:
        """The card is about to come up; it may be another one of the same name."""
        async with self._changing:
            card = await asyncio.to_thread(read_card, call.body)
            if not self._on:
                self._protection.card = card
            elif self._protection.begun and self._protection.card == card:
                await self._protection.close_card()
            else:
                await self._unprotect(open_card=False)
                await self._protect(card)

    async def _serve_on(self, _: Call) -> None:
        async with self._changing:
            if not self._on:
                await self._protect(self._protection.card)
                self._on = True
                self._bus.publish("crypto.on")

    async def _serve_off(self, _: Call) -> None:
        async with self._changing:
            if self._on:
                self._on = False
                await self._unprotect(open_card=True)
                self._bus.publish("crypto.off")

    # Keys of others.

    def _wanted(self, address: Address) -> bool:
        """Packets wait for this address: whether it is worth while."""
        if not self._protection.card.may_belong_to_peer(address):
            return False
        if address in self._answers:
            return True
        if not self._asking.take(clock()):
            return False
        self._spawn(self._ask(address))
        return True

    async def _ask(self, address: Address) -> None:
        answer = self._answers[address] = asyncio.get_running_loop().create_future()
        try:
            for patience in ASK_AGAIN:
                node = await self._owner(address)
                if node is not None:
                    self._say(node, wants_answer=True)
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(answer), patience)
                    return
            self._protection.give_up(address)
        finally:
            del self._answers[address]

    async def _owner(self, address: Address, *, fresh: bool = False) -> str | None:
        """The node that the directory says owns it."""
        body = {"address": str(address), "fresh": fresh}
        try:
            node: str | None = (await self._bus.request("topology", "resolve", body)).body["node"]
        except BusError:
            return None
        return node

    def _say(self, node: str, *, wants_answer: bool) -> None:
        own = tuple(own.ip.packed for own in self._protection.card.interfaces)
        data = encode(Hello(self._key, self._settings.port, own, wants_answer))
        self._bus.notify("link", "send", {"to": node, "mode": "session", "role": "crypto"}, [data])

    async def _greet(self) -> None:
        """Ask members that are there, and may know this node from before, for their keys."""
        try:
            peers = (await self._bus.request("link", "peers")).body["peers"]
        except BusError:
            return
        for peer in peers:
            node = peer["node"]
            if self._on and peer["member"] and node not in self._greeted:
                self._greeted.add(node)
                if self._peers.by_node(bytes.fromhex(node)) is None:
                    self._say(node, wants_answer=True)

    def _forget(self, event: Event) -> None:
        self._greeted.discard(event.body["node"])

    async def _serve_peer_message(self, call: Call) -> None:
        if not self._on or call.body["mode"] != "session":
            self._counters["drop_unproven" if self._on else "drop_off"] += 1
            return
        if not self._hearing.take(clock()):
            self._counters["drop_rate"] += 1
            return
        try:
            hello, claimed = decode(call.frames[0])
        except BadHello:
            self._counters["drop_malformed"] += 1
            return
        sender = call.body["sender"]
        own = tuple([address for address in claimed if await self._belongs_to(address, sender)])
        if not own:
            self._counters["refused_address"] += 1
            return
        if await self._let_in(Peer(bytes.fromhex(sender), hello.key, hello.port, own), anew=hello.wants_answer):
            for address in own:
                if (answer := self._answers.get(address)) is not None and not answer.done():
                    answer.set_result(None)
            if hello.wants_answer:
                self._say(sender, wants_answer=False)

    async def _belongs_to(self, address: Address, node: str) -> bool:
        if not self._protection.card.may_belong_to_peer(address):
            return False
        return await self._owner(address) == node or await self._owner(address, fresh=True) == node

    async def _let_in(self, peer: Peer, *, anew: bool) -> bool:
        """`anew`: the peer has lost what was agreed on with it, unless that was only just now."""
        async with self._changing:
            if not self._on:
                return False
            found = self._peers.put(peer)
            if found is None:
                self._counters["refused_key"] += 1
                return False
            gone, changed = found
            if anew and not changed and clock() - self._agreed.get(peer.node, clock()) > YOUNG:
                gone = changed = [peer]
            for item in gone:
                self._agreed.pop(item.node, None)
            for item in changed:
                self._agreed[item.node] = clock()
            try:
                await self._protection.put(changed, gone)
            except IpopError as error:  # it is put there again with all others
                self._has_fault(str(error))
        self._tell(gone, changed)
        return True

    def _tell(self, gone: list[Peer], changed: list[Peer]) -> None:
        for topic, peers in (("crypto.down", gone), ("crypto.up", changed)):
            for peer in peers:
                log.info(topic, extra={"fields": {"node": peer.node.hex(), "key": peer.key_text}})
                for address in peer.addresses:
                    self._bus.publish(topic, {"address": str(address)})

    async def _look(self) -> None:
        """Ask again those who let us hear nothing: they may have a new key, or have lost ours."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self._greet()
            for address in self._silence.look(await self._protection.figures()):
                self._wanted(address)

    # What the operator sees.

    async def _serve_status(self, _: Call) -> JsonObject:
        protection = self._protection
        found = await protection.figures() if self._on else []
        return {
            "kind": "wireguard",
            "on": self._on,
            "ready": self._on and protection.ready,
            "card": protection.card.name,
            "fault": self._fault,
            "restarts": protection.restarts,
            "associations": [_association(item, address) for item in found for address in item.addresses],
            "counters": {**self._counters, "drop_no_key": protection.dropped},
        }

    def _has_fault(self, line: str) -> None:
        if line != self._fault:
            self._fault = line
            self._context.report_fault(line)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _association(figures: Figures, address: str) -> JsonObject:
    age = int(time.time()) - figures.handshake if figures.handshake else None
    return {
        "peer": address,
        "state": "waiting" if age is None or age > DEAD else "protected",
        **({} if age is None else {"age_s": age}),
        "bytes_in": figures.bytes_in,
        "bytes_out": figures.bytes_out,
    }
