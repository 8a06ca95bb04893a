"""Whole nodes behind NATs, in virtual time: the product's own signal and link machines find the direct path, or none.

The two are members of a ring of public nodes, beside each other for nobody; packets of their cards go over the ring
first, ask for a shortcut, and move to the direct path where there is one.
"""

from __future__ import annotations

from benchmarks.overlay_net import full
from benchmarks.overlay_net.members import Recipe
from ipop_core.lab.nat import NatKind
from ipop_modules.topology.protocol.records import verify_p256
from tests.overlay_net.test_busy_peers import talk

STRICT, SYMMETRIC = NatKind.PORT_RESTRICTED, NatKind.SYMMETRIC
SIZE = 8


class Homes:
    """A ring of SIZE nodes, two of them behind routers of these kinds."""

    def __init__(self, one: NatKind, other: NatKind, seed: int = 1) -> None:
        self.network = network = full.Network(seed, recipe=Recipe(long_links=0, verify=verify_p256))
        nodes = [full.whole(network.add()) for _ in range(SIZE)]
        circle = sorted(nodes, key=lambda node: node.id)
        at = circle.index(nodes[0])
        self.one, self.other = circle[(at + 1) % SIZE], circle[(at + 5) % SIZE]
        network.put_behind(self.one, one, "203.0.113.10")
        network.put_behind(self.other, other, "203.0.113.20")
        for node in nodes[1:]:
            network.contact(node, nodes[0])
        network.run_until(network.ring_is_right, 30.0)
        network.run(80.0)  # links that were needed on the way here are closed

    def talk(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            if self.direct:
                return
            talk(self.network, 1.0, self.one, {self.other.id: 200})

    @property
    def direct(self) -> bool:
        sessions = self.one.transport.sessions.get(self.other.id), self.other.transport.sessions.get(self.one.id)
        return all(session is not None and session.direct for session in sessions)

    @property
    def places(self) -> list[tuple[object, ...]]:
        """Where each of the two sends to directly."""
        sessions = self.one.transport.sessions[self.other.id], self.other.transport.sessions[self.one.id]
        return [session.paths.active.endpoint for session in sessions if session.paths.active is not None]


def test_two_behind_port_restricted_nats_get_a_direct_path() -> None:
    homes = Homes(STRICT, STRICT)
    assert not homes.direct
    homes.talk(20.0)
    assert homes.direct
    assert [place[0] for place in homes.places] == ["203.0.113.20", "203.0.113.10"]


def test_one_behind_a_symmetric_nat_is_found_by_the_search() -> None:
    homes = Homes(SYMMETRIC, STRICT)
    homes.talk(25.0)
    assert homes.direct
    (by, there) = homes.places
    assert by[:2] == ("203.0.113.20", full.PORT)
    assert len(by) == 3, "one of the sockets that it opened for the search"
    assert there[0] == "203.0.113.10"


def test_two_behind_symmetric_nats_stay_on_the_overlay() -> None:
    homes = Homes(SYMMETRIC, SYMMETRIC)
    homes.talk(25.0)
    assert not homes.direct
    assert homes.one.rendezvous.tally(homes.other.id.hex()).answered > 0, "they did try"
    session = homes.other.transport.sessions[homes.one.id]
    assert session.member
    assert session.counters.bytes_in > 25 * 2 * 200
