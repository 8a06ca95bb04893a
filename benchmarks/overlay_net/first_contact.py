"""First contact of a node in virtual time: the signal module's machine decides, and this performs what it asks for.

It stands where the module's `contact.py` and `dialer.py` do, which need a bus; every rule is the machine's. A simulated
bootstrap has one address, so that there are no others to try beside it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from ipop_core.simulation import VirtualTime
from ipop_modules.signal.dialer import CONNECT_LIMIT, OWN_ID
from ipop_modules.signal.protocol.bootstrap import Bootstrap
from ipop_modules.signal.protocol.contact import KIND, Confirm, Dial, Effect, FirstContact, Release
from ipop_modules.tincan.actions import ANSWER_BEFORE

__all__ = ["ANSWERED_WITHIN", "KIND", "Contacts", "Ended"]

ANSWERED_WITHIN = CONNECT_LIMIT - ANSWER_BEFORE
"""Seconds that the links have to answer a trial: then it has failed."""

Ended: TypeAlias = Callable[[bytes | None, str], None]
"""What came of a trial: the node that has a direct link now, or None and why there is none."""


class Contacts:
    """Of one node; `dial`, `confirm` and `release` are what its links do for it."""

    def __init__(
        self,
        me: bytes,
        time: VirtualTime,
        chance: random.Random,
        *,
        dial: Callable[[Bootstrap, Ended], None],
        confirm: Callable[[bytes, Ended], None],
        release: Callable[[bytes], None],
    ) -> None:
        self.machine = FirstContact(me.hex(), (), time.now)
        self._time = time
        self._chance = chance
        self._dial = dial
        self._confirm = confirm
        self._release = release
        self._bootstraps: list[Bootstrap] = []
        self._due: float | None = None
        self._is_stopped = False

    def add(self, bootstrap: Bootstrap) -> None:
        """As when the operator writes one more into the configuration."""
        if bootstrap not in self._bootstraps:
            self._bootstraps.append(bootstrap)
            self._perform(self.machine.replace(self._bootstraps, self._time.now))

    def forget(self) -> None:
        """As when the operator writes all of them out of it."""
        self._bootstraps.clear()
        self._perform(self.machine.replace((), self._time.now))

    def link_down(self, node: bytes, reason: str) -> None:
        """The direct link to a node, any node, was lost."""
        if not self._is_stopped:
            self._perform(self.machine.link_down(node.hex(), reason, self._time.now, self._chance.random()))

    def stop(self) -> None:
        self._is_stopped = True

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Dial(bootstrap):
                    self._dial(bootstrap, partial(self._ended, bootstrap.name))
                case Confirm(name, node):
                    self._confirm(bytes.fromhex(node), partial(self._ended, name))
                case Release(node):
                    self._release(bytes.fromhex(node))
        self._wake_in_time()

    def _ended(self, name: str, node: bytes | None, fault: str) -> None:
        if self._is_stopped:
            return
        now = self._time.now
        if node is not None:
            self._perform(self.machine.connected(name, node.hex(), now))
        elif OWN_ID in fault:
            self.machine.is_self(name)
        else:
            self._perform(self.machine.failed(name, fault, now, self._chance.random()))

    def _wake_in_time(self) -> None:
        due = self.machine.next_wake()
        if due is None or due == self._due:
            return
        self._due = due
        if due <= self._time.now:
            self._wake(due)
        else:
            self._time.after(due - self._time.now, self._wake, due)

    def _wake(self, due: float) -> None:
        if self._due == due and not self._is_stopped:
            self._due = None
            self._perform(self.machine.wake(self._time.now))
