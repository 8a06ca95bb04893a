from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from ipop_core.cli import main
from ipop_core.cli.main import IpopGroup, cli

from .conftest import Install
from .test_loader import commands


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier test found is forgotten."""
    monkeypatch.setattr(cli, "_brought", None)


def test_modules_bring_subcommands_and_a_broken_one_breaks_nothing(install: Install) -> None:
    install("fakea", **commands(["hello-a"], "hello from a"))
    install("fakeb", code="1 / 0")
    result = CliRunner().invoke(cli, ["hello-a"])
    assert (result.exit_code, result.stdout) == (0, "hello from a\n")
    line = "ipop: warning: modules.fakeb: its plugin can't be imported: ZeroDivisionError: division by zero\n"
    assert result.stderr.count(line) == 1


def test_help_lists_them(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("fakea", **commands(["hello-a"], "hello from a"))
    monkeypatch.setattr(main, "OWN", {key: value for key, value in main.OWN.items() if key != "demo"})
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    for name in ("hello-a", "init", "up", "status"):
        assert f"\n  {name}" in result.stdout


def test_an_unknown_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(cli, ["frobnicate"])
    assert result.exit_code == 2
    assert "No such command 'frobnicate'" in result.stderr


FAULT = """
import click
from ipop_core.errors import BusError, ConfigError

@click.command()
@click.argument("kind")
def fail(kind):
    raise ConfigError("a.b", "bad\\nc: worse") if kind == "config" else BusError("refused", "no")

@hookimpl
def ipop_commands():
    return [fail]
"""


@pytest.mark.parametrize(
    ("kind", "code", "text"), [("config", 2, "ipop: a.b: bad\nipop: c: worse\n"), ("bus", 1, "ipop: no\n")]
)
def test_faults_are_lines_and_exit_codes(install: Install, kind: str, code: int, text: str) -> None:
    install("fakea", more=FAULT)
    result = CliRunner().invoke(cli, ["fail", kind])
    assert result.exit_code == code
    assert result.stderr.endswith(text)
    assert "Traceback" not in result.output


def test_own_commands_import_no_module_and_nothing_heavy() -> None:
    code = (
        "import sys; from ipop_core.cli.main import cli; cli.get_command(None, 'status');"
        "print([name for name in ('zmq', 'jsonschema', 'cryptography', 'pyroute2', 'rich', 'ipop_modules')"
        " if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_group_is_ours() -> None:
    assert isinstance(cli, IpopGroup)
