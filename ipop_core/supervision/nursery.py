"""The nursery: a process that has every library imported and forks the modules' processes from itself.

It is forked from the controller before any socket, thread or event loop exists there, imports what modules asked for
(`ModuleSpec.preload`) and from then on has one thread and does nothing but fork, kill and reap on request. Its children
share its memory, and start in milliseconds.

Nobody is left behind: the nursery dies with the controller and the modules with the nursery, by PR_SET_PDEATHSIG, even
when one of them is killed with SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

_PR_SET_PDEATHSIG: Final = 1
_MAX_MESSAGE: Final = 4096

ChildMain: TypeAlias = Callable[[str, bytes, socket.socket], int]
"""Runs in a module's process: name, secret name on the bus, lifeline. Returns the exit status."""


class Order(msgspec.Struct, frozen=True):
    """From the controller. A `fork` comes with the lifeline's descriptor; `kill` goes to the pid, if it still lives."""

    what: Literal["fork", "kill"]
    name: str = ""
    token: bytes = b""
    pid: int = 0
    signal: int = 0


class Report(msgspec.Struct, frozen=True):
    """To the controller. `status` is what `os.waitstatus_to_exitcode` says: an exit code, or minus a signal."""

    what: Literal["forked", "exited"]
    name: str
    pid: int
    status: int = 0


_orders: Final = msgspec.json.Decoder(Order)
_reports: Final = msgspec.json.Decoder(Report)


class Nursery:
    """The controller's handle on the nursery."""

    def __init__(self, preload: Iterable[str], child_main: ChildMain, at_fork: Callable[[], None]) -> None:
        """Fork it. `at_fork` runs in it first and lets go of what must stay the controller's alone."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        controller = os.getpid()
        gc.freeze()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                ours.close()
                at_fork()
                _tie_to_parent(controller)
                _Forker(theirs, child_main).run(preload)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        theirs.close()
        ours.setblocking(False)
        self._socket = ours

    def watch(self, report: Callable[[Report], None], lost: Callable[[], None]) -> None:
        """Hear from it in the running event loop; `lost` is called when it is gone."""
        loop = asyncio.get_running_loop()

        def readable() -> None:
            try:
                data = self._socket.recv(_MAX_MESSAGE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                report(_reports.decode(data))
                return
            loop.remove_reader(self._socket)
            lost()

        loop.add_reader(self._socket, readable)

    def fork(self, name: str, token: bytes, lifeline: socket.socket) -> None:
        """Start a process for that module; `forked` reports its pid. Raises OSError when the nursery is gone."""
        socket.send_fds(self._socket, [msgspec.json.encode(Order("fork", name, token))], [lifeline.fileno()])

    def kill(self, pid: int, number: int) -> None:
        """Send a signal to a module's process; nothing happens when it has ended."""
        with contextlib.suppress(OSError):  # the nursery is gone, and its children with it
            self._socket.send(msgspec.json.encode(Order("kill", pid=pid, signal=number)))

    def close(self) -> None:
        """Let it end, and with it every process that it still has."""
        self._socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


class _Forker:
    """What runs in the nursery's process."""

    def __init__(self, sock: socket.socket, child_main: ChildMain) -> None:
        self._socket = sock
        self._child_main = child_main
        self._children: dict[int, str] = {}
        self._wake, self._woken = socket.socketpair()

    def run(self, preload: Iterable[str]) -> None:
        self._set_signals()
        for library in preload:
            with contextlib.suppress(ImportError):  # the module itself will say what it lacks
                importlib.import_module(library)
        gc.collect()
        gc.freeze()
        _name_process("ipop:nursery")
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while self._serve(selector):
                pass

    def _set_signals(self) -> None:
        """Ctrl-C and a service manager's SIGTERM reach every process: stopping in order is the controller's affair."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)

    def _serve(self, selector: selectors.BaseSelector) -> bool:
        """Wait for something and do it; False when the controller is gone."""
        ready = {key.fileobj for key, _ in selector.select()}
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(4096)
            self._reap()
        if self._socket not in ready:
            return True
        data, fds, _, _ = socket.recv_fds(self._socket, _MAX_MESSAGE, 1, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return False
        order = _orders.decode(data)
        match order.what:
            case "fork":
                self._fork(order, socket.socket(fileno=fds[0]))
            case "kill" if order.pid in self._children:
                os.kill(order.pid, order.signal)
        return True

    def _fork(self, order: Order, lifeline: socket.socket) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        nursery = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                self._become_child(order.name, nursery)
                status = self._child_main(order.name, order.token, lifeline)
            except BaseException:
                traceback.print_exc()
            finally:
                with contextlib.suppress(Exception):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(status)
        lifeline.close()
        self._children[pid] = order.name
        self._report(Report("forked", order.name, pid))

    def _become_child(self, name: str, nursery: int) -> None:
        signal.set_wakeup_fd(-1)
        _tie_to_parent(nursery)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._socket.close()
        self._wake.close()
        self._woken.close()
        _name_process(f"ipop:{name}")
        gc.enable()

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            name = self._children.pop(pid, "")
            self._report(Report("exited", name, pid, os.waitstatus_to_exitcode(status)))

    def _report(self, report: Report) -> None:
        self._socket.send(msgspec.json.encode(report))


def _tie_to_parent(parent: int) -> None:
    """Be killed when the parent's thread that forked us ends; it may have ended before we asked (prctl(2))."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _name_process(name: str) -> None:
    """What `ps -o comm` shows, at most 15 characters."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name[:15])
