"""A network namespace of a test's own, and threads that work inside it."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()

T = TypeVar("T")


class Namespace:
    def __init__(self) -> None:
        self.name = f"tincan-{os.getpid()}-{next(_numbers)}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.ip("link", "set", "lo", "up")

    def close(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=True)

    def ip(self, *arguments: str) -> Any:
        """`ip` in this namespace; what it prints as JSON, if anything."""
        command = ["ip", "-n", self.name, "-j", *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return json.loads(done.stdout or "[]")

    def command(self, *arguments: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *arguments]

    def run(self, work: Callable[[], T]) -> T:
        """Do it in a thread in this namespace; sockets and cards that it opens belong here for good."""
        with ThreadPoolExecutor(1, initializer=self._enter) as pool:
            return pool.submit(work).result()

    def carrier(self, card: str) -> bool:
        (link,) = self.ip("link", "show", card)
        return "LOWER_UP" in link["flags"]

    def addresses(self, card: str) -> set[str]:
        (link,) = self.ip("addr", "show", card)
        return {f"{entry['local']}/{entry['prefixlen']}" for entry in link["addr_info"]}

    def _enter(self) -> None:
        descriptor = os.open(Path("/run/netns") / self.name, os.O_RDONLY)
        try:
            if _libc.setns(descriptor, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(descriptor)
