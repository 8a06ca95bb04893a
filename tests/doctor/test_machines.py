"""The doctor on real machines, in namespaces: a sound one, and ones with something really broken."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ipop_core.identity import load_or_create
from ipop_core.lab import Host, Laboratory, NatKind, Segment, capabilities
from tests.authority.makers import NOW, Authority
from tests.system.conftest import require
from tests.system.node import BIN, Node

pytestmark = [pytest.mark.net, pytest.mark.slow]


class Ward:
    def __init__(self, lab: Laboratory) -> None:
        self.lab = lab
        self.public: Segment = lab.segment()
        sections: dict[str, Any] = {"tincan": {"card": None}, "topology": {}, "signal": {}, "logger": {}}
        self.bootstraps = [
            Node(name, lab.host(name, self.public), lab.folder, sections).start() for name in ("boot1", "boot2")
        ]
        for node in self.bootstraps:
            node.until("core", "status", lambda body: body["ready"], timeout=30)

    def patient(self, name: str, host: Host, *bootstraps: str, **modules: Any) -> Node:
        living = [f"{node.host.address}:4741" for node in self.bootstraps]
        sections = {
            "tincan": {"address": "192.168.10.10/24"},
            "topology": {},
            "signal": {"bootstraps": list(bootstraps) or living},
            "logger": {},
            **modules,
        }
        node = Node(name, host, self.lab.folder, sections, namespace="ward")
        node.config.write_text(json.dumps(node.document))
        return node


@pytest.fixture(scope="module")
def ward() -> Iterator[Ward]:
    rights = capabilities()
    require(rights.laboratory)
    require(rights.tun)
    with Laboratory() as lab:
        yield Ward(lab)


def taken_port() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("", 4741))
    return sock


def examine(node: Node, *prefix: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit code, and the findings by what was checked."""
    command = [*prefix, str(BIN / "ipop"), "-c", str(node.config), "doctor", "--json"]
    ended = node.host.run(command, check=False, timeout=60)
    assert ended.returncode in (0, 1), ended.stderr
    return ended.returncode, {item["check"]: item for item in json.loads(ended.stdout)["findings"]}


def test_a_sound_machine_behind_a_nat_before_the_start_and_after(ward: Ward) -> None:
    home = ward.lab.home("alice", ward.public, NatKind.PORT_RESTRICTED)
    alice = ward.patient("alice", home.host)
    status, found = examine(alice)
    one, two = (f"bootstrap {node.host.address}:4741" for node in ward.bootstraps)
    sound = ("TUN", "capabilities", "range 192.168.10.0/24", "MTU", "UDP port 4741", "NAT", one, two, "state folder")
    assert {check: found[check]["verdict"] for check in sound} == dict.fromkeys(sound, "good")
    assert found["NAT"]["found"].startswith("endpoint-independent")
    assert ward.bootstraps[0].node_id()[:12] in found[one]["found"]
    assert status == 0
    assert not list(Path("/tmp").glob("ipop-doctor-*"))
    alice.start().ready()
    status, found = examine(alice)
    assert (status, found["card"]["found"]) == (0, "tapipop is up")
    assert (found["versions"]["verdict"], found["versions"]["found"].split()[0]) == ("good", version("ipop"))
    assert alice.stop() == 0


def test_a_machine_with_much_that_is_broken(ward: Ward) -> None:
    host = ward.lab.host("bob", ward.public)
    dead, living = "203.0.113.250:4741", ward.bootstraps[1].host.address
    bob = ward.patient("bob", host, dead, f"{living}:4741", "no-such-host.invalid")
    state = Path(bob.document["node"]["state"])
    identity, authority = load_or_create(state), Authority()
    expired = authority.member(identity.key, "192.168.10.10", now=NOW - timedelta(days=90), until=NOW)
    (state / "identity.crt").write_bytes(expired.public_bytes(Encoding.PEM))
    host.run(["ip", "addr", "add", "192.168.10.77/25", "dev", host.interface])
    resolver = ward.lab.folder / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\n")  # where nobody listens
    broken = 'mount -t tmpfs none /dev/net && mount --bind "$0" /etc/resolv.conf && exec "$@"'
    with host.namespace.call(taken_port):
        status, found = examine(bob, "unshare", "--mount", "sh", "-c", broken, str(resolver))
    assert status == 1
    bad = {check: item["mend"] for check, item in found.items() if item["verdict"] == "bad"}
    assert "modprobe tun" in bad.pop("TUN")
    assert "ipop ca issue" in bad.pop("certificate")
    assert "modules.tincan.address" in bad.pop("range 192.168.10.0/24")
    assert "ss -ulpn" in bad.pop("UDP port 4741")
    assert "resolv.conf" in bad.pop("name no-such-host.invalid")
    assert "UDP to 203.0.113.250 port 4741" in bad.pop(f"bootstrap {dead}")
    assert not bad
    assert found[f"bootstrap {living}:4741"]["verdict"] == "good"


def test_a_user_who_may_make_no_card_and_a_way_too_narrow_for_handshakes(ward: Ward) -> None:
    host = ward.lab.host("carol", ward.public)
    host.run(["ip", "link", "set", host.interface, "mtu", "1200"])
    host.run(["ip", "route", "add", "default", "via", ward.bootstraps[0].host.address])
    carol = ward.patient("carol", host)
    status, found = examine(carol, "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
    assert (status, found["TUN"]["verdict"], found["capabilities"]["verdict"]) == (1, "good", "bad")
    assert "CAP_NET_ADMIN" in found["capabilities"]["found"]
    assert found["MTU"]["mend"] == f"ip link set {host.interface} mtu 1500"
    assert found[f"bootstrap {ward.bootstraps[0].host.address}:4741"]["verdict"] == "bad"
