"""`ipop ca` from the command line: the owner's side and the node's."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ipop_core.authority import keyfile
from ipop_core.authority.certificates import addresses_of, networks_of
from ipop_core.authority.folder import Authority
from ipop_core.authority.peers import read_certificate, verify_by_authority
from ipop_core.authority.revocation import read_revocation_list
from ipop_core.cli.main import cli
from ipop_core.identity import load_or_create

Ipop = Callable[..., Result]


@pytest.fixture
def ipop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ipop:
    """Run `ipop ARGUMENTS`; the exit code must be as said."""
    monkeypatch.setenv("IPOP_STATE_ROOT", str(tmp_path / "state"))
    monkeypatch.setenv("IPOP_RUN_ROOT", str(tmp_path / "run"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0, typed: str | None = None) -> Result:
        result = CliRunner().invoke(cli, arguments, input=typed)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def _quick_stretching(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a passphrase costs is test_keyfile.py's business."""
    monkeypatch.setattr(keyfile, "SCRYPT_COST", 2**10)


@pytest.fixture
def town(tmp_path: Path, ipop: Ipop) -> Path:
    ipop("ca", "init", "town", "--network", "192.168.10.0/24", "--network", "fd00::/64")
    return tmp_path / "state/authorities.d/town"


def show(ipop: Ipop) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ipop("ca", "show", "--json").stdout)
    return found


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def test_the_authority_s_own_certificate(town: Path) -> None:
    ca = Authority(town).certificate
    basic = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    usage = ca.extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.crl_sign) == (True, True, True)
    assert ca.extensions.get_extension_for_class(x509.NameConstraints).critical
    assert networks_of(ca) == (ip_network("192.168.10.0/24"), ip_network("fd00::/64"))


def test_files_are_their_owner_s_alone(town: Path, ipop: Ipop) -> None:
    ipop("ca", "issue", "alice", "--address", "192.168.10.10")
    ipop("ca", "revoke", "alice")
    files = [path for path in town.rglob("*") if path.is_file()] + [Path("alice.pem")]
    assert {path.name for path in files} >= {"ca.pem", "ca.key", "crl.der", "alice.pem"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    folders = [town, town / "certificates"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


def test_from_request_to_installed(town: Path, ipop: Ipop, tmp_path: Path) -> None:
    ipop("--node", "alice", "ca", "request", "--name", "alice")
    ipop("ca", "issue", "alice", "--address", "192.168.10.10", "--address", "fd00::10", "--csr", "alice.csr")
    assert b"PRIVATE" not in Path("alice.pem").read_bytes()
    said = ipop("--node", "alice", "ca", "install", "alice.pem").output
    state = tmp_path / "state/alice"
    assert f'{{"name": "town", "authority": "{state}/authority.pem"}}' in said
    identity = load_or_create(state)
    made = identity.certificate([])
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == [f"ipop:{identity.hex}", "192.168.10.10", "fd00::10"]
    assert made.not_valid_after_utc - datetime.now(UTC) < timedelta(days=90)
    read = read_certificate(made.public_bytes(Encoding.DER))
    verify_by_authority(read, [Authority(town).certificate], datetime.now(UTC).timestamp())


def test_a_key_made_here_is_said_and_installed(town: Path, ipop: Ipop, tmp_path: Path) -> None:
    assert "holds the node's key" in ipop("ca", "issue", "bob", "--address", "192.168.10.20").stderr
    ipop("--node", "bob", "ca", "install", "bob.pem")
    assert load_or_create(tmp_path / "state/bob").hex == show(ipop)["certificates"][0]["node"]


def test_renewal_keeps_key_and_addresses(town: Path, ipop: Ipop) -> None:
    ipop("ca", "issue", "alice", "--address", "192.168.10.10")
    first = certificate(Path("alice.pem"))
    ipop("ca", "issue", "alice", "--days", "10")
    second = certificate(Path("alice.pem"))
    assert first.public_key() == second.public_key()
    assert first.serial_number != second.serial_number
    assert addresses_of(first) == addresses_of(second)
    assert b"PRIVATE" not in Path("alice.pem").read_bytes()
    assert second.not_valid_after_utc - datetime.now(UTC) <= timedelta(days=10)


def test_no_address_for_two_nodes_at_once(town: Path, ipop: Ipop) -> None:
    ipop("ca", "issue", "alice", "--address", "192.168.10.10", "--address", "192.168.10.11")
    taken = ipop("ca", "issue", "bob", "--address", "192.168.10.20", "--address", "192.168.10.11", code=2)
    assert "192.168.10.11 belongs to alice until" in taken.stderr
    assert [row["name"] for row in show(ipop)["certificates"]] == ["alice"]
    ipop("ca", "revoke", "alice")
    ipop("ca", "issue", "bob", "--address", "192.168.10.11")


def test_a_name_is_one_node_s(town: Path, ipop: Ipop) -> None:
    ipop("ca", "issue", "alice", "--address", "192.168.10.10")
    ipop("--node", "other", "ca", "request", "--name", "other")
    said = ipop("ca", "issue", "alice", "--address", "192.168.10.12", "--csr", "other.csr", code=2)
    assert "has a certificate for another key" in said.stderr


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("10.0.0.1", "outside the authority's networks"),
        ("fd01::1", "outside the authority's networks"),
        ("192.168.10.255", "broadcast"),
        ("192.168.10.0", "broadcast"),
        ("alice", "is not an IP address"),
    ],
)
def test_addresses_that_are_refused(town: Path, ipop: Ipop, address: str, fault: str) -> None:
    assert fault in ipop("ca", "issue", "alice", "--address", address, code=2).stderr
    assert not Path("alice.pem").exists()


