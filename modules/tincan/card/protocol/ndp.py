"""Neighbour discovery for IPv6: solicitations and advertisements (RFC 4861), and link-local addresses (RFC 4862)."""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from . import checksum, ethernet
from .packet import ICMPV6

SOLICITATION: Final = 135
ADVERTISEMENT: Final = 136
TYPES: Final = range(133, 138)
"""Router and neighbour solicitations and advertisements, and redirects."""

UNSPECIFIED: Final = bytes(16)
ALL_NODES: Final = bytes.fromhex("ff02") + bytes(13) + b"\x01"
_ALL_NODES_MAC: Final = bytes.fromhex("333300000001")
_SOLICITED_NODE: Final = bytes.fromhex("ff02") + bytes(9) + bytes.fromhex("01ff")
_LINK_LOCAL: Final = bytes.fromhex("fe80") + bytes(6)

_IPV6: Final = Struct("!IHBB16s16s")
_MESSAGE: Final = Struct("!BBHI16s")
_MESSAGE_AT: Final = ethernet.HEADER_SIZE + _IPV6.size
_OPTIONS_AT: Final = _MESSAGE_AT + _MESSAGE.size
_HOP_LIMIT: Final = 255
_SOURCE_OPTION: Final = 1
_TARGET_OPTION: Final = 2
_SOLICITED: Final = 0x40000000
_OVERRIDE: Final = 0x20000000


class Message(NamedTuple):
    kind: int
    """SOLICITATION or ADVERTISEMENT."""
    source: bytes
    """IPv6 address, 16 bytes; unspecified when a solicitation probes for a duplicate address."""
    target: bytes
    mac: bytes
    """The link-layer address option, or the frame's source where there is none."""


def link_local_of(mac: bytes) -> bytes:
    """The link-local address that a kernel makes from a hardware address (RFC 4291, appendix A)."""
    return _LINK_LOCAL + bytes([mac[0] ^ ethernet.LOCAL_BIT]) + mac[1:3] + b"\xff\xfe" + mac[3:]


def mac_of_link_local(address: bytes) -> bytes | None:
    """The reverse of `link_local_of`; None for any other address."""
    if not address.startswith(_LINK_LOCAL) or address[11:13] != b"\xff\xfe":
        return None
    return bytes([address[8] ^ ethernet.LOCAL_BIT]) + address[9:11] + address[13:]


def parse(frame: bytes | memoryview) -> Message | None:
    """A neighbour solicitation or advertisement from a whole Ethernet frame, checked as RFC 4861, section 7.1 has it.

    None for anything else, malformed ones included.
    """
    if len(frame) < _OPTIONS_AT:
        return None
    _, source_mac, ethertype = ethernet.HEADER.unpack_from(frame)
    first, length, following, hops, source, destination = _IPV6.unpack_from(frame, ethernet.HEADER_SIZE)
    end = _MESSAGE_AT + length
    if ethertype != ethernet.IPV6 or first >> 28 != 6 or following != ICMPV6 or hops != _HOP_LIMIT:
        return None
    if source_mac[0] & ethernet.GROUP_BIT or source[0] == 0xFF or not _OPTIONS_AT <= end <= len(frame):
        return None
    kind, code, _, _, target = _MESSAGE.unpack_from(frame, _MESSAGE_AT)
    if kind not in (SOLICITATION, ADVERTISEMENT) or code or target[0] == 0xFF or target == UNSPECIFIED:
        return None
    pseudo = checksum.pseudo_header(source + destination, ICMPV6, length)
    if checksum.finish(pseudo, checksum.total(frame[_MESSAGE_AT:end])):
        return None
    options = _options(bytes(frame[_OPTIONS_AT:end]))
    if options is None:
        return None
    option = options.get(_SOURCE_OPTION if kind == SOLICITATION else _TARGET_OPTION)
    if source == UNSPECIFIED and (kind == ADVERTISEMENT or option or destination != solicited_node(target)):
        return None
    if option and option[0] & ethernet.GROUP_BIT:
        return None
    return Message(kind, source, target, option or source_mac)


def solicited_node(address: bytes) -> bytes:
    """The multicast address that the owner of `address` listens on (RFC 4291, section 2.7.1)."""
    return _SOLICITED_NODE + address[13:]


def solicitation(sender_mac: bytes, sender: bytes, target: bytes) -> bytes:
    """The multicast frame that asks for `target`'s hardware address."""
    destination = solicited_node(target)
    body = _MESSAGE.pack(SOLICITATION, 0, 0, 0, target) + _option(_SOURCE_OPTION, sender_mac)
    return _frame(b"\x33\x33" + destination[12:], sender_mac, destination, sender, body)


def advertisement(owner_mac: bytes, owner: bytes, asker_mac: bytes, asker: bytes) -> bytes:
    """The answer to a solicitation. An unspecified asker probes for duplicates: all nodes are told (section 7.2.4)."""
    is_probe = asker == UNSPECIFIED
    flags = _OVERRIDE if is_probe else _SOLICITED | _OVERRIDE
    body = _MESSAGE.pack(ADVERTISEMENT, 0, 0, flags, owner) + _option(_TARGET_OPTION, owner_mac)
    if is_probe:
        return _frame(_ALL_NODES_MAC, owner_mac, ALL_NODES, owner, body)
    return _frame(asker_mac, owner_mac, asker, owner, body)


def _option(kind: int, mac: bytes) -> bytes:
    return bytes([kind, 1]) + mac


def _options(data: bytes) -> dict[int, bytes] | None:
    """Link-layer address options by kind, each six bytes; None when an option's length is zero or too long."""
    found: dict[int, bytes] = {}
    while data:
        if len(data) < 2 or not 0 < data[1] * 8 <= len(data):
            return None
        kind, size = data[0], data[1] * 8
        if kind in (_SOURCE_OPTION, _TARGET_OPTION):
            if size != 8:
                return None
            found[kind] = data[2:8]
        data = data[size:]
    return found


def _frame(destination_mac: bytes, source_mac: bytes, destination: bytes, source: bytes, body: bytes) -> bytes:
    value = checksum.finish(checksum.pseudo_header(source + destination, ICMPV6, len(body)), checksum.total(body))
    return b"".join(
        (
            ethernet.HEADER.pack(destination_mac, source_mac, ethernet.IPV6),
            _IPV6.pack(6 << 28, len(body), ICMPV6, _HOP_LIMIT, source, destination),
            body[:2],
            value.to_bytes(2, "big"),
            body[4:],
        )
    )
