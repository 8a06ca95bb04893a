"""What `ipop demo` decides before it starts, and how it says what failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from ipop_core.cli.main import cli
from ipop_core.demo import command, programs
from ipop_core.demo.errors import DemoError
from ipop_core.demo.laboratory import InLaboratory
from ipop_core.demo.loopback import OnLoopback
from ipop_core.lab import LabError, Right, Rights

YES, NO = Right(True), Right(False, "it is forbidden here")
NAT = ("open", "symmetric")


def rights(*, laboratory: Right = NO, tun: Right = NO, user_namespace: Right = NO) -> Rights:
    return Rights(root=NO, namespaces=laboratory, nftables=laboratory, tun=tun, user_namespace=user_namespace)


@pytest.fixture(autouse=True)
def all_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "missing", lambda: None)


def test_networks_of_our_own_where_they_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "capabilities", lambda: rights(laboratory=YES, tun=YES))

    place = command.choose_place(NAT)

    assert isinstance(place, InLaboratory)
    assert place.nat == NAT


@pytest.mark.parametrize("found", [rights(), rights(laboratory=YES)])
def test_loopback_where_they_are_not(monkeypatch: pytest.MonkeyPatch, found: Rights) -> None:
    monkeypatch.setattr(command, "capabilities", lambda: found)

    assert isinstance(command.choose_place(NAT), OnLoopback)


def test_a_user_namespace_is_tried_first(monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[list[str]] = []
    monkeypatch.setattr(command, "capabilities", lambda: rights(user_namespace=YES))
    monkeypatch.setattr(command, "enter_user_namespace", entered.append)

    command.choose_place(NAT)

    assert len(entered) == 1


def test_root_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "missing", lambda: "not installed: ping; on Debian: apt install iputils-ping")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(DemoError, match="apt install iputils-ping"):
        command.choose_place(NAT)

    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert isinstance(command.choose_place(NAT), OnLoopback)


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    for name in ("ip", "nsenter"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(programs, "environment", lambda: {"PATH": str(tmp_path)})

    assert programs.missing() == "not installed: nft, ping; on Debian: apt install iputils-ping nftables"


@pytest.mark.parametrize("nat", ["open", "open,", "open,cone", "open,open,open", ""])
def test_a_bad_pair_of_nats(nat: str) -> None:
    result = CliRunner().invoke(cli, ["demo", "--nat", nat])

    assert result.exit_code == 2
    assert "full-cone" in result.stderr


class Broken(OnLoopback):
    def build(self) -> None:
        raise LabError("nft: exit code 1: no")


def test_a_step_that_fails_is_named_and_stdout_stays_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "choose_place", lambda _: Broken("test"))

    result = CliRunner().invoke(cli, ["demo", "--json"])

    assert (result.exit_code, result.stdout) == (1, "")
    assert "step failed: building the network: nft: exit code 1: no" in result.stderr
    assert "Traceback" not in result.stderr


class Failing(OnLoopback):
    def start_bare(self) -> None:
        for node in self.bare:
            node.folder.mkdir(exist_ok=True)
            node.start("sh", "-c", "echo the last words; exit 2")


def test_a_node_that_fails_has_its_log_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "choose_place", lambda _: Failing("test"))

    result = CliRunner().invoke(cli, ["demo"])

    assert result.exit_code == 1
    assert "exit code 2" in result.stderr
    assert "the last words" in result.stderr
