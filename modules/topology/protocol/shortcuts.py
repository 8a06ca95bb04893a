"""Direct links that traffic asks for: one for each busy peer, up to a cap, dropped when idle."""

from __future__ import annotations

from collections.abc import Iterable

from ipop_modules.topology.protocol.effects import Connect, Release
from ipop_modules.topology.protocol.outbox import Outbox

KIND = "shortcut"


class Shortcuts:
    def __init__(self, out: Outbox, cap: int) -> None:
        self._out = out
        self.cap = cap
        """When it is lowered, shortcuts that are there stay until they are idle."""
        self._wanted: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._wanted)

    def __contains__(self, node: bytes) -> bool:
        return node in self._wanted

    def demand(self, node: bytes) -> None:
        if node in self._wanted or len(self._wanted) >= self.cap:
            return
        self._wanted.add(node)
        self._out.emit(Connect(node, None, KIND))

    def idle(self, node: bytes) -> None:
        if node in self._wanted:
            self._wanted.discard(node)
            self._out.emit(Release(node, KIND))

    def failed(self, node: bytes) -> None:
        """The next demand tries again."""
        self.idle(node)

    def relink(self, wanted: Iterable[bytes]) -> None:
        """The link module, or this one, was restarted: the link module knows of these wishes, and must of all."""
        known = set(wanted)
        for node in self._wanted - known:
            self._out.emit(Connect(node, None, KIND))
        self._wanted |= known
