"""A charon that is there already and serves others, too: the module uses it, and leaves it as it was."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import vici
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ipop_modules.ipsec.charon import SOCKET, configuration
from tests.authority.makers import p256, self_signed
from tests.uml.town import CARD, Member, Town, eventually

pytestmark = [pytest.mark.uml, pytest.mark.net, pytest.mark.slow]

START = """mount --bind "$0" "$(readlink -f /var/run)" && exec /usr/lib/ipsec/charon"""
THEIRS = {
    "version": "2",
    "remote_addrs": ["192.0.2.7"],
    "local": {"auth": "pubkey", "id": "192.0.2.6"},
    "remote": {"auth": "pubkey", "id": "192.0.2.7"},
    "children": {"theirs": {"mode": "tunnel", "remote_ts": ["198.51.100.0/24"]}},
}


@dataclass(frozen=True)
class Held:
    """What a charon knows."""

    connections: set[str]
    keys: set[bytes]
    certificates: set[bytes]
    peers: set[str]


class Shared:
    """An operator's charon, with a connection, a key and a certificate of theirs."""

    def __init__(self, member: Member) -> None:
        self.path = member.folder / "theirs" / SOCKET
        self.path.parent.mkdir(mode=0o700)
        (self.path.parent / "charon.conf").write_text(configuration(CARD))
        command = ["env", "STRONGSWAN_CONF=/run/charon.conf", "unshare", "--mount", "--propagation", "private"]
        with (member.folder / "theirs.log").open("wb") as log:
            self.process = member.namespace.popen(
                [*command, "sh", "-c", START, str(self.path.parent)], stdout=log, stderr=log
            )
        eventually(self.path.exists, bool)
        key = p256()
        certificate = self_signed(key, "192.0.2.6")
        with self.session() as session:
            pkcs8 = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            session.load_key({"type": "any", "data": pkcs8})
            session.load_cert({"type": "X509", "flag": "NONE", "data": certificate.public_bytes(Encoding.DER)})
            session.load_conn({"theirs": THEIRS})

    @contextmanager
    def session(self) -> Iterator[vici.Session]:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.connect(str(self.path))
            yield vici.Session(wire)

    def held(self) -> Held:
        with self.session() as session:
            return Held(
                {name for item in session.list_conns() for name in item},
                set(session.get_keys().get("keys", [])),
                {item["data"] for item in session.list_certs({"type": "X509"})},
                {name for item in session.list_sas() for name in item},
            )


def test_it_is_used_and_left_as_it_was(town: Town) -> None:
    alice, bob = town.members
    alice.stop()
    charon = Shared(alice)
    found = charon.held()
    assert found.connections == {"theirs"}
    alice.settings["vici"] = str(charon.path)
    alice.start()
    ping = eventually(lambda: alice.ping(bob.address, count=3), lambda ping: ping.received == 3)
    assert ping.lost == 0
    used = charon.held()
    assert any(name.endswith(bob.address) for name in used.peers), used
    assert used.keys > found.keys
    assert not _runs(alice.folder / "run/charon/charon.pid")
    alice.stop()
    left = charon.held()
    assert (left.connections, left.keys) == (found.connections, found.keys)
    assert left.certificates >= found.certificates
    eventually(lambda: charon.held().peers, lambda peers: not peers)
    assert charon.process.poll() is None
    charon.process.terminate()
    charon.process.wait()
    alice.settings.clear()
    alice.start()
    eventually(lambda: alice.ping(bob.address, count=3), lambda ping: ping.received == 3)


def _runs(pid_file: Path) -> bool:
    try:
        return Path(f"/proc/{int(pid_file.read_text())}").exists()
    except (OSError, ValueError):
        return False
