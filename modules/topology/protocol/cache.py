"""What lookups have found, for a while: bounded, and shorter for "nobody owns it"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_ENTRIES: Final = 1024
POSITIVE_LIFETIME: Final = 60.0
NEGATIVE_LIFETIME: Final = 2.0


@dataclass(frozen=True, slots=True)
class Cached:
    node: bytes | None
    """None: nobody owns it."""
    expires: float
    lease_ends: float | None
    addresses: tuple[bytes, ...] = ()
    """What the owner says of itself."""
    certificate: bytes = b""
    """The same."""


class Cache:
    def __init__(self) -> None:
        self._entries: dict[bytes, Cached] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now: float) -> Cached | None:
        entry = self._entries.get(key)
        if entry is None or entry.expires <= now:
            return None
        return entry

    def found(
        self,
        key: bytes,
        node: bytes,
        lease: float,
        now: float,
        addresses: tuple[bytes, ...] = (),
        *,
        certificate: bytes = b"",
    ) -> None:
        """`lease`: seconds that are left of the owner's lease."""
        self._add(key, Cached(node, now + min(POSITIVE_LIFETIME, lease), now + lease, addresses, certificate))

    def absent(self, key: bytes, now: float) -> None:
        self._add(key, Cached(None, now + NEGATIVE_LIFETIME, None))

    def _add(self, key: bytes, entry: Cached) -> None:
        self._entries.pop(key, None)
        while len(self._entries) >= MAX_ENTRIES:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = entry
