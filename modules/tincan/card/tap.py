"""A card in the kernel: a persistent TAP with virtio-net headers and offloads (Linux, Documentation/networking/tuntap).

The kernel hands over ten bytes before every frame. The first two are read apart, so that the last eight land where the
frame's own header goes (`frames.py`), which then overwrites them: no copy.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import time
from collections import Counter
from fcntl import ioctl
from struct import Struct
from typing import Final

from ipop_modules.tincan.frames import (
    CARD,
    CHECKSUM_NEEDED,
    FRAME_HEADER,
    FRAME_HEADER_SIZE,
    NOTHING_WAITS,
    SEGMENT_MASK,
    SEGMENT_UDP,
    CardGone,
    Refusal,
)

from ..readiness import Readiness
from .errors import CardError
from .protocol import segment, train, virtio
from .protocol.stream import Stream, SuperFrame

_DEVICE: Final = "/dev/net/tun"
_TUNSETIFF: Final = 0x400454CA
_TUNSETPERSIST: Final = 0x400454CB
_TUNSETOFFLOAD: Final = 0x400454D0
_TUNGETIFF: Final = 0x800454D2
_TUNSETVNETHDRSZ: Final = 0x400454D8
_SIOCETHTOOL: Final = 0x8946
_ETHTOOL_GLINK: Final = 0x0A

_IFF_TAP: Final = 0x0002
_IFF_MULTI_QUEUE: Final = 0x0100
_IFF_NO_PI: Final = 0x1000
_IFF_VNET_HDR: Final = 0x4000
_MODE: Final = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | _IFF_MULTI_QUEUE

_CHECKSUM: Final = 0x01
_TSO: Final = 0x02 | 0x04 | 0x08
"""TCP over IPv4, over IPv6, and with ECN."""
_USO: Final = 0x20 | 0x40
_GRANTS: Final = {
    _CHECKSUM | _TSO | _USO: ("checksum", "tcp", "udp"),
    _CHECKSUM | _TSO: ("checksum", "tcp"),
    _CHECKSUM: ("checksum",),
    0: (),
}
"""Offloads to ask for, best first: UDP came with Linux 6.2."""

MOST_GROWTH: Final = 3
"""A super-frame that is cut here gives at most so many times its bytes: each segment costs a write, and a peer could
ask for 128 with 128 bytes. Programs send segments that are longer than the 42 bytes of headers before them."""

_RELEASE_TIME: Final = 1.0

_IFREQ: Final = Struct("16sH22x")
_IFREQ_POINTER: Final = Struct("16sP16x")
_INT: Final = Struct("=i")
_SHORTEST: Final = virtio.HEADER_SIZE + 14

_DROPS: Final = {
    errno.EAGAIN: "write_full",
    errno.ENOBUFS: "write_full",
    errno.EIO: "write_card_down",
    errno.EINVAL: "write_invalid",
    errno.EBADFD: "write_card_gone",
}


class Tap:
    """An open TAP. Implements `frames.Card`; `offloads` names what the kernel granted."""

    def __init__(self, descriptor: int, mac: bytes) -> None:
        """Take over a descriptor of ours that is attached to its card: after a restart, the carrier never went."""
        self._descriptor = descriptor
        self._mac = mac
        self._kind = bytearray(2)
        self.counters: Counter[str] = Counter()
        raw, mode = _IFREQ.unpack(ioctl(descriptor, _TUNGETIFF, bytes(_IFREQ.size)))
        self._name: str = raw.rstrip(b"\0").decode()
        if mode & _MODE != _MODE:
            raise CardError(f'the descriptor of card "{self._name}" is not one of ours (mode {mode:#06x})')
        os.set_blocking(descriptor, False)
        ioctl(descriptor, _TUNSETVNETHDRSZ, _INT.pack(virtio.HEADER_SIZE))
        self.offloads = _negotiate(descriptor)
        self._stream = Stream()
        self._gathers = False
        self._readiness = Readiness(descriptor)

    @classmethod
    def open(cls, name: str, mac: bytes) -> Tap:
        """Make the persistent card `name`, or take it over when nobody holds it any more. Raises CardError."""
        descriptor = _open_device()
        try:
            if not _is_released(name):
                raise CardError(f'card "{name}" is in use by another process; stop that, or set "card" to another name')
            _attach(descriptor, name)
            ioctl(descriptor, _TUNSETPERSIST, 1)
            return cls(descriptor, mac)
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def name(self) -> str:
        return self._name

    @property
    def mac(self) -> bytes:
        return self._mac

    def fileno(self) -> int:
        return self._descriptor

    def read(self, into: memoryview) -> int:
        while True:
            try:
                filled = os.readv(self._descriptor, (self._kind, into))
            except BlockingIOError:
                return 0
            except OSError as error:
                raise CardGone(error.errno, error.strerror) from error
            taken = self._taken(into, filled)
            if taken:
                return taken

    def read_more(self, view: memoryview, at: int, filled: int, limit: int) -> tuple[int, int]:
        end = at + filled
        if not self._readiness:
            return end, NOTHING_WAITS
        like = virtio.likeness(view[at:end]) if end + filled <= limit else None
        if like is None:
            return end, 0
        header = bytes(view[at : at + FRAME_HEADER_SIZE])
        size = filled - FRAME_HEADER_SIZE + virtio.HEADER_SIZE
        kind, descriptor, readv, looks = self._kind, self._descriptor, os.readv, virtio.LOOKS.unpack_from
        while end + filled <= limit:
            room = view[end:]
            try:
                got = readv(descriptor, (kind, room))
            except BlockingIOError:
                return end, NOTHING_WAITS
            if got == size and kind == virtio.PARTIAL and looks(room) == like:
                room[:FRAME_HEADER_SIZE] = header
                end += filled
            elif taken := self._taken(room, got):
                return end, taken
        return end, 0

    def _taken(self, into: memoryview, filled: int) -> int:
        """Put the header before a frame that was read; returns the bytes of both, 0 if it can't travel."""
        kind = self._kind
        length = filled - virtio.HEADER_SIZE
        if filled < _SHORTEST:
            self.counters["read_short"] += 1
            return 0
        if kind == virtio.PARTIAL and length >= virtio.LONG_ENOUGH and virtio.is_ordinary(into):
            FRAME_HEADER.pack_into(into, 0, CARD, CHECKSUM_NEEDED, 0, length)
            return FRAME_HEADER_SIZE + length
        flags, gso = kind
        if not gso and not flags & virtio.NEEDS_CHECKSUM:
            FRAME_HEADER.pack_into(into, 0, CARD, 0, 0, length)
            return FRAME_HEADER_SIZE + length
        frame = into[FRAME_HEADER_SIZE : FRAME_HEADER_SIZE + length]
        travelling = virtio.outgoing(flags, gso, into, frame)
        if travelling is None:
            self.counters["read_offload"] += 1
            return 0
        FRAME_HEADER.pack_into(into, 0, CARD, *travelling, length)
        return FRAME_HEADER_SIZE + length

    def gather(self) -> None:
        self._gathers = "tcp" in self.offloads

    def flush(self) -> None:
        self._gathers = False
        if self._stream:
            self._put_stream()

    def write(self, offload: int, size: int, frame: memoryview) -> bool:
        if self._stream:
            if offload == CHECKSUM_NEEDED and not size and self._stream.add(frame):
                return True
            self._put_stream()
        if self._gathers and offload == CHECKSUM_NEEDED and not size and self._stream.begin(frame):
            return True
        header = virtio.rebuild(offload, size, frame)
        if header is None:
            self.counters["write_refused"] += 1
            return False
        if offload & SEGMENT_MASK != SEGMENT_UDP:
            return self._put(header, frame)
        if "udp" not in self.offloads:
            return self._write_segments(size, frame)
        if len(frame) - virtio.headers_length(header) <= size * train.MOST:
            return self._put(header, frame)
        # The kernel takes one that is cut to a single segment as the datagram that it is.
        written = [self._put(header, piece) for piece in segment.shorter(size, train.MOST, frame) or ()]
        return all(written)

    def write_train(self, run: memoryview, refusal: Refusal) -> int:
        found = train.read(run) if "udp" in self.offloads else None
        if found is None or refusal(found.first):
            return 0
        if self._stream:
            self._put_stream()
        header = virtio.train_header(found.size, found.packet)
        try:
            os.writev(self._descriptor, (header, found.headers, *found.pieces))
        except OSError:
            return 0
        self.counters["write_trains"] += 1
        return found.taken

    def close(self) -> None:
        """Let go of the card. It stays, with its addresses, and its carrier while another process holds a duplicate."""
        if self._descriptor >= 0:
            self._readiness.close()
            os.close(self._descriptor)
            self._descriptor = -1

    def _put_stream(self) -> None:
        taken = self._stream.take()
        if isinstance(taken, SuperFrame):
            header = virtio.stream_header(taken.size, taken.packet)
            if self._put(header, taken.headers, *taken.pieces):
                self.counters["write_streams"] += 1
        elif taken is not None and (plain := virtio.rebuild(CHECKSUM_NEEDED, 0, taken)) is not None:
            self._put(plain, taken)

    def _put(self, header: bytes, *frame: memoryview | bytes | bytearray) -> bool:
        try:
            os.writev(self._descriptor, (header, *frame))
        except OSError as error:
            self.counters[_DROPS.get(error.errno or 0, "write_failed")] += 1
            return False
        return True

    def _write_segments(self, size: int, frame: memoryview) -> bool:
        cut = segment.segments(size, frame, len(frame) * MOST_GROWTH)
        if not cut:
            self.counters["write_refused"] += 1
            return False
        self.counters["write_segmented"] += 1
        written = [self._put(virtio.PLAIN, one) for one in cut]
        return all(written)


