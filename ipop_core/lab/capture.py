"""What really crossed a network: a capture of its packets, independent of anybody's own word."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable
from threading import Condition, Thread
from types import TracebackType
from typing import Final

from ipop_core.lab.errors import LabError, LabTimeoutError
from ipop_core.lab.namespace import Namespace
from ipop_core.lab.packet import Packet, parse_packet

# Names of <linux/if_packet.h>, <linux/if_ether.h> and <asm-generic/socket.h> that Python's socket module lacks.
_ETH_P_ALL: Final = 0x0003
_SOL_PACKET: Final = 263
_PACKET_ADD_MEMBERSHIP: Final = 1
_PACKET_STATISTICS: Final = 6
_PACKET_MR_PROMISC: Final = 1
_PACKET_MREQ: Final = struct.Struct("@iHH8s")
_STATISTICS: Final = struct.Struct("@II")
_SO_RCVBUFFORCE: Final = 33
_SO_TIMESTAMPNS: Final = 35
_TIMESPEC: Final = struct.Struct("@ll")

_BUFFER: Final = 64 << 20
_LONGEST: Final = 1 << 17
_ANCILLARY: Final = 256


class Capture:
    """All packets that cross one card of a namespace, while its `with` block runs; searched then or afterwards.

    A search sees everything that had crossed when it was called. On a bridge the capture sees what any two ports
    exchange, once each. `source` and `destination` in the searches are addresses as text, None for any.
    """

    def __init__(self, namespace: Namespace, interface: str) -> None:
        self._namespace = namespace
        self._interface = interface
        self._packets: list[Packet] = []
        self._changed = Condition()
        self._failure: OSError | None = None
        self._running = False
        self._dropped = 0

    def __enter__(self) -> Capture:
        self._socket = self._namespace.call(self._open)
        self._clock_gap = time.time() - time.monotonic()
        self._stop = os.eventfd(0)
        self._running = True
        self._thread = Thread(target=self._read, name=f"capture on {self._interface}", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        with self._changed:
            self._drain()
            self._running = False
        self._dropped = _dropped_by(self._socket)
        self._socket.close()
        os.close(self._stop)

    @property
    def dropped(self) -> int:
        """Packets that the kernel threw away because reading was too slow, known when the capture has ended.

        Only with 0 does "not seen" mean anything.
        """
        return self._dropped

    def packets(self, source: str | None = None, destination: str | None = None) -> list[Packet]:
        """Everything seen so far, whatever the protocol, oldest first."""
        return self._select(lambda _: True, source, destination)

    def datagrams(self, source: str | None = None, destination: str | None = None) -> list[Packet]:
        """The UDP datagrams seen so far, oldest first."""
        return self._select(lambda packet: packet.is_udp, source, destination)

    def count(self, source: str | None = None, destination: str | None = None) -> int:
        """How many UDP datagrams have been seen so far."""
        return len(self.datagrams(source, destination))

    def find(self, canary: bytes) -> list[Packet]:
        """The packets of any protocol that hold these bytes, headers included. One cut across two is not found."""
        return self._select(lambda packet: canary in packet.raw, None, None)

    def wait_for_datagram(
        self, source: str | None = None, destination: str | None = None, *, timeout: float = 10.0
    ) -> Packet:
        """The first such datagram, be it seen already or within `timeout` seconds. Raises LabTimeoutError."""
        return self.wait_for(
            lambda packet: packet.is_udp and _between(packet, source, destination),
            timeout=timeout,
            what=f"datagram from {source or 'anywhere'} to {destination or 'anywhere'}",
        )

    def wait_for(self, wanted: Callable[[Packet], bool], *, timeout: float = 10.0, what: str = "packet") -> Packet:
        """The first packet that is `wanted`, be it seen already or within `timeout` seconds.

        `what` names it in the error. Raises LabTimeoutError, and LabError when the capture itself broke off.
        """
        deadline = time.monotonic() + timeout
        looked_at = 0
        with self._changed:
            while True:
                for packet in self._packets[looked_at:]:
                    if wanted(packet):
                        return packet
                looked_at = len(self._packets)
                self._check()
                if not self._changed.wait(deadline - time.monotonic()):
                    raise LabTimeoutError(
                        f"no {what} on {self._interface} of {self._namespace.name} within {timeout:g} s; "
                        f"{looked_at} other packets were seen"
                    )

    def _select(self, wanted: Callable[[Packet], bool], source: str | None, destination: str | None) -> list[Packet]:
        with self._changed:
            self._drain()
            self._check()
            seen = list(self._packets)
        return [packet for packet in seen if wanted(packet) and _between(packet, source, destination)]

    def _check(self) -> None:
        if self._failure:
            raise LabError(f"capture on {self._interface} of {self._namespace.name}: {self._failure}")

    def _open(self) -> socket.socket:
        # Cooked (SOCK_DGRAM): packets begin with the network header, whatever kind of card it is. Protocol 0: nothing
        # arrives before it is bound to the one card.
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            _enlarge_buffer(sock)
            index = socket.if_nametoindex(self._interface)
            # A bridge hands up what its ports exchange only while it is promiscuous.
            membership = _PACKET_MREQ.pack(index, _PACKET_MR_PROMISC, 0, bytes(8))
            sock.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
            sock.bind((self._interface, _ETH_P_ALL))
        except OSError as error:
            sock.close()
            raise LabError(f"cannot capture on {self._interface} of {self._namespace.name}: {error}") from error
        return sock

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        while not any(descriptor == self._stop for descriptor, _ in poll.poll()):
            with self._changed:
                self._drain()
                if self._failure:
                    return

    def _drain(self) -> None:
        """Take what has crossed until now from the kernel; call it with the lock held."""
        if not self._running or self._failure:
            return
        now = seen_at = time.time()
        try:
            while seen_at <= now:
                raw, ancillary, _, sender = self._socket.recvmsg(_LONGEST, _ANCILLARY)
                seen_at = _kernel_time(ancillary)
                self._packets.append(parse_packet(raw, sender[1], seen_at, seen_at - self._clock_gap))
        except BlockingIOError:
            pass
        except OSError as error:
            self._failure = error
        self._changed.notify_all()


def _between(packet: Packet, source: str | None, destination: str | None) -> bool:
    return (source is None or packet.source == source) and (destination is None or packet.destination == destination)


def _enlarge_buffer(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    except PermissionError:  # root of a user namespace only
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)


def _dropped_by(sock: socket.socket) -> int:
    _, dropped = _STATISTICS.unpack(sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size))
    return int(dropped)


def _kernel_time(ancillary: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            return float(seconds + nanoseconds / 1e9)
    return time.time()
