"""What a module sees of the bus. `client.py` implements it over ZeroMQ and in memory alike.

Messages go to roles, never to module names: whichever module fills the role answers. A message is a JSON object and,
where its contract says so, binary frames. Contracts live in `schemas/messages/` (shared) and in the module that owns
them; the bus checks every message at its border and answers a bad one with an error that names the path.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

JsonObject: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request."""

    body: JsonObject
    frames: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A request or a notification, as the handler of its action receives it."""

    action: str
    sender: str
    body: JsonObject
    frames: Sequence[bytes] = ()
    timeout: float = 5.0
    """Seconds that the requester waits."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, published under a topic such as `link.up`."""

    topic: str
    sender: str
    body: JsonObject
    frames: Sequence[bytes] = ()


CallHandler: TypeAlias = Callable[[Call], Awaitable[JsonObject | Reply | None]]
EventHandler: TypeAlias = Callable[[Event], None]


class Bus(Protocol):
    async def request(
        self,
        role: str,
        action: str,
        body: JsonObject | None = None,
        frames: Sequence[bytes] = (),
        *,
        timeout: float = 5.0,  # noqa: ASYNC109 - the deadline travels with the request
    ) -> Reply:
        """Ask the module that fills `role`. Raises BusError; `timeout` is in seconds."""
        ...

    def notify(self, role: str, action: str, body: JsonObject | None = None, frames: Sequence[bytes] = ()) -> None:
        """Tell the module that fills `role`, and wait for no answer. What can't be queued is dropped and counted.

        Raises BusError when the message breaks its contract.
        """
        ...

    def publish(self, topic: str, body: JsonObject | None = None, frames: Sequence[bytes] = ()) -> None:
        """Tell whoever subscribed to `topic`, whose first part is the publisher's role. Raises BusError as `notify`."""
        ...

    def serve(self, action: str, handler: CallHandler) -> None:
        """Answer `action` from now on. An IpopError that the handler raises becomes the answer `refused`."""
        ...

    async def subscribe(self, topic: str, handler: EventHandler) -> None:
        """Receive the events of `topic`; `link.*` stands for every topic of the role `link`."""
        ...
