from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ipop_core import folders
from ipop_core.cli import launch, template
from ipop_core.cli.main import cli
from ipop_core.cli.wish import full_address
from ipop_core.pidfile import PidFile

from .conftest import Install

BARE = {
    "node": {"name": "$node"},
    "modules": {"fakelink": {"card": None, "port": "$port"}, "fakesignal": {"bootstraps": "$bootstraps"}},
}
NODE = {
    "node": {"name": "$node"},
    "namespace": "$namespace",
    "modules": {"fakesignal": {"bootstraps": "$bootstraps"}, "fakelink": {"address": "$address", "port": "$port"}},
}


@pytest.fixture(autouse=True)
def here(roots: Path, modules: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(roots)
    monkeypatch.setattr(template, "load_template", lambda name: {"node": NODE, "bare": BARE}[name])
    return roots


def ipop(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def written(path: Path) -> Any:
    return json.loads(path.read_text())


def test_init_writes_a_configuration(here: Path) -> None:
    result = ipop("--node", "alice", "init", "tutorial", "10", "--bootstrap", "a.org:1", "--bootstrap", "[::1]:2")
    assert result.exit_code == 0, result.output
    assert "warning: the namespace tutorial is open" in result.stderr
    assert written(here / "controller.json") == {
        "node": {"name": "alice"},
        "namespace": "tutorial",
        "modules": {
            "fakesignal": {"bootstraps": ["a.org:1", "[::1]:2"]},
            "fakelink": {"address": "192.168.10.10/24"},
        },
    }
    assert stat.S_IMODE((here / "controller.json").stat().st_mode) == 0o600


def test_an_address_of_the_directorys_choosing_is_written_as_it_was_said() -> None:
    assert full_address("auto") == "auto"


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("20", "192.168.10.20/24"),
        ("10.1.2.3/16", "10.1.2.3/16"),
        ("10.1.2.3", "10.1.2.3/24"),
        ("fd00::7", "fd00::7/64"),
    ],
)
def test_the_address(here: Path, said: str, address: str) -> None:
    assert ipop("init", "n", said, "--port", "0").exit_code == 0
    assert written(here / "controller.json")["modules"]["fakelink"] == {"address": address, "port": 0}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["n", "automatic"], 'ADDRESS: "automatic" is not a last byte such as 10'),
        (["n", "300"], 'ADDRESS: "300" is not a last byte such as 10 (for 192.168.10.10/24)'),
        (["n", "ten"], 'ADDRESS: "ten" is not a last byte such as 10'),
        (["n", "0"], 'ADDRESS: "192.168.10.0/24" is the network itself'),
        (["n", "255"], 'ADDRESS: "192.168.10.255/24" is its network\'s broadcast address'),
        (["n", "10.0.0.1/33"], 'ADDRESS: "10.0.0.1/33" is not'),
        (["a b", "10"], 'namespace: "a b" does not match'),
        (["n", "10", "--bootstrap", "a"], 'modules.fakesignal.bootstraps[0]: "a" is not an endpoint such as'),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(here: Path, arguments: list[str], line: str) -> None:
    result = ipop("init", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"ipop: {line}")
    assert result.stderr.count("\n") == 1
    assert not (here / "controller.json").exists()


SETTINGS = """
from ipop_core.errors import ConfigError

@dataclass(frozen=True)
class Settings:
    def __post_init__(self):
        raise ConfigError("modules.fakepicky.size", "what only my own code knows")
"""


