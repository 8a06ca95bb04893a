"""Where lines go. An output takes the bytes of a whole line at once and never waits for whoever reads them.

Several processes of a node write to one file: it is opened for appending, and each line is one write.
"""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path
from typing import Final, Protocol

from ipop_core.errors import ConfigError

JOURNAL: Final = "/run/systemd/journal/socket"
PIECE: Final = select.PIPE_BUF
"""A pipe that polls writable takes this many bytes without blocking (POSIX, pipe(7))."""


class Output(Protocol):
    def write(self, data: bytes) -> None:
        """Raises OSError when the line is lost."""
        ...

    def close(self) -> None: ...


class Descriptor:
    """A pipe, socket or terminal that is open already, such as stderr: a reader that is stuck costs lines, not time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            if not self._poll.poll(0):
                raise BlockingIOError("the reader is not reading")
            rest = rest[os.write(self._descriptor, rest[:PIECE]) :]

    def close(self) -> None:
        """Leave it open: it is not ours."""


class File:
    """A file that only its owner may read; opened anew when log rotation has moved it away."""

    def __init__(self, path: Path) -> None:
        """Raise ConfigError when it can't be opened."""
        self._path = path
        self._descriptor = -1
        try:
            self._open()
        except OSError as error:
            raise ConfigError("modules.logger.to", f"can't append to {path}: {error.strerror}") from None

    def write(self, data: bytes) -> None:
        if self._was_moved():
            self._open()
        written = os.write(self._descriptor, data)
        if written < len(data):
            raise OSError(f"{written} of {len(data)} bytes were written")

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        descriptor = os.open(self._path, flags, 0o600)
        self.close()
        self._descriptor = descriptor

    def _was_moved(self) -> bool:
        try:
            there = self._path.stat()
        except OSError:
            return True
        return not os.path.samestat(there, os.fstat(self._descriptor))


class Journal:
    """The socket of systemd's journal (its Native Journal Protocol)."""

    def __init__(self, path: str = JOURNAL) -> None:
        """Raise OSError when no journal listens there."""
        with _datagram_socket() as probe:
            probe.connect(path)
        self._path = path
        self._socket = _datagram_socket()

    def write(self, data: bytes) -> None:
        self._socket.sendto(data, self._path)  # not connected, so that a restart of the journal changes nothing

    def close(self) -> None:
        self._socket.close()


def _datagram_socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    made.setblocking(False)
    return made
