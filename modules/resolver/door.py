"""The sockets on one of the card's own addresses, by which only this machine's own programs come in.

A program here that asks at one of the machine's own addresses does so from that very address. Whoever else says that he
came from there is told nothing: the answer goes to this machine. Both transports are there, since an answer that is too
long for a datagram is asked for over TCP (RFC 7766); there each message has its length before it (section 8), several
questions may wait for their answers at once, and answers go out as they come.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, Final

from ipop_core.errors import IpopError
from ipop_core.identity import Address
from ipop_modules.resolver.protocol.answering import SAFE_SIZE

MOST_STREAMS: Final = 16
"""At once; more are closed at once."""
STREAM_LIMIT: Final = 10.0
"""Seconds for the next whole question, and for an answer to be taken."""
_FREEBIND: Final = {4: (socket.IPPROTO_IP, 15), 6: (socket.IPPROTO_IPV6, 78)}
"""IP_FREEBIND and IPV6_FREEBIND: the card may come up later."""

Handler = Callable[[bytes, bool, Callable[[bytes], None]], bool]
"""A question, whether it came over TCP, and a function that sends the answer; says whether one will be sent."""
Count = Callable[[str], None]


class Door:
    def __init__(self, own: Address, asked: Handler, count: Count) -> None:
        """`count`: is told the cause of whatever is dropped."""
        self._own = str(own)
        self._asked = asked
        self._count = count
        self._datagrams: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._streams: set[asyncio.Task[None]] = set()

    async def open(self, port: int) -> None:
        """Raises IpopError."""
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            datagrams, listener = (
                stack.enter_context(self._socket(kind, port)) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)
            )
            stack.pop_all()
        self._datagrams, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self._datagram), sock=datagrams)
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=SAFE_SIZE + 2)

    def close(self) -> None:
        if self._datagrams is not None:
            self._datagrams.close()
        if self._server is not None:
            self._server.close()
        for stream in self._streams:
            stream.cancel()

    def _socket(self, kind: socket.SocketKind, port: int) -> socket.socket:
        version = 6 if ":" in self._own else 4
        sock = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, kind | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(*_FREEBIND[version], 1)
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setblocking(False)
            sock.bind((self._own, port))
        except OSError as error:
            sock.close()
            raise IpopError(
                f"modules.resolver.port: can't listen on {self._own} port {port}: {error.strerror}"
            ) from None
        return sock

    def _datagram(self, data: bytes, addr: tuple[Any, ...]) -> None:
        transport = self._datagrams
        if addr[0] != self._own or transport is None:
            self._count("drop_foreign")
            return
        self._asked(data, False, lambda answer: transport.sendto(answer, addr))

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        foreign = writer.get_extra_info("peername", ("",))[0] != self._own
        if foreign or len(self._streams) >= MOST_STREAMS:
            self._count("drop_foreign" if foreign else "drop_streams")
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = _Stream(writer)
        try:
            while question := await self._next(reader, writer):
                stream.waiting += 1
                if not self._asked(question, True, stream.send):
                    return
            async with asyncio.timeout(STREAM_LIMIT):  # who asks no more still wants his answers
                await stream.finish()
        except (TimeoutError, OSError):
            self._count("drop_slow")
        finally:
            writer.transport.abort()

    async def _next(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        """None: no question is to come."""
        async with asyncio.timeout(STREAM_LIMIT):
            await writer.drain()
            try:
                length = int.from_bytes(await reader.readexactly(2))
                if not 0 < length <= SAFE_SIZE:
                    self._count("drop_bad")
                    return None
                return await reader.readexactly(length)
            except asyncio.IncompleteReadError:
                return None


class _Stream:
    """The answers of one TCP connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._answered = asyncio.Event()
        self.waiting = 0

    def send(self, answer: bytes) -> None:
        self.waiting -= 1
        self._answered.set()
        if not self._writer.is_closing():
            self._writer.write(len(answer).to_bytes(2) + answer)

    async def finish(self) -> None:
        """Wait until everything that was asked is answered, and the answers are taken."""
        while self.waiting:
            self._answered.clear()
            await self._answered.wait()
        self._writer.close()
        await self._writer.wait_closed()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes, tuple[Any, ...]], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._take(data, addr)
