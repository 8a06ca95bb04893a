"""Talks to charon over its control socket (strongSwan's VICI protocol, version 1) within asyncio.

Frames and messages are those of the PyPI package `vici`; its session blocks, and can't wait for events and commands on
one socket.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from vici.exception import DeserializationException
from vici.protocol import Message, Packet

from ipop_core.errors import IpopError

_COMMAND_SECONDS: Final = 10.0
_LONGEST_FRAME: Final = 512 * 1024

ViciMessage = dict[str, Any]
OnEvent = Callable[[str, ViciMessage], None]


class ViciError(IpopError):
    """Charon said no, or is not there."""


class ViciClient:
    """One connection; commands go one after the other, events come at any time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_event: OnEvent) -> None:
        self._reader = reader
        self._writer = writer
        self._on_event = on_event
        self._turn = asyncio.Lock()
        self._owed: deque[asyncio.Future[Packet.ParsedPacket | None]] = deque()
        """Charon's answers to come, in order; nobody waits any more for that to a cancelled command."""
        self._streamed: tuple[str, list[ViciMessage]] | None = None
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, path: Path, on_event: OnEvent) -> ViciClient:
        """Raises OSError while nobody listens there."""
        # Through the folder's descriptor: a socket's path has at most 107 bytes, a node's folder may be longer.
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            try:
                sock.connect(f"/proc/self/fd/{folder}/{path.name}")
            except OSError:
                sock.close()
                raise
        finally:
            os.close(folder)
        return cls(*await asyncio.open_unix_connection(sock=sock), on_event)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.close()

    async def closed(self) -> None:
        """Return when charon has gone."""
        await asyncio.wait([self._task])

    async def command(self, name: str, message: Mapping[str, Any] | None = None) -> ViciMessage:
        """One command and its answer. Raises ViciError."""
        async with self._turn:
            return await self._command(name, message)

    async def listed(self, name: str, event: str, message: Mapping[str, Any] | None = None) -> list[ViciMessage]:
        """A command whose answer comes as a stream of events. Raises ViciError."""
        async with self._turn:
            self._streamed = (event, [])
            try:
                await self._register(event)
                await self._command(name, message)
                return self._streamed[1]
            finally:
                self._streamed = None
                await self._exchange(Packet.unregister_event(event))

    async def subscribe(self, *events: str) -> None:
        """Hand these events to `on_event` from now on."""
        async with self._turn:
            for event in events:
                await self._register(event)

    async def _register(self, event: str) -> None:
        answer = await self._exchange(Packet.register_event(event))
        if answer.response_type != Packet.EVENT_CONFIRM:
            raise ViciError(f"charon knows no event {event}")

    async def _command(self, name: str, message: Mapping[str, Any] | None) -> ViciMessage:
        body = None if message is None else Message.serialize(message)
        answer = await self._exchange(Packet.request(name, body))
        if answer.response_type != Packet.CMD_RESPONSE:
            raise ViciError(f"charon knows no command {name}")
        reply: ViciMessage = Message.deserialize(answer.payload)
        if reply.get("success", b"yes") != b"yes":
            raise ViciError(f"{name}: {reply.get('errmsg', b'refused').decode(errors='replace')}")
        return reply

    async def _exchange(self, packet: bytes) -> Packet.ParsedPacket:
        if self._task.done():
            raise ViciError("charon has gone")
        answer: asyncio.Future[Packet.ParsedPacket | None] = asyncio.get_running_loop().create_future()
        self._owed.append(answer)
        self._writer.write(len(packet).to_bytes(4, "big") + packet)
        try:
            async with asyncio.timeout(_COMMAND_SECONDS):
                found = await answer
        except TimeoutError:
            self._writer.transport.abort()  # it hangs: what is still to be written may never be
            raise ViciError("charon does not answer") from None
        if found is None:
            raise ViciError("charon has gone")
        return found

    async def _read(self) -> None:
        try:
            while True:
                size = int.from_bytes(await self._reader.readexactly(4), "big")
                if size > _LONGEST_FRAME:
                    return
                self._received(Packet.parse(await self._reader.readexactly(size)))
        except (OSError, EOFError, DeserializationException):
            return
        finally:
            for answer in self._owed:
                if not answer.done():
                    answer.set_result(None)

    def _received(self, packet: Packet.ParsedPacket | Packet.ParsedEventPacket) -> None:
        if packet.response_type != Packet.EVENT:
            if self._owed and not (answer := self._owed.popleft()).done():
                answer.set_result(packet)
            return
        event, message = packet.event_type.decode(), Message.deserialize(packet.payload)
        if self._streamed is not None and self._streamed[0] == event:
            self._streamed[1].append(message)
        else:
            self._on_event(event, message)
