"""Who owns which virtual address: ARP and neighbour discovery answered in the directory's name.

Every entry is an owner that the directory confirmed. The local kernel asks with ARP requests and neighbour
solicitations; a known owner is answered at once, an unknown one is looked up while the kernel holds its packets. The
table goes on serving when the directory is silent, so that running traffic never depends on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final, NamedTuple

from . import arp, ethernet, ndp

LOOKUP_TIMEOUT: Final = 2.5
"""Seconds. The kernel holds packets for three."""
LOOKUP_RETRY: Final = 0.3
"""Seconds between questions while the directory has no certain answer."""
MAXIMUM_LOOKUPS: Final = 256
MAXIMUM_WAITERS: Final = 16
"""Different askers that wait for one address; a kernel is one."""
REFRESH_AFTER: Final = 60.0
"""Seconds until an entry that is asked for is confirmed again."""
NEGATIVE_LIFETIME: Final = 0.8
"""Seconds for which "nobody" holds: under the second after which the kernel asks again, so that a node that has just
registered is found by the second question."""
CONFIRM_AGAIN: Final = 2.0
"""Seconds until a confirmation that nobody answered is tried again."""
MAXIMUM_NEGATIVES: Final = 1024
MAXIMUM_ENTRIES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Reply:
    """Write this frame to the card."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Resolve:
    """Ask the directory who owns this address (packed, 4 or 16 bytes)."""

    address: bytes


Effects = list[Reply | Resolve]


class Asker(NamedTuple):
    """Who asked; the address is unspecified in a probe."""

    mac: bytes
    address: bytes


@dataclass(slots=True)
class _Entry:
    node: bytes
    mac: bytes
    refresh_at: float


@dataclass(slots=True)
class _Lookup:
    deadline: float
    ask_at: float | None = None
    """When to ask again; None while an answer is awaited."""
    askers: set[Asker] = field(default_factory=set)


