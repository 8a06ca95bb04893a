"""First contact's driver: performs what the machine asks for, and tells it what came of it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from ipop_core.bus.api import Bus, Event, JsonObject
from ipop_modules.signal.dialer import DialError, SelfDialledError, confirm, dial
from ipop_modules.signal.protocol.bootstrap import Bootstrap
from ipop_modules.signal.protocol.contact import KIND, Confirm, Contact, Dial, Effect, FirstContact, Release
from ipop_modules.signal.timer import Timer

log = logging.getLogger("ipop.signal")


class ContactDriver:
    def __init__(self, bus: Bus, own_node: str, bootstraps: Sequence[Bootstrap]) -> None:
        self._bus = bus
        self._trials: set[asyncio.Task[None]] = set()
        self._machine = FirstContact(own_node, bootstraps, asyncio.get_running_loop().time())
        self._timer = Timer(self._machine.next_wake, lambda now: self._perform(self._machine.wake(now)))

    def start(self) -> None:
        self._timer.set()

    async def stop(self) -> None:
        self._timer.cancel()
        for trial in self._trials:
            trial.cancel()
        await asyncio.gather(*self._trials, return_exceptions=True)

    def replace(self, bootstraps: Sequence[Bootstrap]) -> None:
        """These are the bootstraps from now on."""
        self._perform(self._machine.replace(bootstraps, self._timer.now()))

    def link_down(self, event: Event) -> None:
        node, reason = event.body["node"], event.body["reason"]
        self._perform(self._machine.link_down(node, reason, self._timer.now(), random.random()))

    @property
    def is_alone(self) -> bool:
        """Whether no bootstrap has a link with this node."""
        return all(contact.state != "connected" for contact in self._machine.bootstraps)

    @property
    def status(self) -> list[JsonObject]:
        """The field `bootstraps` of the action `status`."""
        return [_body(contact) for contact in self._machine.bootstraps]

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Dial(bootstrap):
                    self._start(bootstrap.name, dial(self._bus, bootstrap))
                case Confirm(name, node):
                    self._start(name, confirm(self._bus, node))
                case Release(node):
                    self._bus.notify("link", "release", {"node": node, "kind": KIND})
                case Contact():
                    self._announce(effect)
        self._timer.set()

    def _start(self, name: str, answer: Coroutine[Any, Any, str]) -> None:
        trial = asyncio.create_task(self._try(name, answer))
        self._trials.add(trial)
        trial.add_done_callback(self._trials.discard)

    async def _try(self, name: str, answer: Coroutine[Any, Any, str]) -> None:
        try:
            node = await answer
        except SelfDialledError:
            self._machine.is_self(name)
            self._timer.set()
        except DialError as error:
            self._perform(self._machine.failed(name, str(error), self._timer.now(), random.random()))
        else:
            self._perform(self._machine.connected(name, node, self._timer.now()))

    def _announce(self, contact: Contact) -> None:
        if contact.state == "connected":
            log.info("bootstrap connected", extra={"fields": {"bootstrap": contact.name, "node": contact.node}})
        else:
            fields = {"bootstrap": contact.name, "fault": contact.fault}
            log.warning("no link to bootstrap, trying again", extra={"fields": fields})
        self._bus.publish("signal.contact", _body(contact))


def _body(contact: Contact) -> JsonObject:
    return {"name": contact.name, "state": contact.state, "node": contact.node, "fault": contact.fault}
