"""Each kind of NAT is what it says, by a probe that does not know the rules; real routers and simulated ones agree."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from typing import Final

import pytest

from ipop_core.lab import Home, Host, Laboratory, NatKind, Segment, udp_blocked
from ipop_core.lab.probe import ANOTHER_PORT, Probe
from ipop_core.nat_behaviour import Address, Behaviour, Dependence, Line, Server, classify
from ipop_core.simulated_nat import Nats, SimulatedNat

INDEPENDENT, ADDRESS, ADDRESS_AND_PORT = Dependence
CLIENT = "10.77.1.2"
PUBLIC = "203.0.113.7"

KINDS = [
    (NatKind.OPEN, INDEPENDENT, INDEPENDENT),
    (NatKind.FULL_CONE, INDEPENDENT, INDEPENDENT),
    (NatKind.ADDRESS_RESTRICTED, INDEPENDENT, ADDRESS),
    (NatKind.PORT_RESTRICTED, INDEPENDENT, ADDRESS_AND_PORT),
    (NatKind.SYMMETRIC, ADDRESS_AND_PORT, ADDRESS_AND_PORT),
    (NatKind.SEQUENTIAL, ADDRESS_AND_PORT, ADDRESS_AND_PORT),
]


class SimulatedLine:
    """The probe's line through simulated routers."""

    servers: Final = {
        Server.FIRST: ("198.51.100.1", 3478),
        Server.FIRST_OTHER_PORT: ("198.51.100.1", 3479),
        Server.SECOND: ("198.51.100.2", 3478),
    }

    def __init__(self, router: SimulatedNat | None) -> None:
        self.nats = Nats()
        self.client = PUBLIC if router is None else CLIENT
        self.now = 0.0
        if router is not None:
            self.nats.put(CLIENT, router)

    def seen(self, port: int, server: Server) -> Address:
        return self.nats.leave((self.client, port), self.servers[server], self.now)

    def reaches(self, port: int, server: Server, mapped: Address) -> bool:
        return self.nats.arrive(self.servers[server], mapped, self.now) == (self.client, port)

    def turns(self, port: int, mapped: Address) -> Address | None:
        source = self.nats.leave((self.client, ANOTHER_PORT), mapped, self.now)
        return source if self.nats.arrive(source, mapped, self.now) == (self.client, port) else None


def simulated(kind: NatKind, *, carrier: NatKind | None = None, hairpin: bool = False) -> SimulatedLine:
    chance = random.Random(1)
    outer = None if carrier is None else SimulatedNat(carrier, PUBLIC, chance)
    public = PUBLIC if carrier is None else "100.64.1.2"
    router = None if kind is NatKind.OPEN else SimulatedNat(kind, public, chance, hairpin=hairpin, carrier=outer)
    return SimulatedLine(router)


def expected(kind: NatKind, mapping: Dependence, filtering: Dependence, *, hairpin: bool = False) -> Behaviour:
    return Behaviour(
        mapping,
        filtering,
        preserves_port=kind not in (NatKind.SYMMETRIC, NatKind.SEQUENTIAL),
        sequential=kind is NatKind.SEQUENTIAL,
        hairpin=hairpin or kind is NatKind.OPEN,
    )


@pytest.fixture
def public(lab: Laboratory) -> Segment:
    return lab.segment()


@pytest.fixture
def servers(lab: Laboratory, public: Segment) -> tuple[Host, Host]:
    return lab.host("first", public), lab.host("second", public)


def behaviour(home: Home, servers: tuple[Host, Host]) -> Behaviour:
    with Probe(home.host, *servers) as probe:
        return classify(probe)


@pytest.mark.parametrize(("kind", "mapping", "filtering"), KINDS)
def test_a_simulated_router_behaves_as_its_kind_says(kind: NatKind, mapping: Dependence, filtering: Dependence) -> None:
    assert classify(simulated(kind)) == expected(kind, mapping, filtering)


@pytest.mark.net
@pytest.mark.parametrize(("kind", "mapping", "filtering"), KINDS)
def test_a_real_router_behaves_as_its_kind_says_and_as_the_simulated_one(
    lab: Laboratory,
    public: Segment,
    servers: tuple[Host, Host],
    kind: NatKind,
    mapping: Dependence,
    filtering: Dependence,
) -> None:
    home = lab.home("alice", public, kind)
    found = behaviour(home, servers)
    assert found == expected(kind, mapping, filtering)
    assert found == classify(simulated(kind))


@pytest.mark.net
@pytest.mark.parametrize("hairpin", [True, False])
def test_a_router_turns_packets_round_only_where_it_has_hairpin(
    lab: Laboratory, public: Segment, servers: tuple[Host, Host], hairpin: bool
) -> None:
    home = lab.home("alice", public, NatKind.FULL_CONE, hairpin=hairpin)
    found = behaviour(home, servers)
    assert found == expected(NatKind.FULL_CONE, INDEPENDENT, INDEPENDENT, hairpin=hairpin)
    assert found == classify(simulated(NatKind.FULL_CONE, hairpin=hairpin))


