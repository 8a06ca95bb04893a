"""A port mapping asked of the router: PCP (RFC 6887), and NAT-PMP (RFC 6886) where the router knows only that.

With it a node is reachable from everywhere, whatever the kind of its NAT. A router that answers neither is asked again
much later; a mapping is renewed after half of its lifetime.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Final

SERVER_PORT: Final = 5351
LIFETIME: Final = 3600
SHORTEST_LIFETIME: Final = 60.0
REPEAT_DELAYS: Final = (0.25, 0.5, 1.0, 2.0)
ASK_AGAIN: Final = 900.0

_UDP: Final = 17
_MAP: Final = 1
_ANSWER: Final = 0x80
_PCP: Final = 2
_NAT_PMP: Final = 0
_UNSUPPORTED_VERSION: Final = 1
_PCP_REQUEST: Final = Struct("!BBHI16s12sB3xHH16s")
_PCP_RESPONSE: Final = Struct("!BBBBII12x12sB3xHH16s")
_PMP_REQUEST: Final = Struct("!BBHHHI")
_PMP_MAPPED: Final = Struct("!BBHIHHI")
_PMP_ADDRESS: Final = Struct("!BBHI4s")
_ERROR_HEADER: Final = Struct("!BBH")


@dataclass(frozen=True, slots=True)
class Mapped:
    """The router passes on what comes to this address."""

    protocol: str
    """`pcp` or `nat-pmp`."""
    ip: bytes
    port: int
    until: float


class PortMap:
    """One mapping of one UDP port. Times are seconds on one clock; `own` is this node's IPv4 address on the LAN."""

    def __init__(self, port: int, random: Callable[[int], bytes]) -> None:
        self._port = port
        self._nonce = random(12)
        self._own: IPv4Address | None = None
        self._version = _PCP
        self._tries = 0
        self._next: float | None = None
        self._outer_ip: bytes | None = None
        self.mapped: Mapped | None = None

    def begin(self, own: IPv4Address, now: float) -> None:
        """Ask a router that has not been asked, or that this node has just come to."""
        self._own, self._version, self._tries, self._next = own, _PCP, 0, now
        self.mapped = self._outer_ip = None

    def end(self) -> None:
        """There is no router to ask."""
        self._next = self.mapped = None

    def next_wake(self) -> float | None:
        return self._next

    def wake(self, now: float) -> list[bytes]:
        """The requests to send to the router's port 5351 now."""
        if self.mapped is not None and now >= self.mapped.until:
            self.mapped = None
        if self._own is None or self._next is None or now < self._next:
            return []
        if self._tries >= len(REPEAT_DELAYS):
            self._rest(now)
            return []
        self._next = now + REPEAT_DELAYS[self._tries]
        self._tries += 1
        return self._requests(self._own)

    def received(self, data: bytes, now: float) -> bool:
        """Take a datagram of the router's; True when the mapping changed. What makes no sense is passed over."""
        if self._next is None or len(data) < _ERROR_HEADER.size:
            return False
        before = self.mapped
        version, opcode, _ = _ERROR_HEADER.unpack_from(data)
        if version == _PCP and self._version == _PCP:
            self._on_pcp(data, now)
        elif version == _NAT_PMP and self._version == _PCP and opcode >= _ANSWER:
            self._version, self._tries, self._next = _NAT_PMP, 0, now
        elif version == _NAT_PMP and self._version == _NAT_PMP:
            self._on_pmp(data, now)
        return before != self.mapped

    def _requests(self, own: IPv4Address) -> list[bytes]:
        if self._version == _NAT_PMP:
            return [bytes(2), _PMP_REQUEST.pack(_NAT_PMP, _MAP, 0, self._port, self._port, LIFETIME)]
        client, anywhere = _in_ipv6(own.packed), _in_ipv6(bytes(4))
        fields = (_PCP, _MAP, 0, LIFETIME, client, self._nonce, _UDP, self._port, self._port, anywhere)
        return [_PCP_REQUEST.pack(*fields)]

    def _on_pcp(self, data: bytes, now: float) -> None:
        if data[1] == _ANSWER | _MAP and data[3] == _UNSUPPORTED_VERSION:
            self._version, self._tries, self._next = _NAT_PMP, 0, now
            return
        if len(data) < _PCP_RESPONSE.size:
            return
        _, opcode, _, result, lifetime, _, nonce, protocol, port, outer, ip = _PCP_RESPONSE.unpack_from(data)
        if (opcode, nonce, protocol, port) != (_ANSWER | _MAP, self._nonce, _UDP, self._port):
            return
        if result:
            self._rest(now)
            return
        mapped = IPv6Address(ip).ipv4_mapped
        self._take("pcp", ip if mapped is None else mapped.packed, outer, lifetime, now)

    def _on_pmp(self, data: bytes, now: float) -> None:
        if data[1] == _ANSWER and len(data) >= _PMP_ADDRESS.size:
            _, _, result, _, ip = _PMP_ADDRESS.unpack_from(data)
            self._outer_ip = None if result else ip
        elif data[1] == _ANSWER | _MAP and len(data) >= _PMP_MAPPED.size:
            _, _, result, _, port, outer, lifetime = _PMP_MAPPED.unpack_from(data)
            if result:
                self._rest(now)
            elif port == self._port and self._outer_ip is not None:
                self._take("nat-pmp", self._outer_ip, outer, lifetime, now)

    def _take(self, protocol: str, ip: bytes, port: int, lifetime: int, now: float) -> None:
        lasts = min(max(float(lifetime), SHORTEST_LIFETIME), 2.0 * LIFETIME)
        known = self.mapped
        if known is None or (known.ip, known.port) != (ip, port) or known.until < now + lasts / 2:
            self.mapped = Mapped(protocol, ip, port, now + lasts)
        self._tries, self._next = 0, now + lasts / 2

    def _rest(self, now: float) -> None:
        self._tries, self._version, self._next = 0, _PCP, now + ASK_AGAIN


def _in_ipv6(packed: bytes) -> bytes:
    return bytes(10) + b"\xff\xff" + packed
