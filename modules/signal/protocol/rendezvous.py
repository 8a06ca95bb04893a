"""Rendezvous: both sides learn each other's candidates and start to probe at the same moment.

The side whose links want a direct path sends an offer; the other answers with its own candidates and probes at once;
the answer makes the first side probe. Offers are sent again, ever later, until a direct link is up or enough were sent.
When both want it at once their offers cross, and both answer and probe: no harm, so nobody has to give way.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ipop_core.allowance import Allowance
from ipop_core.token_bucket import TokenBucket
from ipop_modules.signal.protocol import candidates
from ipop_modules.signal.protocol.offers import MAPPINGS, Answer, Offer, decode, encode

MOST_ATTEMPTS: Final = 256
MOST_PEERS: Final = 256
"""Peers whose offers are counted one by one; the longest silent is forgotten first."""
TRIES: Final = 5
FIRST_RETRY: Final = 0.5
"""Seconds; twice as long after each try."""
PEER_RATE: Final = 1.0
PEER_BURST: Final = 4.0
NODE_RATE: Final = 32.0
NODE_BURST: Final = 64.0


@dataclass(frozen=True, slots=True)
class Send:
    """Carry `data` to the module of the same role on `node`, sealed."""

    node: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Nat:
    """How a node's NAT maps, one of MAPPINGS, and its address as peers see it: `nat` in `link.json`.

    `able`: the node can take part in a search now.
    """

    mapping: str = MAPPINGS[0]
    endpoint: str | None = None
    able: bool = True


NO_WORD: Final = Nat()


@dataclass(frozen=True, slots=True)
class Probe:
    """Try these endpoints of `node` now; `early`: as soon as the other has learned of ours."""

    node: str
    endpoints: tuple[str, ...]
    nat: Nat = NO_WORD
    early: bool = False


Effect: TypeAlias = Send | Probe


@dataclass(slots=True)
class Tally:
    """What went to and fro with one peer."""

    sent: int = 0
    answered: int = 0
    """Of the offers that were sent."""
    received: int = 0
    limited: int = 0
    """Of the offers that came, those that were dropped because there were too many."""


@dataclass(slots=True)
class Attempt:
    """One wish for a direct path."""

    offer: Offer
    tries: int
    due: float
    """When the offer is sent again, or given up after the last try."""
    answered: bool = False
    """The last offer was: one answer to each."""


class Rendezvous:
    """Nodes are 40 hexadecimal digits, `own` this node's candidates as endpoints; times are seconds on one clock."""

    def __init__(self, random: Callable[[int], bytes], now: float) -> None:
        self._random = random
        self._attempts: OrderedDict[str, Attempt] = OrderedDict()
        self._peers = Allowance(PEER_RATE, PEER_BURST, MOST_PEERS)
        self._all_peers = TokenBucket(NODE_RATE, NODE_BURST, now)
        self.counters: Counter[str] = Counter()
        """What was sent, received and dropped, by name."""
        self._tallies: OrderedDict[str, Tally] = OrderedDict()

    def tally(self, node: str) -> Tally:
        """What went to and fro with this peer, of the last MOST_PEERS with which anything did."""
        return self._tallies.get(node) or Tally()

    def want(self, node: str, own: Sequence[str], now: float, nat: Nat = NO_WORD) -> list[Effect]:
        """The links want a direct path to `node`. Asked again while an attempt runs: new candidates go out soon."""
        chosen = _choose_own(own)
        if not chosen:
            self.counters["no_own_candidates"] += 1
            return []
        running = self._attempts.get(node)
        if running is not None:
            changed = Offer(running.offer.id, chosen, *_pack_nat(nat))
            if changed != running.offer:
                running.offer = changed
                running.tries = min(running.tries, TRIES - 1)
                running.due = min(running.due, now + FIRST_RETRY)
            return []
        if len(self._attempts) >= MOST_ATTEMPTS:
            self._attempts.popitem(last=False)
            self.counters["attempts_dropped"] += 1
        self._attempts[node] = Attempt(Offer(self._random(8), chosen, *_pack_nat(nat)), tries=0, due=now)
        return self.wake(now)

    def wake(self, now: float) -> list[Effect]:
        """Send again what is due, give up what was tried often enough."""
        effects: list[Effect] = []
        for node, attempt in list(self._attempts.items()):
            if attempt.due > now:
                continue
            if attempt.tries >= TRIES:
                del self._attempts[node]
                self.counters["attempts_failed"] += 1
                continue
            attempt.due = now + FIRST_RETRY * 2**attempt.tries
            attempt.tries += 1
            attempt.answered = False
            self.counters["offers_sent"] += 1
            self._count(node).sent += 1
            effects.append(Send(node, encode(attempt.offer)))
        return effects

    def next_wake(self) -> float | None:
        return min((attempt.due for attempt in self._attempts.values()), default=None)

    def link_up(self, node: str) -> None:
        """A direct link to `node` is up: nothing more to offer."""
        if self._attempts.pop(node, None) is not None:
            self.counters["attempts_succeeded"] += 1

    def receive(self, sender: str, data: bytes, own: Sequence[str], now: float, nat: Nat = NO_WORD) -> list[Effect]:
        """A message whose sender is proven. What breaks a rule is dropped and counted."""
        try:
            message = decode(data)
        except ValueError:
            self.counters["invalid"] += 1
            return []
        if isinstance(message, Answer):
            return self._receive_answer(sender, message, own)
        return self._receive_offer(sender, message, own, now, nat)

    def _receive_offer(self, sender: str, offer: Offer, own: Sequence[str], now: float, nat: Nat) -> list[Effect]:
        tally = self._count(sender)
        tally.received += 1
        if not self._may_offer(sender, now):
            self.counters["rate_limited"] += 1
            tally.limited += 1
            return []
        self.counters["offers_received"] += 1
        answer = Answer(offer.id, _choose_own(own), *_pack_nat(nat))
        return [Send(sender, encode(answer)), *self._probe(sender, offer, own)]

    def _receive_answer(self, sender: str, answer: Answer, own: Sequence[str]) -> list[Effect]:
        attempt = self._attempts.get(sender)
        if attempt is None or attempt.offer.id != answer.id or attempt.answered:
            self.counters["answers_unexpected"] += 1
            return []
        attempt.answered = True
        self.counters["answers_received"] += 1
        self._count(sender).answered += 1
        return self._probe(sender, answer, own)

    def _probe(self, node: str, message: Offer | Answer, own: Sequence[str]) -> list[Effect]:
        fit = candidates.choose(message.candidates, loopback=candidates.only_loopback(_pack(own)))
        self.counters["candidates_unfit"] += len(message.candidates) - len(fit)
        if not fit:
            return []
        nat = _unpack_nat(message, loopback=candidates.only_loopback(_pack(own)))
        return [Probe(node, tuple(map(candidates.to_endpoint, fit)), nat, early=isinstance(message, Offer))]

    def _count(self, peer: str) -> Tally:
        tally = self._tallies.pop(peer, None) or Tally()
        self._tallies[peer] = tally
        if len(self._tallies) > MOST_PEERS:
            self._tallies.popitem(last=False)
        return tally

    def _may_offer(self, peer: str, now: float) -> bool:
        return self._peers.take(peer, now) and self._all_peers.take(now)


def _pack(endpoints: Sequence[str]) -> list[bytes]:
    return [packed for endpoint in endpoints if (packed := candidates.pack(endpoint)) is not None]


def _choose_own(own: Sequence[str]) -> tuple[bytes, ...]:
    packed = _pack(own)
    return tuple(candidates.choose(packed, loopback=candidates.only_loopback(packed)))


def _pack_nat(nat: Nat) -> tuple[int, bytes, bool]:
    outer = None if nat.endpoint is None else candidates.pack(nat.endpoint)
    return MAPPINGS.index(nat.mapping), outer or b"", nat.able


def _unpack_nat(message: Offer | Answer, *, loopback: bool) -> Nat:
    """What the other side says of its NAT; an address that is not fit to be tried is none."""
    fit = candidates.choose([message.outer], loopback=loopback)
    return Nat(MAPPINGS[message.mapping], candidates.to_endpoint(fit[0]) if fit else None, message.able)
