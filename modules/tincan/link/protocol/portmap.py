"""A port mapping asked of the router: PCP (RFC 6887), and NAT-PMP (RFC 6886) where the router knows only that.

With it a node is reachable from everywhere, whatever the kind of its NAT. A router that answers neither is asked again
much later; a mapping is renewed after half of its lifetime, and at once when the router's epoch (`epoch.py`) shows that
it lost its table. It is ended when the node stops: one that is left would hand a stranger's packets to whoever has the
address next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Final

from . import mapping_faults
from .epoch import Epoch, lost_by_nat_pmp, lost_by_pcp

SERVER_PORT: Final = 5351
ANNOUNCEMENTS: Final = ("224.0.0.1", 5350)
"""Where a router tells that it has started (RFC 6887, section 14.1; RFC 6886, section 3.2.1)."""
NONCE_SIZE: Final = 12
LIFETIME: Final = 3600
SHORTEST_LIFETIME: Final = 60.0
REPEAT_DELAYS: Final = (0.25, 0.5, 1.0, 2.0)
ASK_AGAIN: Final = 900.0
RECOVERY: Final = 5.0
"""Seconds that a router has to make a mapping anew, once it lost its table; for as long, nothing sets it off again."""

_UDP: Final = 17
_ANNOUNCE: Final = 0
_MAP: Final = 1
_ANSWER: Final = 0x80
_PCP: Final = 2
_NAT_PMP: Final = 0
_UNSUPPORTED_VERSION: Final = 1
_PCP_REQUEST: Final = Struct("!BBHI16s12sB3xHH16s")
_PCP_RESPONSE: Final = Struct("!BBBBII12x12sB3xHH16s")
_PCP_HEADER: Final = Struct("!BBBBII12x")
_PMP_REQUEST: Final = Struct("!BBHHHI")
_PMP_MAPPED: Final = Struct("!BBHIHHI")
_PMP_ADDRESS: Final = Struct("!BBHI4s")
_ERROR_HEADER: Final = Struct("!BBH")


@dataclass(frozen=True, slots=True)
class Mapped:
    """The router passes on what comes to this address."""

    protocol: str
    """`pcp`, `nat-pmp` or `upnp`."""
    ip: bytes
    port: int
    until: float


class PortMap:
    """One mapping of one UDP port. Times are seconds on one clock; `own` is this node's IPv4 address on the LAN.

    `nonce` are 12 bytes that nobody else knows, and the same after a restart: only who has them may renew or end what
    they were given for (RFC 6887, section 11.3).
    """

    def __init__(self, port: int, nonce: bytes) -> None:
        self._port = port
        self._nonce = nonce
        self._own: IPv4Address | None = None
        self._version = _PCP
        self._tries = 0
        self._next: float | None = None
        self._outer_ip: bytes | None = None
        self._epochs: dict[int, Epoch] = {}
        self._recover_again = 0.0
        self.mapped: Mapped | None = None
        self.given_up = 0
        """How often the router has made no mapping: it was silent, or refused."""
        self.fault = ""
        """Why it made none when it was asked last."""

    def begin(self, own: IPv4Address, now: float) -> None:
        """Ask a router that has not been asked, or that this node has just come to."""
        self._own, self._version, self._tries, self._next = own, _PCP, 0, now
        self._epochs = {_PCP: Epoch(lost_by_pcp), _NAT_PMP: Epoch(lost_by_nat_pmp)}
        self._recover_again = now
        self.mapped = self._outer_ip = None
        self.fault = ""

    def end(self) -> None:
        """There is no router to ask."""
        self._own = self._next = self.mapped = None

    def next_wake(self) -> float | None:
        if self._next is None or self.mapped is None:
            return self._next
        return min(self._next, self.mapped.until)

    def wake(self, now: float) -> list[bytes]:
        """The requests to send to the router's port 5351 now."""
        if self.mapped is not None and now >= self.mapped.until:
            self.mapped = None
        if self._own is None or self._next is None or now < self._next:
            return []
        if self._tries >= len(REPEAT_DELAYS):
            self._rest(mapping_faults.SILENT, now)
            return []
        self._next = now + REPEAT_DELAYS[self._tries]
        self._tries += 1
        return self._requests(self._own)

    def received(self, data: bytes, now: float) -> None:
        """Take a datagram that the router sent to this node alone. What makes no sense is passed over."""
        if self._next is None or len(data) < _ERROR_HEADER.size:
            return
        version, opcode, _ = _ERROR_HEADER.unpack_from(data)
        if version == _PCP and self._version == _PCP:
            self._on_pcp(data, now)
        elif version == _NAT_PMP and self._version == _PCP and opcode >= _ANSWER:
            self._version, self._tries, self._next = _NAT_PMP, 0, now
        elif version == _NAT_PMP and self._version == _NAT_PMP:
            self._on_pmp(data, now)

    def announced(self, data: bytes, now: float) -> None:
        """Take a datagram that the router sent to everybody: where it lost its table, or has one now, ask at once."""
        if self._own is None:
            return
        lost = False
        if data[:2] == bytes([_PCP, _ANSWER | _ANNOUNCE]) and len(data) >= _PCP_HEADER.size:
            *_, epoch = _PCP_HEADER.unpack_from(data)
            lost = self._epochs[_PCP].heard(epoch, now)
        elif data[:2] == bytes([_NAT_PMP, _ANSWER]) and len(data) == _PMP_ADDRESS.size:
            _, _, _, epoch, ip = _PMP_ADDRESS.unpack_from(data)
            lost = self._epochs[_NAT_PMP].heard(epoch, now) or (self.mapped is not None and self.mapped.ip != ip)
        else:
            return
        if lost or (self.mapped is None and self._tries == 0):
            self._recover(now)

    def ending(self) -> list[bytes]:
        """The request to end the mapping; none where there is none (RFC 6887, section 15; RFC 6886, section 3.4)."""
        if self.mapped is None or self._own is None:
            return []
        version = _NAT_PMP if self.mapped.protocol == "nat-pmp" else _PCP
        return [self._map_request(version, self._own, 0, 0)]

    def ended(self, data: bytes) -> bool:
        """Whether this is the router's answer to `ending`, good or bad."""
        if data[:1] == bytes([_NAT_PMP]):
            return len(data) >= _PMP_MAPPED.size and data[1] == _ANSWER | _MAP
        return len(data) >= _PCP_RESPONSE.size and data[24:36] == self._nonce

    def _requests(self, own: IPv4Address) -> list[bytes]:
        asked = self._map_request(self._version, own, self._port, LIFETIME)
        return [bytes(2), asked] if self._version == _NAT_PMP else [asked]

    def _map_request(self, version: int, own: IPv4Address, outer: int, lifetime: int) -> bytes:
        if version == _NAT_PMP:
            return _PMP_REQUEST.pack(_NAT_PMP, _MAP, 0, self._port, outer, lifetime)
        client, anywhere = _in_ipv6(own.packed), _in_ipv6(bytes(4))
        fields = (_PCP, _MAP, 0, lifetime, client, self._nonce, _UDP, self._port, outer, anywhere)
        return _PCP_REQUEST.pack(*fields)

    def _on_pcp(self, data: bytes, now: float) -> None:
        if data[1] == _ANSWER | _MAP and data[3] == _UNSUPPORTED_VERSION:
            self._version, self._tries, self._next = _NAT_PMP, 0, now
            return
        if len(data) < _PCP_RESPONSE.size:
            return
        _, opcode, _, result, lifetime, epoch, nonce, protocol, port, outer, ip = _PCP_RESPONSE.unpack_from(data)
        if (opcode, nonce, protocol, port) != (_ANSWER | _MAP, self._nonce, _UDP, self._port):
            return
        lost = self._epochs[_PCP].heard(epoch, now)
        if result:
            self._refused(mapping_faults.pcp(result), now, lost=lost)
            return
        mapped = IPv6Address(ip).ipv4_mapped
        self._take("pcp", ip if mapped is None else mapped.packed, outer, lifetime, now)

    def _on_pmp(self, data: bytes, now: float) -> None:
        if data[1] == _ANSWER and len(data) >= _PMP_ADDRESS.size:
            _, _, result, epoch, ip = _PMP_ADDRESS.unpack_from(data)
            self._epochs[_NAT_PMP].heard(epoch, now)
            self._outer_ip = None if result else ip
        elif data[1] == _ANSWER | _MAP and len(data) >= _PMP_MAPPED.size:
            _, _, result, epoch, port, outer, lifetime = _PMP_MAPPED.unpack_from(data)
            lost = self._epochs[_NAT_PMP].heard(epoch, now)
            if result:
                self._refused(mapping_faults.nat_pmp(result), now, lost=lost)
            elif port == self._port and self._outer_ip is not None:
                self._take("nat-pmp", self._outer_ip, outer, lifetime, now)

    def _take(self, protocol: str, ip: bytes, port: int, lifetime: int, now: float) -> None:
        lasts = min(max(float(lifetime), SHORTEST_LIFETIME), 2.0 * LIFETIME)
        known = self.mapped
        if known is None or (known.ip, known.port) != (ip, port) or known.until < now + lasts / 2:
            self.mapped = Mapped(protocol, ip, port, now + lasts)
        self._tries, self._next = 0, now + lasts / 2

    def _recover(self, now: float) -> None:
        """Ask at once. What was mapped is offered until the router has answered, or should have."""
        if now < self._recover_again:
            return
        self._recover_again = now + RECOVERY
        self._tries, self._next = 0, now
        if self.mapped is not None:
            self.mapped = replace(self.mapped, until=min(self.mapped.until, now + RECOVERY))

    def _refused(self, fault: str, now: float, *, lost: bool) -> None:
        if lost:
            self.mapped = None
        self._rest(fault, now)

    def _rest(self, fault: str, now: float) -> None:
        self.given_up += 1
        self.fault = fault
        self._tries, self._version, self._next = 0, _PCP, now + ASK_AGAIN


def _in_ipv6(packed: bytes) -> bytes:
    return bytes(10) + b"\xff\xff" + packed
