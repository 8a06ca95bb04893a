"""The inner source check: a peer may send only as itself.

Frames that arrive from a peer must carry the peer's hardware address, and an IP source that the peer was confirmed
for, exactly, or one inside a prefix that it was granted. ARP and neighbour discovery never cross the network (both
are answered locally), so neither is accepted from it; nor is anything that is not IP.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address
from struct import Struct
from typing import Final

from . import ethernet, ndp
from .packet import ICMPV6

ALLOWED: Final = ""
SHORT: Final = "source_short"
DESTINATION: Final = "source_destination"
HARDWARE: Final = "source_hardware"
ADDRESS: Final = "source_address"
ETHERTYPE: Final = "source_ethertype"
DISCOVERY: Final = "source_discovery"
MALFORMED: Final = "source_malformed"

_IPV4: Final = Struct("!6s8sB11x4s4x")
"""Destination; source and ether type together; version and header length; IP source."""
_IPV6: Final = Struct("!6x8sB5xBx16s")
"""Source and ether type; version; next header; IP source."""
_UPPER_AT: Final = ethernet.HEADER_SIZE + 40
_EXTENSIONS: Final = frozenset((0, 43, 44, 60, 51))
"""Hop-by-hop, routing, fragment, destination options and authentication headers (RFC 8200, section 4)."""
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51


class SourceCheck:
    """What one peer may send to this node.

    `mac` is the peer's and `own_mac` this node's; `addresses` are the peer's confirmed ones, packed.
    """

    __slots__ = ("_addresses", "_head4", "_head6", "_mac", "_own_mac", "_prefixes")

    def __init__(
        self,
        mac: bytes,
        own_mac: bytes,
        addresses: Iterable[bytes],
        prefixes: Iterable[IPv4Network | IPv6Network] = (),
    ) -> None:
        self._mac = mac
        self._own_mac = own_mac
        self._head4 = mac + ethernet.IPV4.to_bytes(2, "big")
        self._head6 = mac + ethernet.IPV6.to_bytes(2, "big")
        own = {address for address in addresses if _is_unicast(address)}
        self._addresses = frozenset(own | {ndp.link_local_of(mac)})
        self._prefixes = tuple(prefixes)

    def refusal(self, frame: memoryview, *, broadcast: bool = False) -> str:
        """Why the frame must be dropped, a name to count it under; ALLOWED, which is false, when it may pass."""
        if len(frame) < _IPV4.size:
            return SHORT
        destination, head, version, source = _IPV4.unpack_from(frame)
        if destination != self._own_mac and not (broadcast and destination[0] & ethernet.GROUP_BIT):
            return DESTINATION
        if head == self._head4:
            if not 0x45 <= version <= 0x4F:
                return MALFORMED
            if source in self._addresses or (self._prefixes and self._is_granted(source)):
                return ALLOWED
            return ADDRESS
        if head == self._head6:
            return self._refusal6(frame)
        return ETHERTYPE if head[:6] == self._mac else HARDWARE

    def _refusal6(self, frame: memoryview) -> str:
        if len(frame) < _UPPER_AT:
            return SHORT
        _, version, following, source = _IPV6.unpack_from(frame)
        if version >> 4 != 6:
            return MALFORMED
        if source not in self._addresses and not (self._prefixes and self._is_granted(source)):
            return ADDRESS
        if following == ICMPV6 or following in _EXTENSIONS:
            return _refusal_of_upper(frame, following)
        return ALLOWED

    def _is_granted(self, source: bytes) -> bool:
        if not _is_unicast(source):
            return False
        address = ip_address(source)
        return any(address.version == prefix.version and address in prefix for prefix in self._prefixes)


def source_of(frame: memoryview | bytes) -> bytes | None:
    """The IP source of an Ethernet frame, 4 or 16 bytes; None where it holds no IP packet or none that a host has."""
    kind = int.from_bytes(frame[12:14], "big")
    at, size = {ethernet.IPV4: (26, 4), ethernet.IPV6: (22, 16)}.get(kind, (0, 0))
    address = bytes(frame[at : at + size])
    return address if size and len(address) == size and _is_unicast(address) else None


def _refusal_of_upper(frame: memoryview, following: int) -> str:
    """Find neighbour discovery behind any chain of extension headers."""
    at = _UPPER_AT
    while following in _EXTENSIONS:
        if at + 8 > len(frame):
            return MALFORMED
        if following == _FRAGMENT and (frame[at + 2] or frame[at + 3] & 0xF8):
            return ALLOWED  # a later fragment holds no header
        size = frame[at + 1]
        step = 8 if following == _FRAGMENT else (size + 2) * 4 if following == _AUTHENTICATION else (size + 1) * 8
        following, at = frame[at], at + step
    if following != ICMPV6:
        return ALLOWED
    if at >= len(frame):
        return MALFORMED
    return DISCOVERY if frame[at] in ndp.TYPES else ALLOWED


def _is_unicast(address: bytes) -> bool:
    """Neither unspecified, multicast, nor IPv4's class E with its broadcast address."""
    if not any(address):
        return False
    return address[0] < 0xE0 if len(address) == 4 else address[0] != 0xFF