def _open_device() -> int:
    try:
        return os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise CardError(
            f'{_DEVICE} is missing: load the module with "modprobe tun", or give the container the device'
        ) from error
    except PermissionError as error:
        raise CardError(f"no permission for {_DEVICE}: run as root, or give the container the device") from error
    except OSError as error:
        raise CardError(
            f'{_DEVICE} cannot be opened ({error.strerror}): load the module with "modprobe tun"'
        ) from error


def _attach(descriptor: int, name: str) -> None:
    try:
        ioctl(descriptor, _TUNSETIFF, _IFREQ.pack(name.encode(), _MODE))
    except PermissionError as error:
        raise CardError(f'no permission to make card "{name}": run as root, or with CAP_NET_ADMIN') from error
    except OSError as error:
        if _exists(name):
            raise CardError(
                f'"{name}" is taken by another kind of card; remove it, or set "card" to another name'
            ) from error
        raise CardError(f'card "{name}" cannot be made: {error.strerror}') from error


def _negotiate(descriptor: int) -> tuple[str, ...]:
    for flags, names in _GRANTS.items():
        try:
            ioctl(descriptor, _TUNSETOFFLOAD, flags)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        else:
            return names
    return ()


def _exists(name: str) -> bool:
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def _is_released(name: str) -> bool:
    """Wait a moment for a killed process to let go of the card."""
    deadline = time.monotonic() + _RELEASE_TIME
    while _has_carrier(name):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _has_carrier(name: str) -> bool:
    """Whether somebody holds the card's descriptor. Unlike the running flag, this answer is never a second old."""
    value = array.array("I", (_ETHTOOL_GLINK, 0))
    request = _IFREQ_POINTER.pack(name.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            ioctl(probe, _SIOCETHTOOL, request)
        except OSError:
            return False
    return bool(value[1])
