"""The known peers of a node in virtual time: the topology's rules decide (`remembered.py`).

It stands where the module's `known.py` does. Whom a node asks while it is not alone is left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable

from ipop_core.simulation import VirtualTime
from ipop_modules.topology.known import SAVE_AFTER
from ipop_modules.topology.protocol.remembered import Kept, Remembered


class KnownPeers:
    """Of one node: `linked` are the nodes that it has links to, `is_alone` is its ring's, `connect` makes a link.

    `kept` is what an earlier run of the node left on its disk.
    """

    def __init__(
        self,
        time: VirtualTime,
        chance: random.Random,
        *,
        linked: Callable[[], Collection[bytes]],
        is_alone: Callable[[], bool],
        connect: Callable[[bytes, str], None],
        kept: Kept,
    ) -> None:
        self._time = time
        self._chance = chance
        self._linked = linked
        self._is_alone = is_alone
        self._connect = connect
        self._remembered = Remembered(kept, chance.randbytes, time.now)
        self._is_stopped = self._is_asking = False

    def note(self, other: bytes, endpoint: str, kinds: Collection[str]) -> None:
        """A link is up, and the node wants it for these reasons."""
        self._remembered.note(other.hex(), endpoint, kinds, self._linked_hex())

    def introduction(self, members: Iterable[bytes]) -> list[tuple[bytes, str]]:
        """Those of these to name to a newcomer, and their endpoints: here all are fit."""
        known = [(member, self._remembered.endpoint(member.hex())) for member in members]
        return [(member, endpoint) for member, endpoint in known if endpoint]

    def introduced(self, peers: Iterable[tuple[bytes, str]]) -> None:
        """A member named these."""
        for node, endpoint in peers:
            self._remembered.introduced(node.hex(), endpoint)

    def start(self) -> None:
        """Of a node whose earlier run knew some: it looks as soon as a real one does."""
        self._is_asking = True
        self._time.after(SAVE_AFTER, self._ask)

    def link_down(self) -> None:
        """From now on the node looks every SAVE_AFTER, as it does all the time in the product, while it is alone."""
        if self._is_alone() and not self._is_asking:
            self._is_asking = True
            self._remembered.wake(self._linked_hex(), self._time.now, alone=False)
            self._time.after(self._chance.uniform(0.0, SAVE_AFTER), self._ask)

    def stop(self) -> None:
        self._is_stopped = True

    def _ask(self) -> None:
        self._is_asking = not self._is_stopped and self._is_alone()
        if not self._is_asking:
            return
        for node, endpoint in self._remembered.wake(self._linked_hex(), self._time.now, alone=True):
            self._connect(bytes.fromhex(node), endpoint)
        self._time.after(SAVE_AFTER, self._ask)

    def _linked_hex(self) -> set[str]:
        return {node.hex() for node in self._linked()}
