"""A small IP host: it resolves neighbours, answers echo requests and sends its own (RFC 1122, RFC 4861).

It behaves as a kernel behind a card does, as far as a ping goes: it asks once a second, holds packets for three.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final

from . import arp, icmp, ndp

ASK_INTERVAL: Final = 1.0
HOLD_TIME: Final = 3.0
"""Seconds for which packets wait for their neighbour's hardware address."""
MAXIMUM_HELD: Final = 101
"""Packets that wait for one neighbour."""
REACHABLE_TIME: Final = 30.0
"""Seconds until a neighbour's hardware address is asked for again."""
PING_TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Emit:
    """Send this Ethernet frame."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """An echo reply came, `round_trip` seconds after `ping`, the wait for the neighbour included."""

    address: bytes
    identifier: int
    sequence: int
    payload: bytes
    round_trip: float


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No reply in time; `is_unreachable` when the neighbour did not even tell its hardware address."""

    address: bytes
    identifier: int
    sequence: int
    is_unreachable: bool


Effects = list[Emit | Answered | Unanswered]
Ping = tuple[bytes, int, int]
"""Address, identifier, sequence."""


@dataclass(slots=True)
class _Question:
    started: float
    ask_at: float
    held: list[icmp.Echo] = field(default_factory=list)


class Endpoint:
    """One host with one hardware address. Addresses are packed, 4 or 16 bytes."""

    def __init__(self, mac: bytes, interfaces: Iterable[IPv4Interface | IPv6Interface], mtu: int) -> None:
        self._mac = mac
        self._interfaces = (*interfaces, IPv6Interface((ndp.link_local_of(mac), 64)))
        self._mtu = mtu
        self._own = {interface.packed for interface in self._interfaces}
        self._neighbours: dict[bytes, tuple[bytes, float]] = {}
        self._questions: dict[bytes, _Question] = {}
        self._pings: dict[Ping, float] = {}

    def ping(self, address: bytes, payload: bytes, identifier: int, sequence: int, now: float) -> Effects:
        """Send an echo request. ValueError when the address is on none of the subnets or the payload too long."""
        source = self._source_for(address)
        if not source:
            raise ValueError("it is on none of the card's subnets")
        version = 4 if len(address) == 4 else 6
        if icmp.OVERHEAD[version] + len(payload) > self._mtu:
            raise ValueError(f"a ping of {len(payload)} bytes does not fit the MTU of {self._mtu}")
        self._pings[address, identifier, sequence] = now
        return self._send(icmp.Echo(True, source, address, identifier, sequence, payload), now)

    def receive(self, frame: bytes | memoryview, now: float) -> Effects:
        """A frame from the network: a neighbour's answer, an echo request or reply; others are ignored."""
        if frame[:6] != self._mac:
            return []
        if (answer := arp.parse(frame)) is not None:
            return self._neighbour(answer.sender, answer.sender_mac, now) if answer.operation == arp.REPLY else []
        if (message := ndp.parse(frame)) is not None:
            is_answer = message.kind == ndp.ADVERTISEMENT
            return self._neighbour(message.target, message.mac, now) if is_answer else []
        echo = icmp.parse(frame)
        if echo is None or echo.destination not in self._own:
            return []
        if echo.is_request:
            if not self._source_for(echo.source):
                return []
            return self._send(echo._replace(is_request=False, source=echo.destination, destination=echo.source), now)
        sent = self._pings.pop((echo.source, echo.identifier, echo.sequence), None)
        if sent is None:
            return []
        return [Answered(echo.source, echo.identifier, echo.sequence, echo.payload, now - sent)]

    def next_wake(self) -> float | None:
        due = [min(question.ask_at, question.started + HOLD_TIME) for question in self._questions.values()]
        due += [sent + PING_TIMEOUT for sent in self._pings.values()]
        return min(due, default=None)

    def wake(self, now: float) -> Effects:
        """Ask neighbours again, and give up what nobody answered."""
        effects: Effects = []
        for address, question in list(self._questions.items()):
            if now >= question.started + HOLD_TIME:
                del self._questions[address]
                effects += [effect for echo in question.held for effect in self._lose(echo)]
            elif now >= question.ask_at:
                question.ask_at += ASK_INTERVAL
                effects.append(Emit(self._ask(address)))
        for ping, sent in list(self._pings.items()):
            if now >= sent + PING_TIMEOUT:
                del self._pings[ping]
                effects.append(Unanswered(*ping, is_unreachable=False))
        return effects

    def _source_for(self, address: bytes) -> bytes:
        """Our own address on the subnet of another, empty when there is none."""
        value = int.from_bytes(address, "big")
        for interface in self._interfaces:
            network = interface.network
            if len(interface.packed) == len(address) and value & int(network.netmask) == int(network.network_address):
                return interface.packed
        return b""

    def _send(self, echo: icmp.Echo, now: float) -> Effects:
        mac, until = self._neighbours.get(echo.destination, (b"", now))
        if until > now:
            return [Emit(icmp.build(mac, self._mac, echo))]
        return self._hold(echo, now)

    def _hold(self, echo: icmp.Echo, now: float) -> Effects:
        question = self._questions.get(echo.destination)
        if question is not None:
            question.held.append(echo)
            return self._lose(question.held.pop(0)) if len(question.held) > MAXIMUM_HELD else []
        self._questions[echo.destination] = _Question(now, now + ASK_INTERVAL, [echo])
        return [Emit(self._ask(echo.destination))]

    def _ask(self, address: bytes) -> bytes:
        build = arp.request if len(address) == 4 else ndp.solicitation
        return build(self._mac, self._source_for(address), address)

    def _neighbour(self, address: bytes, mac: bytes, now: float) -> Effects:
        """A neighbour told its hardware address: send what waited for it. Nobody asked: only known ones are updated."""
        question = self._questions.pop(address, None)
        if question is None and address not in self._neighbours:
            return []
        self._neighbours[address] = (mac, now + REACHABLE_TIME)
        return [Emit(icmp.build(mac, self._mac, echo)) for echo in question.held] if question else []

    def _lose(self, echo: icmp.Echo) -> Effects:
        """Drop a packet that waited in vain for its neighbour."""
        ping = (echo.destination, echo.identifier, echo.sequence)
        if not echo.is_request or self._pings.pop(ping, None) is None:
            return []
        return [Unanswered(*ping, is_unreachable=True)]
