"""Two members in namespaces of their own, a wire between their cards, and their authority."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_interface, ip_network
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ipop_core.identity import CERTIFICATE_FILE, load_or_create
from ipop_core.lab import Laboratory, Namespace, commands
from tests.authority.makers import Authority

CARD = "tapipop"
PROFILE = Path("/etc/apparmor.d/usr.lib.ipsec.charon")
NETWORKS = (ip_network("192.168.10.0/24"), ip_network("fd00:10::/64"))
PATIENCE = 60.0
Result = TypeVar("Result")


class Member:
    """A member: its namespace, its card and the process of its module."""

    def __init__(self, name: str, namespace: Namespace, folder: Path, addresses: list[str], **settings: Any) -> None:
        self.name = name
        self.namespace = namespace
        self.folder = folder
        self.interfaces = [ip_interface(address) for address in addresses]
        self.settings = settings
        self.peers: list[str] = []
        """Addresses of the other member, as the role link tells of them."""
        self.identity = load_or_create(folder / "node")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return str(self.interfaces[0].ip)

    @property
    def address6(self) -> str:
        return str(self.interfaces[1].ip)

    def certify(self, certificate: x509.Certificate) -> None:
        (self.folder / "node" / CERTIFICATE_FILE).write_bytes(certificate.public_bytes(Encoding.PEM))

    def begin(self) -> None:
        """Start the module; see `ready`."""
        wish = {
            "folder": str(self.folder),
            "card": CARD,
            "addresses": [str(interface) for interface in self.interfaces],
            "peers": self.peers,
            "settings": self.settings,
        }
        command = [sys.executable, "-m", "tests.uml.member", json.dumps(wish)]
        with (self.folder / "log").open("ab") as log:
            self.process = self.namespace.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)

    def ready(self) -> None:
        answer = self.answer()
        assert answer == {"ready": True}, f"{self.name}: {answer}\n{self.log}"
        self.serving()

    def serving(self) -> None:
        """Return once keys can be made."""
        eventually(lambda: self.ask("status"), lambda status: status["ready"])

    def start(self) -> None:
        self.begin()
        self.ready()

    def stop(self) -> None:
        """In good order."""
        assert self.process
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(PATIENCE)

    def ask(self, action: str) -> dict[str, Any]:
        assert self.process
        assert self.process.stdin
        self.process.stdin.write(f"{action}\n".encode())
        self.process.stdin.flush()
        return self.answer()

    def charon(self) -> int:
        """The process id of its charon."""
        return int((self.folder / "run/charon/charon.pid").read_text())

    def run(self, *command: str, check: bool = True, timeout: float = PATIENCE) -> str:
        return self.namespace.run(command, check=check, timeout=timeout).stdout

    def ping(self, address: str, *options: str, count: int = 5, interval: float = 0.2) -> Ping:
        command = ["ping", "-n", "-c", str(count), "-i", str(interval), "-W", "3", *options, address]
        return Ping(self.run(*command, check=False))

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def answer(self) -> dict[str, Any]:
        """The next thing that its module says."""
        assert self.process
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, f"{self.name} has ended:\n{self.log}"
        answer: dict[str, Any] = json.loads(line)
        return answer


class Ping:
    """What ping found."""

    def __init__(self, output: str) -> None:
        self.output = output
        found = re.search(r"(\d+) packets transmitted, (\d+) received", output)
        self.sent, self.received = (int(found[1]), int(found[2])) if found else (0, 0)
        self.times = [float(text) for text in re.findall(r"time=([\d.]+)", output)]
        self._answered = {int(text) for text in re.findall(r"icmp_seq=(\d+) ttl", output)}

    @property
    def lost(self) -> int:
        """Those without an answer among the ones that came before the last answer."""
        return max(self._answered, default=0) - len(self._answered)

    def __repr__(self) -> str:
        return self.output


def confine_charon() -> None:
    """Let AppArmor do with charon what it does on an installed Debian: the profile is that of its package."""
    commands.run(["apparmor_parser", "--replace", "--skip-cache", str(PROFILE)])


class Town:
    """Alice and Bob, certified, with a wire between them; their modules are not started."""

    def __init__(self, lab: Laboratory) -> None:
        self.lab = lab
        self.authority = Authority("town", NETWORKS)
        (lab.folder / "authority.pem").write_bytes(self.authority.certificate.public_bytes(Encoding.PEM))
        self.alice = self._member("alice", 10)
        self.bob = self._member("bob", 20)
        self.alice.peers = [self.bob.address, self.bob.address6]
        self.bob.peers = [self.alice.address, self.alice.address6]
        names = self.alice.namespace.name, self.bob.namespace.name
        self.alice.namespace.ip(f"link add {CARD} type veth peer name {CARD} netns {names[1]}")
        for member in (self.alice, self.bob):
            addresses = [f"addr add {item} dev {CARD} {'nodad' * (item.version == 6)}" for item in member.interfaces]
            member.namespace.ip(f"link set {CARD} up", *addresses)
        for member in (self.alice, self.bob):
            member.namespace.wait_until_running(CARD)

    def _member(self, name: str, number: int) -> Member:
        folder = self.lab.folder / name
        folder.mkdir()
        addresses = [f"192.168.10.{number}/24", f"fd00:10::{number}/64"]
        member = Member(name, self.lab.namespace(name), folder, addresses)
        hosts = [str(interface.ip) for interface in member.interfaces]
        member.certify(self.authority.member(member.identity.key, *hosts))
        return member

    @property
    def members(self) -> list[Member]:
        return [self.alice, self.bob]


def eventually(work: Callable[[], Result], wanted: Callable[[Result], object], seconds: float = PATIENCE) -> Result:
    """Do `work` until its result is as `wanted`."""
    deadline = time.monotonic() + seconds
    while True:
        result = work()
        if wanted(result):
            return result
        assert time.monotonic() < deadline, f"not after {seconds:g} s: {result}"
        time.sleep(0.05)


@contextmanager
def pinging(member: Member, address: str, *options: str) -> Iterator[list[Ping]]:
    """Ping while the block runs; the list has the result afterwards."""
    found: list[Ping] = []
    command = ["ping", "-n", "-p", "deadbeef", *options, address]
    with TemporaryFile("w+") as output:  # a pipe that nobody reads would be full after a thousand answers
        process = member.namespace.popen(command, stdout=output)
        try:
            yield found
        finally:
            process.send_signal(2)
            process.wait(PATIENCE)
            output.seek(0)
            found.append(Ping(output.read()))


def kill(pid: int) -> float:
    """SIGKILL; the moment."""
    os.kill(pid, 9)
    return time.monotonic()
