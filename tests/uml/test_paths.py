"""Real nodes: the path under IPsec changes from relayed to direct and back, and no association is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ipop_core.identity import CERTIFICATE_FILE, load_or_create
from ipop_core.lab import Host, Laboratory
from tests.authority.makers import Authority
from tests.system.node import Node
from tests.uml.test_failing_closed import spis
from tests.uml.town import CARD, eventually
from tests.uml.transfer import Transfer

pytestmark = [pytest.mark.uml, pytest.mark.net, pytest.mark.slow, pytest.mark.timeout(300)]

PORT = 4741
SLOW = 60.0
MEMBERS = {"alice": "192.168.10.10", "bob": "192.168.10.20"}
IKE_AUTH = 35
EXCHANGE_TYPE_AT = 20 + 8 + 18
"""In a packet: behind the headers of IPv4 and UDP, in IKE's (RFC 7296, section 3.1)."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[dict[str, Node]]:
    """A bootstrap and two members with certificates, all on one segment."""
    with Laboratory() as lab:
        public = lab.segment()
        hosts = {name: lab.host(name, public) for name in ("boot", *MEMBERS)}
        authority = Authority()
        trusted = lab.folder / "authority.pem"
        trusted.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
        signal = {"bootstraps": [f"{hosts['boot'].address}:{PORT}"]}
        common: dict[str, Any] = {"topology": {}, "signal": signal, "logger": {}}
        made = {"boot": Node("boot", hosts["boot"], lab.folder, {"tincan": {"card": None}, **common})}
        for name, address in MEMBERS.items():
            sections = {"tincan": {"address": f"{address}/24"}, **common, "ipsec": {}}
            namespace = {"name": "town", "authority": str(trusted)}
            node = made[name] = Node(name, hosts[name], lab.folder, sections, namespace=namespace)
            identity = load_or_create(node.folder / "state")
            certificate = authority.member(identity.key, address).public_bytes(Encoding.PEM)
            (node.folder / "state" / CERTIFICATE_FILE).write_bytes(certificate)
        for node in made.values():
            node.start()
        yield made
        for node in made.values():
            if node.process is not None:
                node.stop(timeout=SLOW)


@contextmanager
def dropped(host: Host, card: str, *matches: str) -> Iterator[None]:
    """What comes in on a card and matches (tc-u32(8)) is lost, while this lasts."""
    host.run(["tc", "qdisc", "add", "dev", card, "ingress"])
    try:
        for match in matches:
            words = f"tc filter add dev {card} ingress protocol ip u32 {match} action drop"
            host.run(words.split())
        yield
    finally:
        host.run(["tc", "qdisc", "del", "dev", card, "ingress"])


@contextmanager
def apart(one: Node, other: Node) -> Iterator[None]:
    """No packet passes between the two machines."""
    with (
        dropped(one.host, one.host.interface, f"match ip src {other.host.address}"),
        dropped(other.host, other.host.interface, f"match ip src {one.host.address}"),
    ):
        yield


def keys(node: Node) -> set[str]:
    return spis(node.host.run(["ip", "xfrm", "state"]).stdout)


def make_direct(one: Node, other: Node) -> None:
    """Nothing is in between any more. A node whose machine's addresses change looks for direct paths at once."""
    one.host.namespace.ip("address add 192.0.2.1/32 dev lo")
    one.until_path(other, "direct", timeout=SLOW)
    one.host.namespace.ip("address del 192.0.2.1/32 dev lo")


def goes_on(transfer: Transfer) -> None:
    before = transfer.received
    eventually(lambda: transfer.received, lambda now: now[0] > before[0] and now[1] > before[1])


def test_the_path_changes_during_ike_and_during_a_transfer(nodes: dict[str, Node]) -> None:
    alice, bob = nodes["alice"], nodes["bob"]
    for node in nodes.values():
        node.ready(timeout=2 * SLOW)
    with ExitStack() as separation:
        separation.enter_context(apart(alice, bob))
        alice.until_path(bob, "overlay", timeout=SLOW)
        with dropped(alice.host, CARD, f"match ip dport 500 0xffff match u8 {IKE_AUTH} 0xff at {EXCHANGE_TYPE_AT}"):
            assert alice.ping(bob.address, "-W", "0.2", count=1).received == 0
            # Bob has authenticated Alice and has his keys; his answers do not reach her, so she asks again.
            made = eventually(lambda: keys(bob), bool)
            assert alice.path_to(bob) == "overlay"
            separation.close()
            make_direct(alice, bob)
            assert not keys(alice)
    assert eventually(lambda: keys(alice), bool) == keys(bob) == made, "IKE began anew"
    with Transfer(alice.host.namespace, bob.host.namespace, bob.address) as transfer:
        goes_on(transfer)
        with apart(alice, bob):
            alice.until_path(bob, "overlay", timeout=SLOW)
            goes_on(transfer)
        make_direct(alice, bob)
        goes_on(transfer)
    transfer.check()
    assert keys(alice) == keys(bob) == made
