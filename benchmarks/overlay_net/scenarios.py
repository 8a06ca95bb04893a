"""What is measured of an overlay in virtual time; each function returns figures by name."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from statistics import mean, median, quantiles
from typing import Final, TypeAlias

import msgspec

from benchmarks.overlay_net import full
from benchmarks.overlay_net.cheap import CheapCipher
from benchmarks.overlay_net.growing import Overlay
from benchmarks.overlay_net.members import NAMESPACE_KEY, Kind, Recipe, cheap_sign
from benchmarks.overlay_net.thin import Network, Node
from ipop_modules.topology.protocol.messages import (
    Copy,
    GetAnswer,
    Message,
    MessageError,
    PutAnswer,
    Repair,
    Replicate,
    decode,
    encode,
)
from ipop_modules.topology.protocol.records import Record, signed_record

Figures: TypeAlias = dict[str, float | int | None]

LATENCY = 0.05
PAIRS = 4000
LOOKUPS = 400
NEWCOMERS = 40
APART = 150.0
"""Seconds for which two rings are apart: who was heard of before is tried again for half of it, and forgotten."""
WORTH_TELLING = 1.0
"""Bytes a second and node of one kind."""


def new_network(seed: int, *, kind: Kind = "open", whole: bool = False) -> Network:
    """`whole`: of whole nodes, with a cheap cipher and cheap signatures."""
    recipe = Recipe(long_links=None, kind=kind)
    if whole:
        return full.Network(seed, latency=LATENCY, recipe=recipe, cipher=CheapCipher)
    return Network(seed, latency=LATENCY, recipe=recipe)


def grown(nodes: int, seed: int, *, kind: Kind = "open", whole: bool = False) -> Overlay:
    overlay = Overlay(new_network(seed, kind=kind, whole=whole))
    overlay.grow(nodes)
    return overlay


# The ring as it stands.


def routes(overlay: Overlay) -> Figures:
    network, nodes = overlay.network, overlay.alive
    pairs = [network.chance.sample(nodes, 2) for _ in range(PAIRS)]
    ways = [network.hops(start, end.id) for start, end in pairs]
    hops = sorted(way for way in ways if way is not None)
    links = [len(node.links) for node in nodes]
    return {
        "hops_mean": round(mean(hops), 3),
        "hops_p99": hops[int(0.99 * len(hops))],
        "hops_max": hops[-1],
        "unreached": ways.count(None),
        "links_mean": round(mean(links), 2),
        "links_max": max(links),
    }


def idle(overlay: Overlay, settling: float = 120.0, seconds: float = 300.0) -> Figures:
    """Bytes that a node sends while nobody joins, leaves or asks, headers counted: in all, and what most go to.

    Newcomers' leases are renewed for the first time when the ring has settled for a while.
    """
    network = overlay.network
    network.run(settling)
    before = network.spent()
    network.run(seconds)
    each = 1 / seconds / len(overlay.alive)
    spent = {name: (size - before.get(name, 0)) * each for name, size in network.spent().items()}
    figures: Figures = {"bytes_per_node_s": round(sum(spent.values()), 1)}
    for name, size in sorted(spent.items(), key=lambda item: -item[1]):
        if size >= WORTH_TELLING:
            figures[f"bytes_{name.lower()}_s"] = round(size, 1)
    return figures


# Lookups.


@dataclass
class Tally:
    """Lookups of addresses that have an owner, by what the asker was told."""

    right: int = 0
    wrong: int = 0
    """Another node."""
    absent: int = 0
    """That nobody owns it, with certainty: the asker tells its kernel so, and remembers it for a while."""
    unanswered: int = 0

    @property
    def success(self) -> float:
        return self.right / max(1, self.right + self.wrong + self.absent + self.unanswered)

    def figures(self, name: str) -> Figures:
        """All that were not right."""
        return {f"{name}_wrong": self.wrong, f"{name}_absent": self.absent, f"{name}_unanswered": self.unanswered}

    def add(self, other: Tally) -> None:
        self.right += other.right
        self.wrong += other.wrong
        self.absent += other.absent
        self.unanswered += other.unanswered


def look_up(overlay: Overlay, tally: Tally, asker: Node, address: bytes) -> None:
    """Ask now; the tally is told when the answer has come. Whoever has died since is let be."""
    network, owner, before = overlay.network, overlay.owners[address], len(asker.resolved)
    network.resolve(asker, address, fresh=True)

    def judge() -> None:
        answers = [answer for answer in asker.resolved[before:] if answer.subject == address]
        if not (asker.alive and owner.alive):
            return
        answer = answers[0] if answers else None
        if answer is None or (answer.node is None and not answer.certain):
            tally.unanswered += 1
        elif answer.node is None:
            tally.absent += 1
        elif answer.node == owner.id:
            tally.right += 1
        else:
            tally.wrong += 1

    network.after(2.6, judge)


def some_lookups(overlay: Overlay, tally: Tally, count: int = LOOKUPS, seconds: float = 10.0) -> None:
    """Random members ask for random addresses, spread over so many seconds."""
    chance = overlay.network.chance

    def ask() -> None:
        owner, asker = chance.sample(overlay.alive, 2)
        look_up(overlay, tally, asker, overlay.address(owner))

    for _ in range(count):
        overlay.network.after(chance.uniform(0, seconds), ask)


def lookups(overlay: Overlay) -> Figures:
    tally = Tally()
    some_lookups(overlay, tally)
    overlay.network.run(13.0)
    return {"lookup_success": round(tally.success, 5), **tally.figures("lookup")}


# Changes.


def joins(overlay: Overlay, newcomers: int = NEWCOMERS) -> Figures:
    """From first contact until a random member that asks for the newcomer's address gets it."""
    network = overlay.network
    times = []
    for _ in range(newcomers):
        start = network.now
        newcomer = overlay.newcomer()
        address = overlay.address(newcomer)
        network.run_until(lambda n=newcomer: bool(n.registered), 30.0, step=0.01)  # type: ignore[misc]  # mypy can't infer a lambda's default
        found = False
        while not found:
            asker = network.chance.choice([node for node in overlay.alive if node is not newcomer])
            before = len(asker.resolved)
            network.resolve(asker, address, fresh=True)
            network.run_until(lambda a=asker, b=before: len(a.resolved) > b, 3.0, step=0.01)  # type: ignore[misc]  # as above
            found = asker.resolved[-1].node == newcomer.id
        times.append(1000 * (network.now - start))
    return {"join_ms_p50": round(median(times)), "join_ms_p99": round(quantiles(times, n=100)[98])}


