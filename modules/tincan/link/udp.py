"""The node's UDP socket: one for IPv4 and IPv6, with segmentation offload both ways where the kernel has it."""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import Any, Final, NoReturn

from ipop_core.errors import IpopError

from .protocol.backlog import Backlog, Load, Parcel, Unsent
from .protocol.block import MAX_SEGMENTS, MAX_SEND, Buffer
from .protocol.events import Endpoint

_SOL_UDP: Final = 17
_UDP_SEGMENT: Final = 103
_UDP_GRO: Final = 104
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33
_IP_MTU_DISCOVER: Final = 10
_IPV6_MTU_DISCOVER: Final = 23
_PROBE: Final = 3
"""IP_PMTUDISC_PROBE: don't fragment, and don't remember what routers said."""
_SO_MEMINFO: Final = 55
_MEMINFO: Final = Struct("=9I")
_BUFFER_BYTES: Final = 8 * 1024 * 1024
_SEGMENT: Final = Struct("=H")
_GRO_SEGMENT: Final = Struct("=i")
_ANCILLARY_SPACE: Final = socket.CMSG_SPACE(_GRO_SEGMENT.size)
RECEIVE_SIZE: Final = 65_536

_DROPS: Final = {
    errno.ENOBUFS: "socket_no_memory",
    errno.ECONNREFUSED: "socket_refused",
    errno.ENETUNREACH: "socket_unreachable",
    errno.EHOSTUNREACH: "socket_unreachable",
    errno.EADDRNOTAVAIL: "socket_unreachable",
    errno.EPERM: "socket_filtered",
    errno.EMSGSIZE: "socket_too_long",
}
_NO_SEGMENTATION: Final = frozenset({errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.ENOPROTOOPT})
"""What a send with segmentation says where there is none, and where a segment is longer than the card takes that it
would leave by."""
_FULL: Final = frozenset({errno.EAGAIN, errno.ENOBUFS})
PLAIN_SENDS: Final = 1000
"""Where there is no segmentation it is tried again after so many sends: a route or a policy may have changed."""


