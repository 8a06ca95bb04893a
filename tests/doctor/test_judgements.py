"""What the doctor makes of what it sees, one thing at a time."""

from __future__ import annotations

import ctypes
import socket
import time
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from ipop_core import folders
from ipop_core.bus.api import JsonObject
from ipop_core.cli.main import cli
from ipop_core.contract import Finding
from ipop_core.doctor import command, keeping
from ipop_core.doctor.clock import examine_clock, examine_moves, is_synchronized
from ipop_core.doctor.examination import Examination
from ipop_core.doctor.keeping import examine_certificates, examine_state
from ipop_modules.ipsec.checks import examine_apparmor, examine_charon
from ipop_modules.ipsec.settings import Settings as IpsecSettings
from ipop_modules.tincan.network_checks import LEAST_MTU, Route, judge_mtu, judge_ranges
from ipop_modules.tincan.version_checks import judge_versions, name_nodes
from tests.authority.makers import Authority, p256, self_signed

NOW = datetime(2030, 1, 1, tzinfo=UTC)
VIRTUAL = IPv4Network("192.168.10.0/24")


def test_a_clock_that_is_behind_what_was_made_before() -> None:
    finding = examine_clock({"this program": time.time() + 400 * 86_400})
    assert finding.verdict == "bad"
    assert finding.mend == "timedatectl set-ntp true"
    assert examine_clock({"this program": time.time() + 60}).verdict != "bad"


def test_a_clock_that_was_set_while_the_node_runs() -> None:
    assert list(examine_moves(-59.0)) == []
    (finding,) = examine_moves(-31_536_000.0)
    assert (finding.check, finding.verdict, finding.mend) == ("clock", "warning", "timedatectl set-ntp true")
    assert "back by 31536000 s" in finding.found


def test_whether_the_clock_is_kept_right_is_what_the_kernel_says() -> None:
    """adjtimex(2) says the same twice: a bit of the status, and the state TIME_ERROR (5)."""
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    if state < 0:
        pytest.skip("adjtimex is refused here")
    assert is_synchronized() == (state != 5)


def test_what_the_running_node_says_of_its_clock_and_its_modules() -> None:
    def ask(*_: object) -> JsonObject:
        states = [("tincan", "running"), ("signal", "backoff")]
        modules = [{"name": name, "state": state, "restarts": 3} for name, state in states]
        return {"clock_moved_s": 315_360_000.0, "modules": modules}

    clock, modules = Examination(Path("none.json"))._modules(ask)
    assert (clock.check, clock.found[:26]) == ("clock", "was set on by 315360000 s ")
    assert (modules.verdict, modules.found) == ("bad", "signal is backoff, after 3 restarts")
    (silent,) = Examination(Path("none.json"))._modules(lambda *_: None)
    assert (silent.verdict, silent.found) == ("bad", "the controller runs, but does not answer")


