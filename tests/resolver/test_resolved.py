"""The real systemd-resolved on a real bus: it asks the node for the network's names, and forgets it when that stops."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipop_core.lab import Host, Laboratory, capabilities
from tests.system.conftest import require
from tests.system.node import Node

DAEMON = shutil.which("systemd-resolved", path="/lib/systemd:/usr/local/bin")
pytestmark = [
    pytest.mark.net,
    pytest.mark.slow,
    pytest.mark.skipif(DAEMON is None or shutil.which("dbus-daemon") is None, reason="no systemd-resolved, or no bus"),
]

BUS = """<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_destination="*"/>
<allow receive_type="*"/></policy></busconfig>"""
# It wants a user of its own, whom the bus must know, too, and a folder below /run; nothing of this machine is touched.
START_BUS = """
set -e
mount --bind {folder}/passwd /etc/passwd
exec dbus-daemon --config-file={folder}/bus.conf --nofork --nopidfile --print-address
"""
START = """
set -e
mount -t tmpfs none /run
mkdir -p /run/systemd/resolve
chown 995:995 /run/systemd/resolve
mount --bind {folder}/passwd /etc/passwd
exec {daemon}
"""


class Resolved:
    """A bus, and systemd-resolved on it, in the network namespace of a host."""

    def __init__(self, host: Host, folder: Path) -> None:
        self._host = host
        self._folder = folder
        self._daemon: subprocess.Popen[bytes] | None = None
        self._bus: subprocess.Popen[bytes] | None = None
        self.address = f"unix:path={folder}/bus"

    def start_bus(self) -> None:
        self._folder.chmod(0o755)
        (self._folder / "bus.conf").write_text(BUS.format(path=self._folder / "bus"))
        users = [line for line in Path("/etc/passwd").read_text().splitlines() if "systemd-resolve:" not in line]
        users.append("systemd-resolve:x:995:995::/:/usr/sbin/nologin\n")
        (self._folder / "passwd").write_text("\n".join(users))
        command = ["unshare", "-m", "sh", "-c", START_BUS.format(folder=self._folder)]
        self._bus = self._host.popen(command, stdout=subprocess.PIPE)
        assert self._bus.stdout is not None
        assert self._bus.stdout.readline()  # it listens

    def start(self) -> None:
        path = self._folder / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(path))
            path.chmod(0o777)
            ready.settimeout(20)
            script = START.format(folder=self._folder, daemon=DAEMON)
            environment = {
                "PATH": "/usr/bin:/bin",
                "DBUS_SYSTEM_BUS_ADDRESS": self.address,
                "NOTIFY_SOCKET": str(path),
                "SYSTEMD_LOG_LEVEL": "debug",
            }
            with (self._folder / "resolved.log").open("ab") as log:
                command = ["unshare", "-m", "sh", "-c", script]
                self._daemon = self._host.popen(command, env=environment, stdout=log, stderr=log)
            while b"READY=1" not in ready.recv(4096):
                pass
        path.unlink()

    def stop(self) -> None:
        for process in (self._daemon, self._bus):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(10)

    def kill(self) -> None:
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait(10)

    def log(self) -> str:
        return (self._folder / "resolved.log").read_text()

    def ctl(self, *words: str) -> str:
        """What `resolvectl` says, the errors, too."""
        command = ["env", f"DBUS_SYSTEM_BUS_ADDRESS={self.address}", "resolvectl", *words]
        done = self._host.run(command, check=False)
        return done.stdout + done.stderr


@pytest.fixture
def lab() -> Iterator[Laboratory]:
    rights = capabilities()
    require(rights.laboratory)
    require(rights.tun)
    with Laboratory() as laboratory:
        yield laboratory


def told(node: Node, what: str) -> None:
    node.until("resolver", "status", lambda body: body["systemd_resolved"] == what, "bus.none", timeout=15)


def test_systemd_resolved_asks_the_node(lab: Laboratory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public = lab.segment()
    hosts = {name: lab.host(name, public) for name in ("alice", "bob")}
    sections: dict[str, Any] = {
        "topology": {},
        "signal": {"bootstraps": [f"{hosts['alice'].address}:4741"]},
        "resolver": {},
        "logger": {},
    }
    folder = tmp_path / "resolved"
    folder.mkdir()
    for above in folder.parents:
        if above.is_relative_to("/tmp") and above != Path("/tmp"):
            above.chmod(above.stat().st_mode | 0o111)
    resolved = Resolved(hosts["alice"], folder)
    resolved.start_bus()
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", resolved.address)
    with contextlib.ExitStack() as stack:
        stack.callback(resolved.stop)
        alice, bob = (
            Node(
                name,
                host,
                lab.folder,
                {"tincan": {"address": f"192.168.10.{last}/24"}, **sections, "topology": {"name": name}},
                namespace="town",
            ).start()
            for (name, host), last in zip(hosts.items(), (10, 20), strict=True)
        )
        for node in (alice, bob):
            node.ready(timeout=30)
        for node in (alice, bob):
            node.until("topology", "status", lambda body: body["name"]["state"] == "registered", "topology.*")
        told(alice, "not there")

        resolved.start()  # it comes later than the node
        told(alice, "told")
        assert "192.168.10.20" in resolved.ctl("query", "--cache=no", "bob.ipop")
        assert "bob.ipop" in resolved.ctl("query", "192.168.10.20")
        assert "192.168.10.10" in resolved.ctl("query", "alice.ipop")
        # Another's names go elsewhere, and there is no elsewhere here: nothing of that comes to the node.
        before = alice.ask("resolver", "status")["counters"]
        resolved.ctl("query", "--cache=no", "www.example.org")
        after = alice.ask("resolver", "status")["counters"]
        assert (before["answered"] >= 3, after.get("refused", 0)) == (True, before.get("refused", 0))
        # On another host the same number is another card.
        told(bob, "in another network namespace")

        resolved.kill()
        told(alice, "not there")
        resolved.start()
        told(alice, "told")
        assert "192.168.10.20" in resolved.ctl("query", "--cache=no", "bob.ipop")

        assert "~ipop ~10.168.192.in-addr.arpa" in resolved.ctl("domain", "tapipop")
        assert (alice.stop(), bob.stop()) == (0, 0)
        assert "~ipop" not in resolved.ctl("domain")
        assert resolved.log().count("member=RevertLink") == 1  # before the card went, which takes it along, too