def test_a_certificate_that_no_handshake_could_carry(town: Path, ipop: Ipop) -> None:
    many = [part for number in range(1, 120) for part in ("--address", f"192.168.10.{number}")]
    assert "it has at most 960" in ipop("ca", "issue", "alice", *many, code=2).stderr
    assert show(ipop)["certificates"] == []


def test_revocation_by_name_serial_and_file(town: Path, ipop: Ipop) -> None:
    for number, name in enumerate(("alice", "bob", "carol"), start=10):
        ipop("ca", "issue", name, "--address", f"192.168.10.{number}")
    rows = {row["name"]: row for row in show(ipop)["certificates"]}
    authority = Authority(town)
    for number, which in enumerate(("alice", rows["bob"]["serial"], "carol.pem"), start=1):
        said = ipop("ca", "revoke", which)
        assert f"list number {number}" in said.output
        assert "no node runs here" in said.stderr
        known = read_revocation_list((town / "crl.der").read_bytes(), [authority.certificate])
        assert (known.number, len(known.entries)) == (number, number)
    assert {row["state"] for row in show(ipop)["certificates"]} == {"revoked"}
    assert known.nodes == {bytes.fromhex(row["node"]) for row in rows.values()}
    assert "was revoked already" in ipop("ca", "revoke", "alice").output
    assert show(ipop)["list_number"] == 3
    assert "is no name" in ipop("ca", "revoke", "dave", code=2).stderr


def test_a_revoked_key_gets_no_new_certificate(town: Path, ipop: Ipop) -> None:
    ipop("--node", "alice", "ca", "request", "--name", "alice")
    issue = ("ca", "issue", "alice", "--address", "192.168.10.10", "--csr", "alice.csr")
    ipop(*issue)
    ipop("ca", "revoke", "alice")
    assert "the key of this node was revoked" in ipop(*issue, code=2).stderr


@pytest.mark.usefixtures("_quick_stretching")
def test_a_passphrase(ipop: Ipop, tmp_path: Path) -> None:
    Path("word").write_text("correct horse\n")
    Path("other").write_text("battery staple\n")
    ipop("ca", "init", "town", "--passphrase-file", "word")
    assert b"ENCRYPTED" in (tmp_path / "state/authorities.d/town/ca.key").read_bytes()
    issue = ("ca", "issue", "alice", "--address", "192.168.10.10")
    assert "does not open" in ipop(*issue, "--passphrase-file", "other", code=2).stderr
    ipop(*issue, "--passphrase-file", "word")
    ipop("ca", "revoke", "alice", typed="correct horse\n")
    assert show(ipop)["passphrase"] is True


@pytest.mark.usefixtures("_quick_stretching")
def test_a_short_passphrase_leaves_nothing(ipop: Ipop, tmp_path: Path) -> None:
    ipop("ca", "init", "town", "--ask-passphrase", typed="short\nshort\n", code=2)
    ipop("ca", "init", "town", "--ask-passphrase", typed="long enough\nlong enough\n")


def test_an_authority_is_never_replaced(town: Path, ipop: Ipop) -> None:
    key = (town / "ca.key").read_bytes()
    assert "has an authority already" in ipop("ca", "init", "town", code=2).stderr
    assert (town / "ca.key").read_bytes() == key


def test_which_authority(town: Path, ipop: Ipop, tmp_path: Path) -> None:
    ipop("ca", "init", "../odd/..")
    assert "several authorities are here" in ipop("ca", "show", code=2).stderr
    ipop("ca", "show", "--dir", str(town))
    assert sorted(path.name for path in town.parent.iterdir()) == ["%2E.%2Fodd%2F..", "town"]


@pytest.mark.parametrize("change", ["another key", "another authority", "a forged leaf", "nonsense", "expired"])
def test_what_does_not_fit_is_not_installed(town: Path, ipop: Ipop, tmp_path: Path, change: str) -> None:
    ipop("--node", "alice", "ca", "request", "--name", "alice")
    ipop("ca", "issue", "alice", "--address", "192.168.10.10", "--csr", "alice.csr")
    good = Path("alice.pem")
    node, fault = "alice", ""
    if change == "another key":
        node, fault = "bob", "is for another key"
    elif change == "another authority":
        ipop("--node", "alice", "ca", "install", "alice.pem")
        ipop("ca", "init", "evil", "--dir", "evil")
        ipop("ca", "issue", "alice", "--address", "192.168.10.10", "--csr", "alice.csr", "--dir", "evil")
        fault = "trusts another authority"
    elif change == "a forged leaf":
        ipop("ca", "init", "evil", "--dir", "evil")
        leaf = good.read_bytes().split(b"-----END CERTIFICATE-----\n")[0] + b"-----END CERTIFICATE-----\n"
        good.write_bytes(leaf + Path("evil/ca.pem").read_bytes())
        fault = "was not signed by the authority beside it"
    elif change == "nonsense":
        good.write_bytes(b"nonsense")
        fault = "is not what `ipop ca issue` writes"
    else:
        text = (town / "ca.pem").read_bytes()
        good.write_bytes(text)
        fault = "holds 0 nodes' and 1 authorities' certificates"
    before = _files(tmp_path / "state" / node)
    assert fault in ipop("--node", node, "ca", "install", "alice.pem", code=2).stderr
    after = _files(tmp_path / "state" / node)
    assert {name: data for name, data in after.items() if name != "identity.key"} == {
        name: data for name, data in before.items() if name != "identity.key"
    }


def test_a_good_one_is_installed_again(town: Path, ipop: Ipop) -> None:
    ipop("--node", "alice", "ca", "request", "--name", "alice")
    for _ in range(2):
        ipop("ca", "issue", "alice", "--address", "192.168.10.10", "--csr", "alice.csr")
        ipop("--node", "alice", "ca", "install", "alice.pem")


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*")} if folder.is_dir() else {}
