"""A small store of open descriptors that outlive the process that opened them.

A module keeps a descriptor (a TAP, a socket) under a name; the controller holds a duplicate of it, so that what the
kernel ties to the last descriptor (a card's carrier, a bound port) stays while the module is restarted, and the next
process of that module takes it back.
"""

from __future__ import annotations

import os
from typing import Final, Protocol

from ipop_core.errors import IpopError

MAX_DESCRIPTORS: Final = 64
"""Descriptors of one module."""
MAX_NAME: Final = 64


class DescriptorStore(Protocol):
    """What a module sees. Every method raises IpopError when the store does not answer or is full."""

    def keep(self, name: str, fd: int) -> None:
        """Hold a duplicate of `fd` under `name`, instead of what was there. `fd` stays the caller's."""
        ...

    def take(self, name: str) -> int | None:
        """A new duplicate of what is held under `name`, the caller's to close; None when there is nothing."""
        ...

    def drop(self, name: str) -> None:
        """Hold nothing under `name` any more."""
        ...


class LocalDescriptors:
    """The store of one module: what the controller holds, and what tests and inline modules use directly."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}

    def keep(self, name: str, fd: int) -> None:
        self.adopt(name, os.dup(fd))

    def adopt(self, name: str, fd: int) -> None:
        """As `keep`, but `fd` itself is the store's from now on, also when IpopError is raised."""
        full = name not in self._held and len(self._held) >= MAX_DESCRIPTORS
        if full or not 0 < len(name) <= MAX_NAME:
            os.close(fd)
            raise IpopError(f"descriptor {name[:MAX_NAME]!r}: at most {MAX_DESCRIPTORS}, with names of 1 to {MAX_NAME}")
        self.drop(name)
        self._held[name] = fd

    def held(self, name: str) -> int | None:
        """The store's own descriptor, which stays its own."""
        return self._held.get(name)

    def take(self, name: str) -> int | None:
        fd = self._held.get(name)
        return None if fd is None else os.dup(fd)

    def drop(self, name: str) -> None:
        fd = self._held.pop(name, None)
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        for name in list(self._held):
            self.drop(name)