class UdpSocket:
    """Sends and receives datagrams; implements the link machine's `Wire`."""

    def __init__(self, sock: socket.socket, *, small: bool = False) -> None:
        """Take over a bound socket, a new one or one that was kept over a restart; `small`: one of very many."""
        self._socket: Final = sock
        self._dual: Final = sock.family == socket.AF_INET6
        self._send: Callable[..., object] = sock.sendmsg
        self._receive = sock.recvmsg_into
        self._control: dict[int, list[tuple[int, int, bytes]]] = {}
        self._plain = 0
        """Sends without segmentation that are left until it is tried again."""
        self._passed = 0
        """Buffers of a send without segmentation that went before there was no room: `hold` keeps the others."""
        self._has_taken = False
        """It took something while it was full, and the backlog has not been told yet."""
        self.backlog: Final = Backlog()
        self.counters: Final[Counter[str]] = Counter()
        sock.setblocking(False)
        _try_option(sock, _SOL_UDP, _UDP_GRO, 1)
        if not small:
            self.enlarge()
        # Nobody cuts our datagrams, and ICMP is not believed: the machine finds each path's size itself.
        _try_option(sock, socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PROBE)
        if self._dual:
            _try_option(sock, socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PROBE)

    @classmethod
    def open(cls, port: int, *, small: bool = False) -> UdpSocket:
        """Bind a UDP port (0: any) for both families, or for IPv4 where there is no IPv6. Raises IpopError."""
        try:
            sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            host = "::"
        except OSError:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            host = "0.0.0.0"
        try:
            sock.bind((host, port))
        except OSError as error:
            sock.close()
            if error.errno == errno.EADDRINUSE:
                raise IpopError(
                    f"UDP port {port} is in use by another program; stop that, or set another port (0 is any)"
                ) from error
            raise IpopError(f"UDP port {port} cannot be opened: {error.strerror}") from error
        return cls(sock, small=small)

    def enlarge(self) -> None:
        """Give it buffers for traffic."""
        for force, plain in ((_SO_SNDBUFFORCE, socket.SO_SNDBUF), (_SO_RCVBUFFORCE, socket.SO_RCVBUF)):
            if not _try_option(self._socket, socket.SOL_SOCKET, force, _BUFFER_BYTES):
                _try_option(self._socket, socket.SOL_SOCKET, plain, _BUFFER_BYTES)

    @property
    def endpoint_length(self) -> int:
        """How many elements this socket's endpoints have."""
        return 4 if self._dual else 2

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def overflow(self) -> int:
        """Datagrams that arrived while the socket's buffer was full."""
        return int(_MEMINFO.unpack(self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[8])

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._send = self._socket.sendmsg  # which fails from now on, and nothing is held any more
        self._socket.close()

    def receive(self, buffer: memoryview) -> tuple[int, int, Endpoint] | None:
        """One datagram, or a train of equal ones: its bytes, the size of each datagram, and the sender.

        None when nothing waits.
        """
        try:
            filled, ancillary, _, endpoint = self._receive([buffer], _ANCILLARY_SPACE)
        except BlockingIOError:
            return None
        except OSError as error:
            self._count(error)
            return 0, 1, ()
        if ancillary and ancillary[0][1] == _UDP_GRO:
            return filled, _GRO_SEGMENT.unpack(ancillary[0][2])[0], endpoint
        return filled, filled, endpoint

    def transmit(self, endpoint: Endpoint, buffers: Sequence[Buffer | bytearray], segment: int) -> Unsent | None:
        try:
            if len(buffers) <= 2:
                self._send(buffers, (), 0, endpoint)
            elif self._plain:
                self._one_by_one(endpoint, buffers)
            else:
                self._send(buffers, self._segment_option(segment), 0, endpoint)
        except OSError as error:
            if len(buffers) > 2 and not self._plain and error.errno in _NO_SEGMENTATION:
                return self._send_plainly(endpoint, buffers)
            return self._failed(error)
        return None

    def hold(
        self, endpoint: Endpoint, buffers: Sequence[Buffer | bytearray], segment: int, load: Load, now: float
    ) -> bool:
        """Keep what found no room, and ask the kernel no more until `drain` does; False when it was dropped.

        It is what `transmit` has just been given, and maybe more of the same block behind it. What keeps links alive
        is tried at once: a socket that was full may have some room, though not yet much.
        """
        backlog = self.backlog
        passed, self._passed = self._passed, 0
        parcel = Parcel(endpoint, b"".join(buffers[passed:]), segment, load)
        rest: Parcel | None = parcel
        if backlog.is_full and load is Load.CONTROL:
            rest = self._send_parcel(parcel)
        self._tell_of_room(now)
        kept = rest is None or backlog.add(rest, now)
        self._send = self._send_though_stuck if backlog.is_stuck else _no_room
        return kept

    def drain(self, now: float, *, is_writable: bool) -> bool:
        """Send what is held; True when nothing is left and there is room. `is_writable`: the kernel says so."""
        backlog = self.backlog
        self._tell_of_room(now)
        while (parcel := backlog.first()) is not None:
            rest = self._send_parcel(parcel)
            self._tell_of_room(now)
            if rest is not None:
                backlog.shorten(rest)
                return False
            backlog.remove()
        if backlog.is_stuck and not is_writable:
            return False
        backlog.relieve()
        self._send = self._socket.sendmsg
        return True

    def _send_parcel(self, parcel: Parcel) -> Parcel | None:
        """Send it; returns what found no room. What can't be sent at all is dropped and counted."""
        data, at = memoryview(parcel.data), 0
        try:
            while at < len(data):
                at += self._send_piece(parcel.endpoint, data[at:], parcel.segment)
                self._has_taken = True
        except BlockingIOError:
            return parcel._replace(data=bytes(data[at:])) if at else parcel
        except OSError as error:
            self._count(error)
        return None

    def _send_piece(self, endpoint: Endpoint, data: memoryview, segment: int) -> int:
        """Send as many of these datagrams as one call takes; returns their bytes."""
        send = self._socket.sendmsg
        if len(data) > segment and not self._plain:
            piece = data[: segment * min(MAX_SEGMENTS, MAX_SEND // segment)]
            try:
                send([piece], self._segment_option(segment), 0, endpoint)
            except OSError as error:
                if error.errno not in _NO_SEGMENTATION:
                    raise
            else:
                return len(piece)
            send([data[:segment]], (), 0, endpoint)
            self._has_no_segmentation()
        else:
            send([data[:segment]], (), 0, endpoint)
        return min(segment, len(data))

    def _send_though_stuck(self, *what: Any) -> None:
        """Stands for a stuck socket's `sendmsg`."""
        self._socket.sendmsg(*what)
        self._has_taken = True
        self._send = self._socket.sendmsg

    def _tell_of_room(self, now: float) -> None:
        if self._has_taken:
            self._has_taken = False
            self.backlog.progressed(now)

    def address(self, endpoint: Endpoint) -> tuple[bytes, int]:
        return _packed(endpoint[0]), endpoint[1]

    def endpoint(self, ip: IPv4Address | IPv6Address, port: int) -> Endpoint | None:
        """The socket's own form of an address; None when the socket's family cannot reach it."""
        if self._dual:
            host = f"::ffff:{ip}" if isinstance(ip, IPv4Address) else str(ip)
            return (host, port, 0, 0)
        return (str(ip), port) if isinstance(ip, IPv4Address) else None

    def _segment_option(self, segment: int) -> list[tuple[int, int, bytes]]:
        option = self._control.get(segment)
        if option is None:
            option = self._control[segment] = [(_SOL_UDP, _UDP_SEGMENT, _SEGMENT.pack(segment))]
        return option

    def _send_plainly(self, endpoint: Endpoint, buffers: Sequence[Buffer | bytearray]) -> Unsent | None:
        """Find out whether segmentation was refused, or the datagrams: those pass no better one by one."""
        try:
            self._one_by_one(endpoint, buffers)
        except OSError as error:
            return self._failed(error)
        self._has_no_segmentation()
        return None

    def _has_no_segmentation(self) -> None:
        self.counters["socket_no_segmentation"] += 1
        self._plain = PLAIN_SENDS

    def _failed(self, error: OSError) -> Unsent | None:
        if error.errno in _FULL:
            return Unsent.FULL
        self._passed = 0
        self._count(error)
        return Unsent.TOO_LONG if error.errno == errno.EMSGSIZE else None

    def _count(self, error: OSError) -> None:
        self.counters[_DROPS.get(error.errno or 0, "socket_failed")] += 1

    def _one_by_one(self, endpoint: Endpoint, buffers: Sequence[Buffer | bytearray]) -> None:
        self._passed = 0
        for at in range(0, len(buffers), 2):
            self._send(buffers[at : at + 2], (), 0, endpoint)
            self._passed = at + 2
        self._passed = 0
        self._plain = max(self._plain - 1, 0)


@lru_cache(maxsize=4096)
def _packed(host: str) -> bytes:
    """The 4 or 16 bytes of an address as the kernel writes it, with a mapped IPv4 address (RFC 4291) as such."""
    ip = ip_address(host.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return (mapped or ip).packed


def _no_room(*_what: object) -> NoReturn:
    """Stands for a full socket's `sendmsg`."""
    raise BlockingIOError(errno.EAGAIN, "the socket was full")


def show_endpoint(address: tuple[bytes, int]) -> str:
    """`1.2.3.4:4741` or `[2001:db8::1]:4741`."""
    ip = ip_address(address[0])
    return f"[{ip}]:{address[1]}" if ip.version == 6 else f"{ip}:{address[1]}"


def read_endpoint(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    """The reverse of `show_endpoint`. Raises ValueError."""
    host, _, port = text.rpartition(":")
    number = int(port)
    if not 1 <= number <= 65_535:
        raise ValueError(f"port {number} of {text!r}, expected 1 to 65535")
    return ip_address(host.removeprefix("[").removesuffix("]")), number


def _try_option(sock: socket.socket, level: int, option: int, value: int) -> bool:
    try:
        sock.setsockopt(level, option, value)
    except OSError:
        return False
    return True