def deaths(overlay: Overlay) -> Figures:
    """A third die at once: when there is one ring again, and what lookups gave until then and after."""
    network = overlay.network
    for node in network.chance.sample(overlay.nodes, len(overlay.nodes) // 3):
        network.kill(node)
    meanwhile, after = Tally(), Tally()
    some_lookups(overlay, meanwhile)
    took = network.run_until(network.ring_is_right, 180.0, step=0.5)
    some_lookups(overlay, after)
    network.run(13.0)
    return {
        "deaths_ring_s": round(took, 1),
        **meanwhile.figures("deaths_meanwhile"),
        **after.figures("deaths_after"),
        "deaths_success_after": round(after.success, 5),
    }


def churn(overlay: Overlay, minutes: float = 30.0, part: float = 0.1, *, told: int = 1) -> Figures:
    """So many of the nodes are replaced each minute, one by one; newcomers are told so many bootstraps.

    An only one that dies before it has named others leaves a newcomer nobody to ask. If that takes itself for a ring
    then, what it looks up, and who looks for it, counts here like any other lookup.
    """
    network, tally = overlay.network, Tally()
    each_minute = max(1, int(part * len(overlay.alive)))

    def replace_one() -> None:
        candidates = [node for node in overlay.alive if node not in overlay.bootstraps[:2]]
        network.kill(network.chance.choice(candidates))
        overlay.newcomer(told)

    for _ in range(round(minutes)):
        for _ in range(each_minute):
            network.after(network.chance.uniform(0, 60.0), replace_one)
        settled = Tally()
        some_lookups_of_settled(overlay, settled)
        network.run(60.0)
        tally.add(settled)
    return {"churn_success": round(tally.success, 5), **tally.figures("churn")}


def some_lookups_of_settled(overlay: Overlay, tally: Tally, count: int = LOOKUPS) -> None:
    """Lookups over a minute of addresses whose owners are registered when the question is asked."""
    chance = overlay.network.chance

    def ask() -> None:
        registered = [node for node in overlay.alive if node.registered and node.member]
        owner, asker = chance.sample(registered, 2)
        look_up(overlay, tally, asker, overlay.address(owner))

    for _ in range(count):
        overlay.network.after(chance.uniform(0, 57.0), ask)


def merge(nodes: int, seed: int, *, whole: bool = False) -> Figures:
    """Two rings that never met get one common node."""
    network = new_network(seed, whole=whole)
    one, other = Overlay(network), Overlay(network, first=IPv4Address("10.1.0.1"))
    for overlay in (one, other):
        overlay.swell(nodes // 2)
        network.run(60.0)
    common = network.add()
    network.contact(common, one.bootstraps[0])
    network.contact(common, other.bootstraps[0])
    took = network.run_until(network.ring_is_right, 300.0, step=0.5)
    return {"merge_s": round(took, 1)}


def halves(overlay: Overlay) -> tuple[set[bytes], set[bytes]]:
    """The nodes in two parts by chance, each node with a link into its own.

    Of a thousand now and then one has all its links into the other: nothing that it knows leads to its own half.
    """
    inside = {node.id for node in overlay.network.chance.sample(overlay.alive, len(overlay.alive) // 2)}
    outside = {node.id for node in overlay.alive} - inside
    for own, other in ((inside, outside), (outside, inside)):
        strangers = {node for node in own if own.isdisjoint(overlay.network.nodes[node].links)}
        own.difference_update(strangers)
        other.update(strangers)
    return inside, outside


def partition(overlay: Overlay) -> Figures:
    """Nothing passes between two halves until each is a ring that has forgotten the other.

    Nobody has a bootstrap any more, lest many reach theirs in the other half; then one node gets one there.
    """
    network = overlay.network
    inside, outside = halves(overlay)
    network.split(inside, outside)

    def are_two_rings() -> bool:
        return network.ring_is_right(inside) and network.ring_is_right(outside)

    apart = network.run_until(are_two_rings, 180.0, step=0.5)
    for node in overlay.alive:
        network.forget_bootstraps(node)
    network.run(APART)
    network.mend()
    network.contact(*(network.nodes[network.chance.choice(sorted(half))] for half in (inside, outside)))
    together = network.run_until(network.ring_is_right, 300.0, step=0.5)
    tally = Tally()
    some_lookups(overlay, tally)
    network.run(13.0)
    return {
        "partition_two_rings_s": round(apart, 1),
        "partition_one_ring_s": round(together, 1),
        **tally.figures("partition"),
        "partition_success_after": round(tally.success, 5),
    }


def liars(overlay: Overlay, part: float = 0.1, *, asked: int = 2 * LOOKUPS, newcomers: int = NEWCOMERS) -> Figures:
    """So many storers lie, a part of them in each of the ways of LIES, while members are asked for.

    Then some more come and claim their addresses, and are asked for, too. In an open namespace, and in one with an
    authority, a liar knows the namespace's key; in a secret one it does not.
    """
    network, kind = overlay.network, overlay.network.recipe.kind
    key = b"guessed" if kind == "secret" else NAMESPACE_KEY
    chosen = network.chance.sample(overlay.nodes, round(part * len(overlay.nodes)))
    for number, node in enumerate(chosen):
        node.lies = Liar(network, key, LIES[number % len(LIES)])
    tally = Tally()
    some_lookups(overlay, tally, asked)
    network.run(13.0)
    figures = {**tally.figures(f"liars_{kind}"), f"liars_{kind}_asked": asked}
    askers = overlay.alive
    new = [overlay.newcomer() for _ in range(newcomers)]
    network.run(30.0)
    tally = Tally()
    for node in new:
        for asker in network.chance.sample(askers, 5):
            look_up(overlay, tally, asker, overlay.address(node))
    network.run(3.0)
    for node in chosen:
        node.lies = None
    return figures | tally.figures(f"liars_{kind}_new") | {f"liars_{kind}_new_asked": 5 * newcomers}


LIES: Final = ("mine", "nothing", "older", "swallows")


class Liar:
    """Alters what a storer says. `mine`: its answers name itself. `nothing`: they name nobody.

    `older`: what it hands to its neighbours is its own since the beginning of time, and so are its answers. `swallows`:
    it says to owners that their records are stored, hands them to nobody, and answers that there are none.
    """

    def __init__(self, network: Network, namespace_key: bytes, way: str) -> None:
        self._network = network
        self._namespace_key = namespace_key
        self._way = way
        self._key = network.chance.randbytes(91)

    def __call__(self, payload: bytes) -> bytes:
        try:
            message = decode(payload)
        except MessageError:
            return payload
        if self._way == "swallows":
            return encode(_swallowed(message))
        heeded = GetAnswer | Replicate if self._way == "older" else GetAnswer
        if not isinstance(message, heeded) or not message.copies:
            return payload
        if self._way == "nothing":
            return encode(msgspec.structs.replace(message, copies=(), keeps=True))
        copies = tuple(Copy(self._forged(copy.record), copy.remaining, 2**53) for copy in message.copies)
        return encode(msgspec.structs.replace(message, copies=copies))

    def _forged(self, record: Record) -> Record:
        return signed_record(
            record.kind,
            record.key,
            owner_key=self._key,
            since=0,
            sequence=record.sequence,
            lease=record.lease,
            value=b"",
            sign=cheap_sign(self._key),
            namespace_key=self._namespace_key,
        )


def _swallowed(message: Message) -> Message:
    match message:
        case PutAnswer():
            return PutAnswer(message.number, "stored", None)
        case GetAnswer():
            return GetAnswer(message.number, (), 0, keeps=True)
        case Replicate():
            return Replicate(())
        case Repair():
            return Repair(Copy(message.copy.record, 0))
        case _:
            return message


# The run.


def measured(work: Callable[[], Figures]) -> tuple[Figures, Figures]:
    """What the work returned, and what it cost: CPU seconds, and the most memory that this process had so far."""
    start = time.process_time()
    figures = work()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return figures, {"cpu_s": round(time.process_time() - start, 1), "memory_gb": round(memory, 2)}