@pytest.mark.net
@pytest.mark.parametrize("carrier", [NatKind.PORT_RESTRICTED, NatKind.SYMMETRIC])
def test_a_home_behind_a_carriers_router_behaves_as_the_stricter_of_both(
    lab: Laboratory, public: Segment, servers: tuple[Host, Host], carrier: NatKind
) -> None:
    home = lab.home("alice", lab.carrier("isp", public, carrier), NatKind.PORT_RESTRICTED)
    mapping = next(mapping for kind, mapping, _ in KINDS if kind is carrier)
    found = behaviour(home, servers)
    assert found == expected(carrier, mapping, ADDRESS_AND_PORT)
    assert found == classify(simulated(NatKind.PORT_RESTRICTED, carrier=carrier))
    with Probe(home.host, *servers) as probe:
        assert probe.seen(50_000, Server.FIRST)[0] == home.public_address


@pytest.mark.net
def test_a_mapping_expires_after_its_lifetime_and_not_before(
    lab: Laboratory, public: Segment, servers: tuple[Host, Host]
) -> None:
    home = lab.home("alice", public, NatKind.PORT_RESTRICTED, lifetime=2)
    line = simulated(NatKind.PORT_RESTRICTED)
    line.nats.of[CLIENT].lifetime = 2.0
    with Probe(home.host, *servers) as probe:
        mapped = probe.seen(50_000, Server.FIRST)
        assert probe.reaches(50_000, Server.FIRST, mapped)
        time.sleep(3.0)
        assert not probe.reaches(50_000, Server.FIRST, mapped)
    mapped = line.seen(50_000, Server.FIRST)
    assert line.reaches(50_000, Server.FIRST, mapped)
    line.now = 3.0
    assert not line.reaches(50_000, Server.FIRST, mapped)


@pytest.mark.net
def test_blocked_udp_lets_nothing_through_between_two_homes_and_all_else(
    lab: Laboratory, public: Segment, servers: tuple[Host, Host]
) -> None:
    alice = lab.home("alice", public, NatKind.FULL_CONE)
    bob = lab.home("bob", public, NatKind.FULL_CONE)
    with Probe(alice.host, bob.host, servers[1]) as probe:
        with udp_blocked(alice, bob):
            assert not probe.reaches(50_000, Server.FIRST, (alice.public_address, 50_000))
            assert probe.reaches(50_000, Server.SECOND, (alice.public_address, 50_000))
        assert probe.reaches(50_000, Server.FIRST, (alice.public_address, 50_000))


EARLY = [NatKind.FULL_CONE, NatKind.ADDRESS_RESTRICTED, NatKind.PORT_RESTRICTED]


def early(line: Line, came: Callable[[], object]) -> tuple[Address, Address, bool]:
    """What becomes of a flow to a server from which a probe came first, `came` having waited until it did.

    The address that the other server saw before, the one that this server sees, and whether its own first probe,
    sent again to where that one went, gets in now.
    """
    before = line.seen(50_000, Server.SECOND)
    line.reaches(50_000, Server.FIRST, before)
    came()
    return before, line.seen(50_000, Server.FIRST), line.reaches(50_000, Server.FIRST, before)


@pytest.mark.net
@pytest.mark.parametrize("kind", EARLY)
@pytest.mark.parametrize("careful", [True, False])
def test_an_early_probe_spoils_the_mapping_only_on_a_careless_router_real_or_simulated(
    lab: Laboratory, public: Segment, servers: tuple[Host, Host], kind: NatKind, careful: bool
) -> None:
    home = lab.home("alice", public, kind, drop_unsolicited=careful)
    with Probe(home.host, *servers) as probe, lab.capture(public) as capture:
        before, seen, reaches = early(probe, lambda: capture.wait_for_datagram(servers[0].address, home.public_address))
    assert before == (home.public_address, 50_000)
    spoilt = not careful and kind is not NatKind.FULL_CONE
    assert (seen == before, reaches) == (not spoilt, not spoilt)
    line = simulated(kind)
    line.nats.of[CLIENT].careful = careful
    simulated_before, simulated_seen, simulated_reaches = early(line, lambda: None)
    assert (simulated_seen == simulated_before, simulated_reaches) == (seen == before, reaches)


@pytest.mark.net
def test_two_homes_reach_each_other_only_through_their_routers(lab: Laboratory, public: Segment) -> None:
    alice = lab.home("alice", public, NatKind.FULL_CONE)
    bob = lab.home("bob", public, NatKind.PORT_RESTRICTED)

    with lab.capture(public) as capture:
        assert bob.host.run(["ping", "-c1", "-W1", alice.host.address], check=False).returncode != 0
        with udp_socket(alice.host, 40_000) as at_alice, udp_socket(bob.host, 50_000) as at_bob:
            at_bob.sendto(b"hello Alice", (alice.public_address, 40_000))
            assert at_alice.recvfrom(100) == (b"hello Alice", (bob.public_address, 50_000))

        capture.wait_for_datagram(bob.public_address, alice.public_address)
        assert capture.count(bob.public_address, alice.public_address) == 1
        assert capture.count(bob.host.address) == 0


def udp_socket(host: Host, port: int) -> socket.socket:
    def open_bound() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(2.0)
        sock.bind((host.address, port))
        return sock

    return host.namespace.call(open_bound)