@pytest.mark.parametrize("command", ["init", "up"])
def test_the_modules_own_code_is_asked_too(
    here: Path, install: Install, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    install("fakepicky", more=SETTINGS)
    monkeypatch.setattr(template, "load_template", lambda _: {"modules": {"fakepicky": {}}})
    result = ipop(command, "n", "10")
    assert (result.exit_code, result.stderr) == (2, "ipop: modules.fakepicky.size: what only my own code knows\n")
    assert list(here.rglob("controller.json")) == []


@pytest.mark.parametrize(
    "arguments",
    [[], ["n"], ["--bare", "n", "10"], ["--bare", "--secret"], ["n", "10", "--port", "x"], ["n", "10", "z"]],
)
def test_wrong_usage(arguments: list[str]) -> None:
    result = ipop("init", *arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


def test_init_does_not_overwrite(here: Path) -> None:
    assert ipop("init", "n", "10").exit_code == 0
    again = ipop("init", "n", "20")
    assert again.exit_code == 2
    assert again.stderr == "ipop: controller.json: exists already; --force replaces it, -o FILE writes another one\n"
    assert ipop("init", "n", "20", "--force").exit_code == 0
    assert written(here / "controller.json")["modules"]["fakelink"] == {"address": "192.168.10.20/24"}


def test_a_secret_namespace(here: Path) -> None:
    result = ipop("init", "n", "10", "--secret", "-o", "other.json")
    namespace = written(here / "other.json")["namespace"]
    assert namespace["name"] == "n"
    assert len(bytes.fromhex(namespace["secret"])) == 16
    assert "is open" not in result.stderr
    assert namespace["secret"] not in result.output


def test_a_bare_node(here: Path) -> None:
    assert ipop("init", "--bare", "--port", "4741").exit_code == 0
    assert written(here / "controller.json") == {
        "node": {"name": "default"},
        "modules": {"fakelink": {"card": None, "port": 4741}, "fakesignal": {"bootstraps": []}},
    }


def test_the_site_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPOP_SITE", str(here / "site.json"))
    assert ipop("init", "n", "10").stderr == f"ipop: {here}/site.json: no such file\n"
    (here / "site.json").write_text('{"bootstraps": ["site.org:1"]}')
    assert ipop("init", "n", "10").exit_code == 0
    assert written(here / "controller.json")["modules"]["fakesignal"]["bootstraps"] == ["site.org:1"]
    assert ipop("init", "n", "10", "--force", "--bootstrap", "b.org:1").exit_code == 0
    assert written(here / "controller.json")["modules"]["fakesignal"]["bootstraps"] == ["b.org:1"]
    (here / "site.json").write_text('{"bootstrap": []}')
    line = f"ipop: {here}/site.json: bootstrap: unknown key; did you mean bootstraps?\n"
    assert ipop("init", "n", "10", "--force").stderr == line


def test_the_sites_modules_are_merged_into_what_is_written(
    here: Path, monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    install("othersignal", role="signal", needs=("link",), schema={"properties": {"most": {"type": "integer"}}})
    site = here / "site.json"
    monkeypatch.setenv("IPOP_SITE", str(site))
    site.write_text('{"modules": {"fakesignal": null, "othersignal": {"most": 3}, "fakelink": {"mtu": 1280}}}')
    others = {"othersignal": {"most": 3}}
    assert ipop("init", "n", "10").exit_code == 0
    link = {"address": "192.168.10.10/24", "mtu": 1280}
    assert written(here / "controller.json")["modules"] == {"fakelink": link, **others}
    assert ipop("init", "--bare", "--force").exit_code == 0
    assert written(here / "controller.json")["modules"] == {"fakelink": {"card": None, "mtu": 1280}, **others}

    site.write_text('{"modules": {"fakelink": {"address": "10.0.0.1/8", "card": "s0", "port": 5}}}')
    assert ipop("init", "n", "10", "--force").exit_code == 0
    asked = {"address": "192.168.10.10/24", "card": "s0"}
    assert written(here / "controller.json")["modules"]["fakelink"] == {**asked, "port": 5}
    assert ipop("init", "n", "10", "--port", "6", "--force").exit_code == 0
    assert written(here / "controller.json")["modules"]["fakelink"] == {**asked, "port": 6}
    assert ipop("init", "--bare", "--force").exit_code == 0
    assert written(here / "controller.json")["modules"]["fakelink"]["card"] is None

    before = (here / "controller.json").read_text()
    for modules, fault in (
        ('{"othresignal": {}}', "modules.othresignal: no module of this name is installed; did you mean othersignal?"),
        ('{"othersignal": {}}', "fills the role signal, which modules."),
        ('{"othersignal": 3}', f"{site}: modules.othersignal: 3 is not an object or null"),
    ):
        site.write_text(f'{{"modules": {modules}}}')
        refused = ipop("init", "n", "10", "--force")
        assert refused.exit_code == 2
        assert fault in refused.stderr
    assert (here / "controller.json").read_text() == before


def controller_that(here: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = here / "fake-controller"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(launch, "_program", lambda: str(program))


def test_up_shows_what_a_controller_that_fails_says(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    controller_that(here, monkeypatch, 'echo "first"; echo "$2" >&2; exit 2')
    result = ipop("--node", "alice", "up", "n", "10")
    assert result.exit_code == 2
    assert result.stderr.endswith(f"ipop: first\nipop: {here}/state/alice/controller.json\n")
    controller_that(here, monkeypatch, "exit 7")
    again = ipop("--node", "alice", "up")
    assert again.exit_code == 1
    assert again.stderr.endswith("ipop: the controller ended with code 7\n")


def test_up_keeps_a_configuration_that_differs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    controller_that(here, monkeypatch, "exit 1")
    path = here / "state/default/controller.json"
    ipop("up", "n", "10", "--secret")
    first = path.read_text()
    ipop("up", "n", "10", "--secret")
    assert path.read_text() == first
    differs = ipop("up", "n", "20", "--secret")
    assert differs.exit_code == 2
    line = f"ipop: {path}: the node default has another configuration (modules.fakelink.address); --force replaces it\n"
    assert differs.stderr == line
    ipop("up", "n", "20", "--force")
    assert written(path)["modules"]["fakelink"]["address"] == "192.168.10.20/24"
    pid_file = PidFile(folders.make_run_folder(here / "run/default"))
    assert "with its old configuration; first: ipop down" in ipop("up", "n", "30", "--force").stderr
    pid_file.close()


def test_up_without_a_configuration(here: Path) -> None:
    result = ipop("up")
    assert result.exit_code == 2
    path = here / "state/default/controller.json"
    assert result.stderr == f"ipop: {path}: there is no configuration yet; give NAMESPACE and ADDRESS\n"


@pytest.mark.parametrize("command", ["status", "modules", "down"])
def test_no_controller_is_exit_code_3(here: Path, command: str) -> None:
    result = ipop(command)
    assert result.exit_code == 3
    assert result.stderr == "ipop: no controller is running; start it with: ipop up NAMESPACE ADDRESS\n"
    named = ipop("--node", "bob", command)
    assert named.exit_code == 3
    assert named.stderr == "ipop: no controller is running; start it with: ipop --node bob up NAMESPACE ADDRESS\n"
    ipop("init", "n", "10")
    assert "start it with: ipop -c controller.json up\n" in ipop("-c", "controller.json", command).stderr


def test_of_several_nodes_one_must_be_chosen(here: Path) -> None:
    held = [PidFile(folders.make_run_folder(here / "run" / name)) for name in ("alice", "bob")]
    result = ipop("status")
    assert result.exit_code == 2
    assert result.stderr == "ipop: --node: several nodes run here, choose one: alice, bob\n"
    for pid_file in held:
        pid_file.close()
