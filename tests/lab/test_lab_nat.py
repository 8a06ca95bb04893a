"""Each kind of NAT is what it says, by a probe in the manner of RFC 5780 that knows nothing of the rules."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from ipop_core.lab import Home, Host, Laboratory, NatKind

pytestmark = pytest.mark.net

ENDPOINT_INDEPENDENT = "endpoint-independent"
ADDRESS_DEPENDENT = "address-dependent"
ADDRESS_AND_PORT_DEPENDENT = "address and port-dependent"

PATIENCE = 2.0
SILENCE = 0.1


def udp_socket(host: Host, port: int) -> socket.socket:
    def open_bound() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(PATIENCE)
        sock.bind((host.address, port))
        return sock

    return host.namespace.call(open_bound)


@dataclass
class Prober:
    """Two servers with two ports each, and a client behind the router."""

    first: socket.socket
    first_other_port: socket.socket
    second: socket.socket
    client: socket.socket

    def mapped_towards(self, server: socket.socket) -> tuple[str, int]:
        """Where the server sees the client's datagrams come from."""
        self.client.sendto(b"what is my address?", server.getsockname())
        source: tuple[str, int] = server.recvfrom(100)[1]
        return source

    def mapping(self) -> str:
        seen = [self.mapped_towards(server) for server in (self.first, self.first_other_port, self.second)]
        if len(set(seen)) == 1:
            return ENDPOINT_INDEPENDENT
        return ADDRESS_DEPENDENT if seen[0] == seen[1] else ADDRESS_AND_PORT_DEPENDENT

    def filtering(self) -> str:
        """Contact the first server only, then see who gets an answer through. The first server itself must."""
        mapped = self.mapped_towards(self.first)
        for server in (self.second, self.first_other_port, self.first):
            server.sendto(b"hello", mapped)
        through = self.senders_heard()
        assert self.first.getsockname() in through, "not even the contacted server's answer came through"
        if self.second.getsockname() in through:
            return ENDPOINT_INDEPENDENT
        return ADDRESS_DEPENDENT if self.first_other_port.getsockname() in through else ADDRESS_AND_PORT_DEPENDENT

    def senders_heard(self) -> set[tuple[str, int]]:
        heard = set()
        try:
            while True:
                heard.add(self.client.recvfrom(100)[1])
                self.client.settimeout(SILENCE)
        except TimeoutError:
            return heard


@pytest.fixture
def servers(lab: Laboratory) -> tuple[Host, Host]:
    public = lab.segment()
    return lab.host("first", public), lab.host("second", public)


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def prober(home: Home, servers: tuple[Host, Host], sockets: ExitStack) -> Prober:
    ends = [(servers[0], 3478), (servers[0], 3479), (servers[1], 3478), (home.host, 40_000)]
    return Prober(*(sockets.enter_context(udp_socket(host, port)) for host, port in ends))


@pytest.mark.parametrize(
    ("kind", "mapping", "filtering"),
    [
        (NatKind.OPEN, ENDPOINT_INDEPENDENT, ENDPOINT_INDEPENDENT),
        (NatKind.FULL_CONE, ENDPOINT_INDEPENDENT, ENDPOINT_INDEPENDENT),
        (NatKind.ADDRESS_RESTRICTED, ENDPOINT_INDEPENDENT, ADDRESS_DEPENDENT),
        (NatKind.PORT_RESTRICTED, ENDPOINT_INDEPENDENT, ADDRESS_AND_PORT_DEPENDENT),
        (NatKind.SYMMETRIC, ADDRESS_AND_PORT_DEPENDENT, ADDRESS_AND_PORT_DEPENDENT),
    ],
)
def test_a_nat_kind_maps_and_filters_as_its_definition_says(
    lab: Laboratory, servers: tuple[Host, Host], sockets: ExitStack, kind: NatKind, mapping: str, filtering: str
) -> None:
    home = lab.home("alice", servers[0].segment, kind)
    probe = prober(home, servers, sockets)

    assert probe.filtering() == filtering
    assert probe.mapping() == mapping
    assert probe.mapped_towards(probe.first)[0] == home.public_address


@pytest.mark.parametrize("kind", [NatKind.PORT_RESTRICTED, NatKind.ADDRESS_RESTRICTED])
@pytest.mark.parametrize("careful", [True, False])
def test_an_early_probe_spoils_the_mapping_only_on_a_careless_router(
    lab: Laboratory, servers: tuple[Host, Host], sockets: ExitStack, kind: NatKind, careful: bool
) -> None:
    home = lab.home("alice", servers[0].segment, kind, drop_unsolicited=careful)
    probe = prober(home, servers, sockets)
    inner_port = probe.client.getsockname()[1]
    assert probe.mapped_towards(probe.second) == (home.public_address, inner_port)

    with lab.capture(servers[0].segment) as capture:
        probe.first.sendto(b"too early", (home.public_address, inner_port))
        capture.wait_for_datagram(servers[0].address, home.public_address)
        mapped = probe.mapped_towards(probe.first)

    assert (mapped[1] == inner_port) is careful


def test_two_homes_reach_each_other_only_through_their_routers(lab: Laboratory) -> None:
    public = lab.segment()
    alice = lab.home("alice", public, NatKind.FULL_CONE)
    bob = lab.home("bob", public, NatKind.PORT_RESTRICTED)

    with lab.capture(public) as capture:
        assert bob.host.run(["ping", "-c1", "-W1", alice.host.address], check=False).returncode != 0
        with udp_socket(alice.host, 40_000) as at_alice, udp_socket(bob.host, 50_000) as at_bob:
            at_bob.sendto(b"hello Alice", (alice.public_address, 40_000))
            assert at_alice.recvfrom(100) == (b"hello Alice", (bob.public_address, 50_000))

        assert capture.count(bob.public_address, alice.public_address) == 1
        assert capture.count(bob.host.address) == 0
