"""The Address Resolution Protocol for IPv4 over Ethernet (RFC 826), with the probes of RFC 5227."""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from . import ethernet

REQUEST: Final = 1
REPLY: Final = 2
UNSPECIFIED: Final = bytes(4)

_MESSAGE: Final = Struct("!6s6sHHHBBH6s4s6s4s")
FRAME_SIZE: Final = _MESSAGE.size
_HARDWARE_ETHERNET: Final = 1


class Message(NamedTuple):
    operation: int
    sender_mac: bytes
    sender: bytes
    """IPv4 address, 4 bytes; unspecified in a probe."""
    target_mac: bytes
    target: bytes


def parse(frame: bytes | memoryview) -> Message | None:
    """An ARP request or reply from a whole Ethernet frame, to whomever it is sent. None for anything else.

    The sender's hardware address must be the frame's own source, and no group address.
    """
    if len(frame) < FRAME_SIZE:
        return None
    _, source, ethertype, hardware, protocol, mac_size, address_size, operation, *addresses = _MESSAGE.unpack_from(
        frame
    )
    if ethertype != ethernet.ARP or (hardware, protocol) != (_HARDWARE_ETHERNET, ethernet.IPV4):
        return None
    if (mac_size, address_size) != (ethernet.MAC_SIZE, 4) or operation not in (REQUEST, REPLY):
        return None
    sender_mac, sender, target_mac, target = addresses
    if sender_mac != source or source[0] & ethernet.GROUP_BIT:
        return None
    return Message(operation, sender_mac, sender, target_mac, target)


def request(sender_mac: bytes, sender: bytes, target: bytes) -> bytes:
    """The broadcast frame that asks for `target`'s hardware address."""
    message = Message(REQUEST, sender_mac, sender, bytes(ethernet.MAC_SIZE), target)
    return _frame(ethernet.BROADCAST, message)


def reply(owner_mac: bytes, owner: bytes, target_mac: bytes, target: bytes) -> bytes:
    """The unicast frame that tells `target` that `owner` has `owner_mac`."""
    return _frame(target_mac, Message(REPLY, owner_mac, owner, target_mac, target))


def _frame(destination: bytes, message: Message) -> bytes:
    return _MESSAGE.pack(
        destination,
        message.sender_mac,
        ethernet.ARP,
        _HARDWARE_ETHERNET,
        ethernet.IPV4,
        ethernet.MAC_SIZE,
        4,
        message.operation,
        message.sender_mac,
        message.sender,
        message.target_mac,
        message.target,
    )