class Neighbours:
    """The table of confirmed owners, and the lookups under way. Addresses are packed, nodes are ids of 20 bytes."""

    def __init__(self, node: bytes, interfaces: Iterable[IPv4Interface | IPv6Interface]) -> None:
        self.counters: Counter[str] = Counter()
        self._node = node
        self._mac = ethernet.mac_of(node)
        interfaces = tuple(interfaces)
        self._own = {interface.packed for interface in interfaces} | {ndp.link_local_of(self._mac)}
        self._subnets = [
            (interface.max_prefixlen // 8, int(interface.network.netmask), int(interface.network.network_address))
            for interface in interfaces
        ]
        self._entries: dict[bytes, _Entry] = {}
        self._lookups: dict[bytes, _Lookup] = {}
        self._negatives: dict[bytes, float] = {}
        self._nodes: dict[bytes, bytes] = {}
        self._addresses: dict[bytes, set[bytes]] = {}

    def node_of_mac(self, mac: bytes) -> bytes | None:
        """The node whose card has this hardware address, if one of its addresses is confirmed. The hot look-up."""
        return self._nodes.get(mac)

    def owner(self, address: bytes) -> bytes | None:
        """The confirmed owner of an address."""
        entry = self._entries.get(address)
        return entry.node if entry else None

    def entries(self) -> list[tuple[bytes, bytes]]:
        """All confirmed (address, node), for `restore` after a restart."""
        return [(address, entry.node) for address, entry in self._entries.items()]

    def restore(self, entries: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """Take over entries from before a restart: served at once, confirmed again when next asked for."""
        for address, node in entries:
            if self._is_on_link(address):
                self._store(address, node, now)

    def receive(self, frame: bytes | memoryview, now: float) -> Effects:
        """An ARP or neighbour discovery frame that the local kernel sent."""
        question = _question(frame)
        if question is None:
            return []
        target, asker = question
        if target in self._own or target == asker.address:
            return []
        if (mac := ndp.mac_of_link_local(target)) is not None:
            return [Reply(_reply(target, mac, asker))] if mac in self._nodes else []
        if not self._is_on_link(target):
            self.counters["outside"] += 1
            return []
        entry = self._entries.get(target)
        if entry is None:
            return self._look_up(target, asker, now)
        effects: Effects = [Reply(_reply(target, entry.mac, asker))]
        if now >= entry.refresh_at and target not in self._lookups and len(self._lookups) < MAXIMUM_LOOKUPS:
            self._lookups[target] = _Lookup(now + LOOKUP_TIMEOUT)
            effects.append(Resolve(target))
        return effects

    def resolved(self, address: bytes, node: bytes | None, now: float, *, certain: bool = False) -> Effects:
        """The directory's answer. With no node, `certain` tells "nobody owns it" from "could not find out"."""
        if node is not None and node != self._node:
            return self.learn(address, node, now)
        if certain or node is not None:
            self._lookups.pop(address, None)
            self._remove(address)
            self._remember_nobody(address, now)
            return []
        lookup = self._lookups.get(address)
        if lookup is not None:
            lookup.ask_at = now + LOOKUP_RETRY
        return []

    def learn(self, address: bytes, node: bytes, now: float) -> Effects:
        """A confirmed owner, asked for or not. Everybody who waits is answered; a changed owner is announced."""
        if not self._is_on_link(address) or node == self._node:
            return []
        lookup = self._lookups.pop(address, None)
        before = self._entries.get(address)
        askers = set(lookup.askers) if lookup else set()
        if before is not None and before.node != node:
            askers.add(self._kernel(len(address)))
        entry = self._store(address, node, now + REFRESH_AFTER)
        if entry is None:
            return []
        return [Reply(_reply(address, entry.mac, asker)) for asker in sorted(askers)]

    def next_wake(self) -> float | None:
        """When `wake` is due, on the clock of `now`."""
        due = [lookup.deadline for lookup in self._lookups.values()]
        due += [lookup.ask_at for lookup in self._lookups.values() if lookup.ask_at is not None]
        return min(due, default=None)

    def wake(self, now: float) -> Effects:
        """Ask again what had no certain answer, and give up what took too long."""
        effects: Effects = []
        for address, lookup in list(self._lookups.items()):
            if now >= lookup.deadline:
                self._give_up(address, now)
            elif lookup.ask_at is not None and now >= lookup.ask_at:
                lookup.ask_at = None
                effects.append(Resolve(address))
        return effects

    def _is_on_link(self, address: bytes) -> bool:
        if address in self._own:
            return False
        value = int.from_bytes(address, "big")
        return any(len(address) == size and value & mask == network for size, mask, network in self._subnets)

    def _kernel(self, size: int) -> Asker:
        """The local kernel as the receiver of an announcement, for a family by its address size."""
        own = (address for address in sorted(self._own) if len(address) == size)
        return Asker(self._mac, next(own))

    def _look_up(self, address: bytes, asker: Asker, now: float) -> Effects:
        if self._negatives.get(address, now) > now:
            self.counters["nobody"] += 1
            return []
        lookup = self._lookups.get(address)
        if lookup is not None:
            if len(lookup.askers) < MAXIMUM_WAITERS:
                lookup.askers.add(asker)
            return []
        if len(self._lookups) >= MAXIMUM_LOOKUPS:
            self.counters["too_many_lookups"] += 1
            return []
        self._lookups[address] = _Lookup(now + LOOKUP_TIMEOUT, askers={asker})
        return [Resolve(address)]

    def _give_up(self, address: bytes, now: float) -> None:
        del self._lookups[address]
        self.counters["unanswered"] += 1
        entry = self._entries.get(address)
        if entry is not None:
            entry.refresh_at = now + CONFIRM_AGAIN

    def _remember_nobody(self, address: bytes, now: float) -> None:
        self._negatives.pop(address, None)
        if len(self._negatives) >= MAXIMUM_NEGATIVES:
            del self._negatives[next(iter(self._negatives))]
        self._negatives[address] = now + NEGATIVE_LIFETIME

    def _store(self, address: bytes, node: bytes, refresh_at: float) -> _Entry | None:
        """Put an entry last in the table, the oldest making room. None when another node has the same MAC."""
        mac = ethernet.mac_of(node)
        if mac == self._mac or self._nodes.get(mac, node) != node:
            self.counters["mac_collisions"] += 1
            return None
        self._remove(address)
        if len(self._entries) >= MAXIMUM_ENTRIES:
            self._remove(next(iter(self._entries)))
        entry = self._entries[address] = _Entry(node, mac, refresh_at)
        self._nodes[mac] = node
        self._addresses.setdefault(mac, set()).add(address)
        return entry

    def _remove(self, address: bytes) -> None:
        entry = self._entries.pop(address, None)
        if entry is None:
            return
        addresses = self._addresses[entry.mac]
        addresses.discard(address)
        if not addresses:
            del self._addresses[entry.mac], self._nodes[entry.mac]


def _question(frame: bytes | memoryview) -> tuple[bytes, Asker] | None:
    """The address that a frame asks for, and the asker."""
    if len(frame) >= ethernet.HEADER_SIZE and frame[12] == 0x08:
        request = arp.parse(frame)
        if request is None or request.operation != arp.REQUEST:
            return None
        return request.target, Asker(request.sender_mac, request.sender)
    message = ndp.parse(frame)
    if message is None or message.kind != ndp.SOLICITATION:
        return None
    return message.target, Asker(message.mac, message.source)


def _reply(owner: bytes, owner_mac: bytes, asker: Asker) -> bytes:
    build = arp.reply if len(owner) == 4 else ndp.advertisement
    return build(owner_mac, owner, asker.mac, asker.address)