@pytest.mark.parametrize(("left", "verdict"), [(-1, "bad"), (10, "warning"), (60, "good")])
def test_a_certificate_from_an_authority(tmp_path: Path, left: int, verdict: str) -> None:
    authority = Authority()
    until = NOW + timedelta(days=left)
    certificate = authority.member(p256(), "192.168.10.10", now=NOW - timedelta(days=90), until=until)
    (tmp_path / "identity.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    (finding,) = examine_certificates(tmp_path, None, NOW)
    assert finding.verdict == verdict
    assert (f"{until:%Y-%m-%d}" in finding.found, "ipop ca issue" in finding.mend) == (True, verdict != "good")


def test_a_certificate_of_tomorrow_a_self_signed_one_and_none(tmp_path: Path) -> None:
    path = tmp_path / "identity.crt"
    assert [item.verdict for item in examine_certificates(tmp_path, None, NOW)] == ["good"]
    path.write_text("nonsense")
    assert [item.verdict for item in examine_certificates(tmp_path, None, NOW)] == ["bad"]
    path.write_bytes(self_signed(p256(), "192.168.10.10").public_bytes(Encoding.PEM))
    assert [item.verdict for item in examine_certificates(tmp_path, None, NOW)] == ["good"]
    later = Authority().member(p256(), "192.168.10.10", now=NOW + timedelta(days=9), until=NOW + timedelta(days=90))
    path.write_bytes(later.public_bytes(Encoding.PEM))
    (finding,) = examine_certificates(tmp_path, None, NOW)
    assert (finding.verdict, finding.mend) == ("bad", "timedatectl set-ntp true")


def test_an_authority_that_ends(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    certificate = Authority().certificate
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    _, finding = examine_certificates(tmp_path, path, certificate.not_valid_after_utc - timedelta(days=3))
    assert (finding.check, finding.verdict) == ("authority", "warning")


def test_of_several_authorities_the_one_that_ends_first_counts(tmp_path: Path) -> None:
    path, authority = tmp_path / "ca.pem", Authority()
    spans = [(90, 300), (30, 10)]
    made = [
        authority.member(p256(), now=NOW - timedelta(days=old), until=NOW + timedelta(days=left)) for old, left in spans
    ]
    path.write_bytes(b"".join(certificate.public_bytes(Encoding.PEM) for certificate in made))
    _, finding = examine_certificates(tmp_path, path, NOW)
    assert (finding.verdict, finding.found) == ("warning", f"{path} ends on 2030-01-11, in 10 days")


def test_a_disk_with_little_room_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert examine_state(tmp_path / "state" / "not yet").verdict == "good"
    monkeypatch.setattr(keeping, "LEAST_FREE", 1 << 62)
    finding = examine_state(tmp_path / "state")
    assert (finding.verdict, finding.mend) == ("warning", f"make room: df -h {tmp_path}")


def test_a_state_folder_of_somebody_else_and_one_that_is_no_disk() -> None:
    refused, other = PermissionError(13, "Permission denied"), OSError(30, "Read-only file system")
    assert keeping._mend_state(Path("/state"), refused) == keeping.OTHER_USER
    assert keeping._mend_state(Path("/state"), other).startswith("findmnt -T /state")


def test_what_is_printed_has_the_way_to_mend_a_warning_and_each_way_once(capsys: pytest.CaptureFixture[str]) -> None:
    findings = [
        Finding(check="MTU", verdict="warning", found="narrow", mend="widen it"),
        Finding(check="NAT", verdict="bad", found="shut", mend="open it"),
        Finding(check="UDP", verdict="bad", found="shut", mend="open it"),
        Finding(check="TUN", verdict="good", found="there", mend="nothing to do"),
    ]
    command._print(findings)
    assert capsys.readouterr().out.splitlines()[-2:] == ["to mend MTU: widen it", "to mend NAT, UDP: open it"]


def test_which_node_is_meant_must_be_said_where_several_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "running_nodes", lambda: ["lab", "work"])
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code != 0
    assert "several nodes run here, choose one: lab, work" in result.output


def test_a_state_folder_that_nobody_can_write_to() -> None:
    finding = examine_state(Path("/proc/self/state"))
    assert finding.verdict == "bad"
    assert "findmnt" in finding.mend or "root" in finding.mend


def networks() -> st.SearchStrategy[IPv4Network]:
    return st.builds(
        lambda number, length: IPv4Network((IPv4Address(number), length), strict=False),
        st.integers(0, 2**32 - 1) | st.integers(int(VIRTUAL[0]), int(VIRTUAL[-1])),
        st.integers(1, 32),
    )


@given(networks())
def test_only_what_takes_packets_from_the_card_clashes(network: IPv4Network) -> None:
    (finding,) = judge_ranges([VIRTUAL], [Route(network, "eth0", 1500)])
    first, last = network[0] in VIRTUAL, network[-1] in VIRTUAL
    assert (finding.verdict == "bad") == (first and last)
    if finding.verdict == "bad":
        assert str(network) in finding.found


def test_the_way_to_the_world_and_the_virtual_range() -> None:
    default, six = Route(ip_network("0.0.0.0/0"), "ppp0", LEAST_MTU - 1), Route(ip_network("::/0"), "eth0", LEAST_MTU)
    assert next(judge_ranges([VIRTUAL], [default, six])).verdict == "good"
    assert [finding.verdict for finding in judge_mtu([default, six])] == ["bad", "good"]
    assert [finding.verdict for finding in judge_mtu([])] == ["warning"]


@pytest.mark.parametrize(
    ("loaded", "found"),
    [
        ("/usr/lib/ipsec/charon (enforce)\n", "confines charon"),
        ("/usr/lib/ipsec/charon (complain)\n/usr/bin/man (enforce)\n", "leaves charon alone"),
        ("", "leaves charon alone"),
    ],
)
def test_apparmor(tmp_path: Path, loaded: str, found: str) -> None:
    profiles = tmp_path / "profiles"
    assert examine_apparmor("/usr/lib/ipsec/charon", profiles).found == "is off"
    profiles.write_text(loaded)
    finding = examine_apparmor("/usr/lib/ipsec/charon", profiles)
    assert finding.verdict == "good"
    assert finding.found.startswith(found)


def test_charon_is_there_to_be_started_or_listens_where_it_should(tmp_path: Path) -> None:
    program, place = tmp_path / "charon", tmp_path / "vici"
    ready, running = IpsecSettings(charon=str(program)), IpsecSettings(vici=str(place))
    assert "apt-get install strongswan-charon" in examine_charon(ready).mend
    assert "systemctl start strongswan" in examine_charon(running).mend
    program.write_text("")
    assert examine_charon(ready).verdict == "bad"  # it can't be run
    program.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(place))
        assert [examine_charon(settings).verdict for settings in (ready, running)] == ["good", "good"]


def test_peers_of_other_versions_are_named() -> None:
    same, older, silent, foreign = ({"node": digit * 40, "version": "1.2"} for digit in "abcd")
    older["version"], silent["version"] = "1.1", ""
    names = name_nodes(
        [
            {"node": older["node"], "name": "bob", "addresses": ["10.0.0.2"]},
            {"node": foreign["node"], "name": None, "addresses": ["10.0.0.4"]},
        ]
    )
    assert [item.verdict for item in judge_versions("1.2", [same], [], names)] == ["good"]
    assert list(judge_versions("1.2", [], [], names)) == []
    refused, different = judge_versions("1.2", [same, older, silent], [{"node": foreign["node"], "protocol": 9}], names)
    assert (refused.verdict, different.verdict) == ("bad", "warning")
    assert refused.found.startswith("10.0.0.4 (node dddddddddddd) speaks protocol 9; this node speaks 1")
    assert different.found == (
        "bob (node bbbbbbbbbbbb) runs 1.1, node cccccccccccc runs a version before 0.1; this node runs 1.2"
    )
    assert "same version" in refused.mend and refused.mend == different.mend
    (many,) = judge_versions("1.2", [older] * 30, [], {})
    assert many.found.endswith("and 22 more; this node runs 1.2")


def test_a_broken_configuration_is_the_first_thing_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "controller.json"
    path.write_text('{"node": {"name": "x"}, "modules": {"signal": {"bootstrap": []}}}')
    result = CliRunner().invoke(cli, ["-c", str(path), "doctor"])
    assert result.exit_code == 1
    assert "did you mean bootstraps?" in result.output
    assert "--check" in result.output
