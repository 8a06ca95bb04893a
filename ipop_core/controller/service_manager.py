"""What the node tells the service manager that started it (sd_notify(3), sd_watchdog_enabled(3)).

One datagram of `NAME=value` lines to the socket that NOTIFY_SOCKET names. Where nobody asked, nothing is said; what
can't be said is no fault of the node.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import Final

_NAMES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
BEATS: Final = 3
"""Words to the watchdog within the time that it waits for one."""


class ServiceManager:
    """Takes its variables out of the environment: processes that the node starts are not the service."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        path, patience, pid = (environment.pop(name, "") for name in _NAMES)
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self.beat: float | None = None
        """Seconds between two calls of `alive`; None where no watchdog waits for this process."""
        if self._address and patience.isdigit() and int(patience) and pid in ("", str(os.getpid())):
            self.beat = int(patience) / 1e6 / BEATS

    def ready(self) -> None:
        self._tell("READY=1")

    def reloading(self) -> None:
        """Until `ready` is said again."""
        self._tell("RELOADING=1")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """Nothing hangs."""
        self._tell("WATCHDOG=1")

    def status(self, line: str) -> None:
        """What `systemctl status` shows."""
        self._tell(f"STATUS={line}")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
            s.setblocking(False)
            s.sendto(text.encode(), self._address)
