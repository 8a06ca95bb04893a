"""The way out of the machine: effects in order, and messages that end at this very node."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ipop_modules.topology.protocol.effects import Effect, Send
from ipop_modules.topology.protocol.messages import Message, encode


class Outbox:
    def __init__(self, me: bytes, is_linked: Callable[[bytes], bool], is_closest: Callable[[bytes], bool]) -> None:
        """`is_closest` tells whether this node is the ring member nearest to an id, as far as it knows."""
        self._me = me
        self.is_linked = is_linked
        self._is_closest = is_closest
        self._effects: list[Effect] = []
        self.loopback: deque[Message] = deque()
        """Messages of this node to itself, for the machine to handle."""

    def emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    def drain(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    def to_neighbour(self, node: bytes, message: Message) -> None:
        """Over a direct link; lost when it isn't up."""
        self.emit(Send(node, "link", None, encode(message)))

    def to_closest(self, key: bytes, message: Message, via: bytes | None = None) -> None:
        """To the ring member nearest to `key`, by way of the neighbour `via`, which may be another way."""
        if self._is_closest(key):
            self.loopback.append(message)
            return
        self.emit(Send(key, "closest", via, encode(message)))

    def to_node(self, node: bytes, via: bytes | None, message: Message) -> None:
        """To that very node, by way of `via` unless there is a shorter one."""
        if node == self._me:
            self.loopback.append(message)
            return
        if self.is_linked(node):
            self.to_neighbour(node, message)
            return
        self.emit(Send(node, "exact", None if via == self._me else via, encode(message)))
