"""One network namespace and the processes in it."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import IO, Any, Final, TypeVar

from ipop_core.lab import commands
from ipop_core.lab.commands import Command
from ipop_core.lab.errors import LabError, LabTimeoutError
from ipop_core.lab.interrupts import interrupts_deferred

FOLDER: Final = Path("/run/netns")
_CLONE_NEWNET: Final = 0x40000000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_SIOCGIFFLAGS: Final = 0x8913
_IFF_RUNNING: Final = 0x40
_IFREQ_FLAGS: Final = struct.Struct("16sH22x")
_KILL_PATIENCE: Final = 5.0
_LINK_PATIENCE: Final = 10.0

Result = TypeVar("Result")
Identity = tuple[int, int]
"""Device and inode, by which the kernel tells namespaces apart."""


class Namespace:
    """A named network namespace, as `ip netns` knows it; `name` works with `ip netns exec` too."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = FOLDER / name
        self._children: list[subprocess.Popen[bytes]] = []

    def __repr__(self) -> str:
        return f"Namespace({self.name!r})"

    def create(self) -> None:
        """Make it, its loopback up. Raises LabError."""
        commands.run(["ip", "netns", "add", self.name])
        self.ip("link set lo up")

    def ip(self, *lines: str) -> None:
        """Run lines of `ip` in it, such as `link set lo up`. Raises LabError, which names the line that failed."""
        commands.run(["ip", "-n", self.name, "-batch", "-"], stdin="".join(f"{line}\n" for line in lines))

    def run(
        self, command: Command, *, check: bool = True, timeout: float = 30.0, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` in it to its end; errors as in `commands.run`."""
        return commands.run([*self._enter, *command], check=check, timeout=timeout, stdin=stdin)

    def popen(
        self,
        command: Command,
        *,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        env: dict[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start `command` in it; the pid is the command's own. It is killed when the namespace is deleted.

        It gets a session of its own, so that Ctrl-C at the terminal reaches the laboratory alone. A command that
        cannot be run ends with exit code 127. `env` replaces the whole environment.
        """
        with interrupts_deferred():
            child = subprocess.Popen(
                [*self._enter, *command],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=commands.environment() if env is None else env,
                cwd=cwd,
                start_new_session=True,
            )
            self._children.append(child)
        return child

    def call(self, function: Callable[[], Result]) -> Result:
        """Run `function` in it, in a thread of its own: a socket opened there stays in this namespace for ever."""
        future: Future[Result] = Future()

        def body() -> None:
            try:
                self._enter_thread()
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        Thread(target=body, name=f"in {self.name}", daemon=True).start()
        return future.result()

    def sysctl(self, key: str, value: str) -> None:
        """Set a kernel setting of this namespace, such as `net.ipv4.ip_forward`. Raises LabError."""
        path = Path("/proc/sys", *key.split("."))
        try:
            self.call(lambda: path.write_text(value))
        except OSError as error:
            raise LabError(f"{key} in {self.name}: {error.strerror}") from error

    def wait_until_running(self, interface: str) -> None:
        """Return once the card is up, has its carrier and takes packets. Raises LabTimeoutError, and OSError."""
        deadline = time.monotonic() + _LINK_PATIENCE

        def wait() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                while not _flags(sock, interface) & _IFF_RUNNING:
                    if time.monotonic() > deadline:
                        raise LabTimeoutError(f"{interface} in {self.name}: no carrier within {_LINK_PATIENCE:g} s")
                    time.sleep(0.0005)

        self.call(wait)

    @property
    def _enter(self) -> list[str]:
        # Unlike `ip netns exec` this mounts nothing, so it works where mounting /sys is forbidden.
        return ["nsenter", f"--net={self.path}", "--"]

    def _enter_thread(self) -> None:
        with self.path.open("rb") as handle:
            if _LIBC.setns(handle.fileno(), _CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise LabError(f"cannot enter namespace {self.name}: {os.strerror(number)}")

    def _reap(self) -> None:
        for child in self._children:
            child.wait(timeout=_KILL_PATIENCE)


def delete(namespaces: Iterable[Namespace]) -> None:
    """Delete them all and kill every process in them; those that are already gone are no error. Raises LabError."""
    with ExitStack() as stack:
        # Held open, or the kernel gives its number to the next namespace, whose processes would then be killed.
        there = {namespace: held for namespace in namespaces if (held := _hold(namespace.path, stack))}
        if not there:
            return
        lines = "".join(f"netns delete {namespace.name}\n" for namespace in there)
        # The name goes first: nothing can enter any more, so killing comes to an end.
        deletion = commands.run(["ip", "-force", "-batch", "-"], check=False, stdin=lines)
        _kill_inside(set(there.values()))
    for namespace in there:
        namespace._reap()
    left = [namespace.name for namespace in there if namespace.path.exists()]
    if left:
        raise LabError(f"cannot delete {', '.join(left)}: {deletion.stderr.strip()}")


def _flags(sock: socket.socket, interface: str) -> int:
    """The card's flags (netdevice(7), SIOCGIFFLAGS)."""
    answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, _IFREQ_FLAGS.pack(interface.encode(), 0))
    return int(_IFREQ_FLAGS.unpack(answer)[1])


def _hold(path: Path, stack: ExitStack) -> Identity | None:
    """Keep what is at `path` in being as long as the stack; None if there is nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    stack.callback(os.close, descriptor)
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _identity(path: Path) -> Identity | None:
    try:
        status = path.stat()
    except OSError:  # it is gone, ended meanwhile, or is not ours to look at
        return None
    return status.st_dev, status.st_ino


def _kill_inside(identities: set[Identity]) -> None:
    deadline = time.monotonic() + _KILL_PATIENCE
    while inside := _processes_inside(identities):
        if time.monotonic() > deadline:
            raise LabError(f"processes that cannot be killed: {inside}")
        for pid in inside:
            _kill(pid)
        time.sleep(0.005)


def _processes_inside(identities: set[Identity]) -> list[int]:
    """Pids of all processes but this one whose network namespace is one of `identities`."""
    pids = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and _identity(Path(f"/proc/{pid}/ns/net")) in identities]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
