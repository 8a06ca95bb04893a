"""The socket between the controller and one process of a module, beside the bus.

It carries what the bus can't: open descriptors (SCM_RIGHTS), and the word that the module has started or why it could
not, which must arrive even where the bus fails. SOCK_SEQPACKET keeps messages apart; each is one JSON object. The
module speaks; the controller only answers `keep`, `take` and `drop`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from ipop_core.errors import IpopError
from ipop_core.supervision.descriptors import LocalDescriptors

MAX_MESSAGE: Final = 8192
MAX_LINE: Final = 2000
"""Characters of a fault's line that travel."""
ANSWER_TIMEOUT: Final = 2.0


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a module's process says; `text` is the descriptor's name, or a line for the operator."""

    what: Literal["keep", "take", "drop", "started", "fault", "trouble"]
    text: str = ""


class Answer(msgspec.Struct, frozen=True):
    """The controller's answer about a descriptor: what went wrong, or nothing."""

    fault: str | None = None


_said: Final = msgspec.json.Decoder(Said)
_answer: Final = msgspec.json.Decoder(Answer)


def pair() -> tuple[socket.socket, socket.socket]:
    """The controller's end and the module's."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class ModuleEnd:
    """The module's end; also its DescriptorStore. Blocks for the controller's answer, a fraction of a millisecond."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        sock.settimeout(ANSWER_TIMEOUT)

    def keep(self, name: str, fd: int) -> None:
        self._ask(Said("keep", name), (fd,))

    def take(self, name: str) -> int | None:
        return self._ask(Said("take", name))

    def drop(self, name: str) -> None:
        self._ask(Said("drop", name))

    def started(self) -> None:
        """The module serves its actions."""
        self._say(Said("started"))

    def fault(self, line: str) -> None:
        """The module can't start, and why."""
        self._say(Said("fault", line[:MAX_LINE]))

    def trouble(self, line: str) -> None:
        """One line for the operator; the module goes on."""
        self._say(Said("trouble", line[:MAX_LINE]))

    def _say(self, said: Said, fds: tuple[int, ...] = ()) -> None:
        try:
            socket.send_fds(self._socket, [msgspec.json.encode(said)], list(fds))
        except OSError as error:
            raise IpopError(f"the controller does not listen: {error}") from None

    def _ask(self, said: Said, fds: tuple[int, ...] = ()) -> int | None:
        self._say(said, fds)
        try:
            data, received, _, _ = socket.recv_fds(self._socket, MAX_MESSAGE, 1, socket.MSG_CMSG_CLOEXEC)
            answer = _answer.decode(data)
        except (OSError, msgspec.DecodeError) as error:
            raise IpopError(f"descriptor {said.text!r}: the controller does not answer: {error}") from None
        if answer.fault is not None:
            raise IpopError(answer.fault)
        return received[0] if received else None


@dataclass(frozen=True)
class Listeners:
    """Who hears what the module's process says."""

    started: Callable[[], None]
    fault: Callable[[str], None]
    trouble: Callable[[str], None]


class ControllerEnd:
    """The controller's end of one process's lifeline. `store` outlives it: the next process is given the same."""

    def __init__(self, sock: socket.socket, store: LocalDescriptors, listeners: Listeners) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._store = store
        self._listeners = listeners
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._readable)

    def close(self) -> None:
        """Hear what was said before the end, then hang up."""
        while self._socket.fileno() >= 0 and self._take_one():
            pass
        self._hang_up()

    def _hang_up(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _readable(self) -> None:
        if self._take_one() is False:
            self._hang_up()

    def _take_one(self) -> bool | None:
        """Read and do one message. None: there is none now; False: no more can come."""
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, MAX_MESSAGE, 4, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except OSError:
            return False
        if not data:
            return False
        try:
            said = _said.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            _close_all(fds)
            return True
        self._do(said, fds)
        return True

    def _do(self, said: Said, fds: list[int]) -> None:
        match said.what:
            case "keep" if len(fds) == 1:
                self._keep(said.text, fds.pop())
            case "keep":
                self._reply(f"descriptor {said.text!r}: none came with the message")
            case "take":
                held = self._store.held(said.text)
                self._reply(None, () if held is None else (held,))
            case "drop":
                self._store.drop(said.text)
                self._reply(None)
            case "started":
                self._listeners.started()
            case "fault":
                self._listeners.fault(said.text)
            case "trouble":
                self._listeners.trouble(said.text)
        _close_all(fds)

    def _keep(self, name: str, fd: int) -> None:
        try:
            self._store.adopt(name, fd)
        except IpopError as error:
            self._reply(str(error))
        else:
            self._reply(None)

    def _reply(self, fault: str | None, fds: tuple[int, ...] = ()) -> None:
        with contextlib.suppress(OSError):  # the module is gone: nobody waits for it
            socket.send_fds(self._socket, [msgspec.json.encode(Answer(fault))], list(fds))


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
