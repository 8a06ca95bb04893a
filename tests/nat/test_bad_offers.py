"""Offers that are forged, replayed, far too long, or name somebody else: dropped and counted, and nobody is flooded.

Strangers' addresses and sessions that do not exist are in `test_courtesy.py`.
"""

from __future__ import annotations

import msgspec
import pytest

from ipop_core.lab.nat import NatKind
from ipop_modules.signal.protocol.candidates import pack
from ipop_modules.signal.protocol.offers import Offer, encode
from ipop_modules.signal.protocol.rendezvous import PEER_BURST, Probe, Rendezvous
from ipop_modules.tincan.link.protocol.events import Endpoint, RoleData
from tests.nat.streets import Pair

ALICE = "aa" * 20
OWN = ["192.0.2.1:4741"]
CANDIDATE = pack("198.51.100.7:9")
assert CANDIDATE is not None


def rendezvous() -> Rendezvous:
    return Rendezvous(bytes, now=0.0)


@pytest.mark.parametrize("count", [17, 1000])
def test_an_offer_with_more_candidates_than_allowed_is_no_offer(count: int) -> None:
    machine = rendezvous()
    data = msgspec.msgpack.encode(["offer", bytes(8), [CANDIDATE] * count, 0, b""])
    assert machine.receive(ALICE, data, OWN, 0.0) == []
    assert machine.counters == {"invalid": 1}


def test_an_offer_that_comes_again_and_again_is_probed_for_a_few_times() -> None:
    machine = rendezvous()
    data = encode(Offer(bytes(8), (CANDIDATE,)))
    effects = [effect for _ in range(100) for effect in machine.receive(ALICE, data, OWN, 0.0)]
    assert sum(isinstance(effect, Probe) for effect in effects) == PEER_BURST
    assert machine.counters["rate_limited"] == 100 - PEER_BURST


def recorded() -> tuple[Pair, list[tuple[Endpoint, bytes]]]:
    """A pair with a direct path, and the datagram by which an offer of Alice's came to Bob."""
    pair = Pair(NatKind.OPEN, NatKind.OPEN, seed=1)
    pair.talk(3, until_direct=True)
    assert pair.direct
    began = len(pair.net.sent)
    offer = encode(Offer(bytes(8), (CANDIDATE,)))
    pair.a.machine.send_role(pair.b.id, "signal", offer, pair.net.now)
    pair.net.run(0.1)
    sent = [(source, data) for _, source, target, data in pair.net.sent[began:] if target == pair.b.endpoint]
    assert pair.b.of(RoleData)
    return pair, sent


def test_a_recorded_offer_that_is_sent_again_is_dropped_and_counted() -> None:
    pair, sent = recorded()
    heard = len(pair.b.of(RoleData))
    for source, data in sent * 3:
        pair.b.machine.receive(memoryview(data), len(data), source, pair.net.now)
    pair.net.run(1)
    assert len(pair.b.of(RoleData)) == heard
    assert pair.b.machine.counters["drop_replay"] == 3 * len(sent)


def test_an_altered_offer_is_dropped_and_counted() -> None:
    pair, _ = recorded()
    began, heard = len(pair.net.sent), len(pair.b.of(RoleData))
    pair.net.passes = lambda source, target: False
    pair.a.machine.send_role(pair.b.id, "signal", encode(Offer(bytes(8), (CANDIDATE,))), pair.net.now)
    (data,) = [data for _, _, target, data in pair.net.sent[began:] if target == pair.b.endpoint]
    forged = data[:-1] + bytes((data[-1] ^ 1,))
    pair.b.machine.receive(memoryview(forged), len(forged), pair.a.endpoint, pair.net.now)
    assert len(pair.b.of(RoleData)) == heard
    assert pair.b.machine.counters["drop_forged"] == 1


def test_an_offer_under_keys_of_no_session_is_dropped_and_counted() -> None:
    pair, sent = recorded()
    pair.b.restart()
    for source, data in sent:
        pair.b.machine.receive(memoryview(data), len(data), source, pair.net.now)
    assert pair.b.machine.counters["drop_unknown_receiver"] == len(sent)
    assert not pair.b.machine.events
