"""Starts that can't succeed: one clear line and exit code 2, or a retry that is logged; never a traceback."""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from ipop_core.lab import Host
from ipop_core.lab.esp import esp_right
from tests.system.conftest import Town
from tests.system.node import BIN, Node

pytestmark = [pytest.mark.net, pytest.mark.slow]

NUMBERS = count(50)
READ = "+dac_read_search"
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps={READ}", f"--ambient-caps={READ}"]
"""May read everything, so that the project may lie in root's own folder, and do nothing else."""


@pytest.fixture(scope="module")
def host(town: Town) -> Host:
    return town.lab.host("broken", town.public)


@pytest.fixture
def node(town: Town, host: Host) -> Iterator[Node]:
    number = next(NUMBERS)
    made = town.overlay.member(f"broken{number}", host, f"192.168.10.{number}/24", namespace="ruins")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop()
    host.run(["ip", "link", "del", "tapipop"], check=False)


def refusal(node: Node) -> str:
    """Start it, and see it end with exit code 2 and one line, which is returned."""
    code, said = node.start().end(15)
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line]
    assert code == 2, said
    assert len(lines) == 1, said
    return lines[0]


@pytest.mark.parametrize("kind", ["veth", "bridge"])
def test_a_card_name_that_another_kind_of_card_has(node: Node, kind: str) -> None:
    node.host.run(["ip", "link", "add", "tapipop", "type", kind])
    line = refusal(node)
    assert "tapipop" in line
    assert "taken" in line
    node.host.run(["ip", "link", "del", "tapipop"])
    node.start().ready()


def test_a_card_that_another_controller_holds(town: Town, node: Node) -> None:
    node.start().ready()
    other = town.overlay.member("rival", node.host, "192.168.10.49/24", namespace="ruins", tincan={"port": 0})
    line = refusal(other)
    assert "tapipop" in line
    assert "in use" in line
    node.ready()


def test_ipsec_where_the_kernel_has_no_esp(node: Node) -> None:
    if esp_right():
        pytest.skip("this kernel has ESP")
    node.document["modules"]["ipsec"] = {}
    code, said = node.start().end(15)
    assert code == 2
    assert "Traceback" not in said
    assert "this kernel can't encrypt with ESP" in said.splitlines()[-1]
    # Not half-protected: the card never came up.
    assert "card is up" not in said
    assert "UP" not in node.host.run(["ip", "-o", "link", "show", "tapipop", "up"], check=False).stdout
    command = [str(BIN / "ipop-controller"), "-c", str(node.config), "--check"]
    check = node.host.run(command, check=False)
    assert check.returncode == 2
    (line,) = check.stderr.splitlines()
    assert line.startswith("modules.ipsec: kernel ESP: this kernel can't encrypt with ESP")
    # Who may not look can't say so either.
    unprivileged = node.host.run(["setpriv", "--bounding-set=-net_admin", *command], check=False)
    assert unprivileged.returncode == 0
    del node.document["modules"]["ipsec"]
    node.start().ready()


def test_a_udp_port_in_use(node: Node) -> None:
    def bound() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("0.0.0.0", 4741))
        return sock

    with node.host.namespace.call(bound):
        line = refusal(node)
    assert "modules.tincan.port" in line
    assert "4741 is in use" in line
    node.start().ready()


def test_a_second_controller_of_the_same_node(node: Node) -> None:
    node.start().ready()
    second = node.host.run([str(BIN / "ipop-controller"), "-c", str(node.config)], check=False)
    assert second.returncode == 2
    assert f"pid {node.pid}" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    node.ready()


def test_a_corrupt_identity(node: Node) -> None:
    state = Path(node.document["node"]["state"])
    state.mkdir(mode=0o700)
    key = state / "identity.key"
    key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nrust\n-----END PRIVATE KEY-----\n")
    key.chmod(0o600)
    line = refusal(node)
    assert "identity.key" in line
    assert key.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\nrust")


def test_a_state_folder_that_is_a_file(node: Node) -> None:
    Path(node.document["node"]["state"]).write_text("")
    assert "state" in refusal(node)


def test_no_namespace_for_a_card(node: Node) -> None:
    del node.document["namespace"]
    assert "namespace" in refusal(node)


def test_a_bootstrap_that_does_not_resolve_is_tried_again(node: Node, town: Town) -> None:
    name = "nowhere.invalid:4741"
    node.document["modules"]["signal"]["bootstraps"] = [name]
    node.start()
    body = node.until(
        "signal", "status", lambda body: any(item.get("fault") for item in body["bootstraps"]), "signal.contact"
    )
    print(body["bootstraps"])
    said = node.log.read_text()
    assert "nowhere.invalid" in said
    assert "Traceback" not in said
    assert node.process is not None
    assert node.process.poll() is None
    assert "nowhere.invalid" in node.cli("status").stdout


@pytest.fixture
def nobodys(town: Town, host: Host) -> Iterator[Path]:
    """A folder of the user nobody, who can't look into the laboratory's."""
    folder = Path(tempfile.mkdtemp(prefix="ipop-nobody-"))
    shutil.chown(folder, 65534, 65534)
    yield folder
    shutil.rmtree(folder)


def as_nobody(node: Node, folder: Path, host: Host) -> tuple[int, str]:
    config = folder / "controller.json"
    config.write_text(json.dumps(node.document))
    config.chmod(0o644)
    done = host.run([*NOBODY, "--", str(BIN / "ipop-controller"), "-c", str(config)], check=False)
    return done.returncode, done.stderr


def test_no_permission_for_the_card(town: Town, host: Host, nobodys: Path) -> None:
    node = town.overlay.member("nobody", host, "192.168.10.50/24", tincan={"card": "nobody0"})
    node.document["node"] = {"name": "nobody", "state": str(nobodys / "state"), "run": str(nobodys / "run")}
    code, said = as_nobody(node, nobodys, host)
    assert (code, len(said.splitlines())) == (2, 1), said
    assert "no permission" in said
    assert "CAP_NET_ADMIN" in said or "root" in said


def test_folders_that_may_not_be_written(town: Town, host: Host, nobodys: Path) -> None:
    for wrong in ("state", "run"):
        node = town.overlay.member("nobody", host, "192.168.10.50/24")
        folders = {"state": str(nobodys / "state"), "run": str(nobodys / "run")}
        node.document["node"] = {"name": "nobody", **folders, wrong: f"/var/lib/not-for-nobody/{wrong}"}
        code, said = as_nobody(node, nobodys, host)
        assert (code, len(said.splitlines())) == (2, 1), said
        assert "not-for-nobody" in said
