"""A cluster of whole nodes in virtual time: the product's topology, signal and link machines, with real keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias

from benchmarks.overlay_net import full, thin
from benchmarks.overlay_net.together import PATIENCE, Answers
from ipop_modules.tincan.link.protocol import events

LOOK_UP_SECONDS = 3.0
PING_SECONDS = 3.0

Pair: TypeAlias = tuple[full.Node, full.Node]
"""Who is looked up, and by whom."""


class Network(full.Network):
    """Remembers whose pings were answered."""

    def __init__(self, seed: int, latency: float) -> None:
        super().__init__(seed, latency=latency)
        self.answered: set[tuple[bytes, bytes]] = set()

    def _take(self, node: full.Node, event: events.Event) -> None:
        if isinstance(event, events.PingAnswered):
            self.answered.add((node.id, event.node))
        super()._take(node, event)


class VirtualCluster:
    def __init__(self, nodes: int, seed: int, latency: float = 0.0002) -> None:
        """`latency` in seconds, one way: by default that of namespaces on one machine."""
        self._network = Network(seed, latency)
        self._nodes = [self._network.add() for _ in range(nodes)]
        self._addresses = {node.id: _address(number) for number, node in enumerate(self._nodes, start=1)}

    def now(self) -> float:
        return self._network.now

    def form(self) -> None:
        for node in self._nodes:
            self._network.claim(node, self._addresses[node.id])
            if node is not self._nodes[0]:
                self._network.contact(node, self._nodes[0])
        self._network.run_until(lambda: all(map(_is_placed, self._nodes)), PATIENCE)

    def look_up(self, patience: float) -> Answers:
        answers = Answers()
        end = self._network.now + patience
        count = answers.first
        missing = [(other, node) for other in self._nodes for node in self._nodes if node is not other]
        while missing and self._network.now < end:
            missing = [
                pair for other, pairs in groupby(missing, key=itemgetter(0)) for pair in self._ask(other, pairs, count)
            ]
            count = answers.again
        answers.unresolved = len(missing)
        return answers

    def _ask(self, other: full.Node, pairs: Iterable[Pair], count: Counter[str]) -> list[Pair]:
        """Ask for one node's address, everyone at once; those that were not answered with its owner."""
        asked = [node for _, node in pairs]
        for node in asked:
            self._network.resolve(node, self._addresses[other.id], fresh=True)
        self._network.run_until(lambda: all(map(_has_answers, asked)), LOOK_UP_SECONDS)
        left = []
        for node in asked:
            found = node.resolved[-1].node if node.resolved else None
            count["right" if found == other.id else "failed" if found is None else "wrong"] += 1
            if found != other.id:
                left.append((other, node))
            node.events.clear()
        return left

    def rest(self) -> dict[str, Any]:
        return {}

    def kill(self, chosen: Sequence[int]) -> None:
        for number in chosen:
            self._network.kill(self._nodes[number])
        self._nodes = [node for node in self._nodes if node.alive]

    def reach(self, patience: float) -> int:
        end = self._network.now + patience
        while (silent := list(self._silent())) and self._network.now < end:
            for node, other in silent:
                self._network.resolve(node, self._addresses[other.id])
                for found in node.resolved:
                    if found.node is not None:
                        node.transport.ping(found.node, self._network.now)
                node.events.clear()
                self._network.perform(node, [])
            self._network.run(PING_SECONDS / 10)
        return len(silent)

    def _silent(self) -> Iterator[tuple[full.Node, full.Node]]:
        for node in self._nodes:
            for other in self._nodes:
                if node is not other and (node.id, other.id) not in self._network.answered:
                    yield node, other


def _address(number: int) -> bytes:
    return bytes((192, 168, number >> 8, number & 0xFF))


def _is_placed(node: thin.Node) -> bool:
    return node.member and any(said.state == "registered" for said in node.registered)


def _has_answers(node: thin.Node) -> bool:
    return node.machine.lookups is None or not node.machine.lookups._by_key
