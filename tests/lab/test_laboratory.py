from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ipop_core.lab import LabError, Laboratory, LabTimeoutError, NatKind
from ipop_core.lab import namespace as namespaces
from ipop_core.lab.names import RunName
from ipop_core.lab.namespace import Namespace

pytestmark = pytest.mark.net

STORY = """
import signal, sys, time
from ipop_core.lab import Laboratory, NatKind

with Laboratory() as lab:
    public = lab.segment()
    home = lab.home("alice", public, NatKind.PORT_RESTRICTED)
    (lab.folder / "log").write_text("something")
    # One process that heeds no SIGTERM, and a child of its own in the background.
    shell = "trap '' TERM INT HUP; sleep 1000 & echo $!; wait"
    process = home.host.popen(["sh", "-c", shell], stdout=-1, stderr=-3)
    child = process.stdout.readline().decode().strip()
    print(process.pid, child, flush=True)
    {then}
"""


def leftovers(pid: int) -> list[str]:
    """Namespaces and folders of the runs of process `pid`."""
    places = [Path("/run/netns"), Path(tempfile.gettempdir())]
    found = [path.name for place in places for path in place.glob(f"ipoplab-{pid}-*")]
    assert all(RunName.parse(name) for name in found)
    return found


def is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def await_end(pids: list[int]) -> None:
    deadline = time.monotonic() + 5
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still running: {pids}"
        time.sleep(0.005)


StartStory = Callable[[str], tuple[subprocess.Popen[str], list[int]]]


@pytest.fixture
def start_story(laboratory_allowed: None) -> Iterator[StartStory]:
    """Start a process with a laboratory and wait until that is built; returns it and the pids of those inside."""
    stories = []

    def start(then: str) -> tuple[subprocess.Popen[str], list[int]]:
        command = [sys.executable, "-c", STORY.format(then=then)]
        story = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        stories.append(story)
        assert story.stdout is not None
        pids = [int(word) for word in story.stdout.readline().split()]
        assert len(pids) == 2, story.communicate()[1]
        return story, pids

    yield start
    for story in stories:
        story.kill()
        story.communicate()
    Laboratory.sweep()


@pytest.mark.parametrize(
    ("then", "send", "code", "last_words"),
    [
        ("pass", [], 0, ""),
        ("1 / 0", [], 1, "ZeroDivisionError"),
        ("signal.pause()", [signal.SIGINT], -signal.SIGINT, "KeyboardInterrupt"),
        ("signal.pause()", [signal.SIGINT] * 3, -signal.SIGINT, "KeyboardInterrupt"),
        ("signal.pause()", [signal.SIGTERM], 128 + signal.SIGTERM, ""),
        ("signal.pause()", [signal.SIGHUP], 128 + signal.SIGHUP, ""),
    ],
)
def test_nothing_is_left_behind(
    start_story: StartStory, then: str, send: list[signal.Signals], code: int, last_words: str
) -> None:
    story, pids = start_story(then)
    if send:
        assert len(leftovers(story.pid)) == 4  # the segment, the router, the host and the folder
        assert all(is_running(pid) for pid in pids)
    for number in send:
        story.send_signal(number)
    _, errors = story.communicate(timeout=10)

    assert story.returncode == code, errors
    assert last_words in errors
    assert leftovers(story.pid) == []
    await_end(pids)


def test_the_next_laboratory_sweeps_up_after_a_killed_one(start_story: StartStory) -> None:
    story, pids = start_story("signal.pause()")
    alive, alive_pids = start_story("signal.pause()")
    story.kill()
    story.communicate()
    assert len(leftovers(story.pid)) == 4
    assert all(is_running(pid) for pid in pids)

    with Laboratory():
        assert leftovers(story.pid) == []
        await_end(pids)
        assert len(leftovers(alive.pid)) == 4
        assert all(is_running(pid) for pid in alive_pids)

    alive.terminate()
    alive.communicate()
    assert leftovers(alive.pid) == []


def machines_network() -> str:
    """Cards, addresses, routes and rules of the machine's own namespace."""
    commands = ["ip -o link", "ip -o address", "ip route", "ip -6 route", "nft list ruleset"]
    shown = [subprocess.run(command.split(), capture_output=True, text=True, check=True).stdout for command in commands]
    # Lifetimes of leases count down.
    return "\n".join(line.split("valid_lft")[0].split(" expires ")[0] for part in shown for line in part.splitlines())


@pytest.mark.usefixtures("laboratory_allowed")
def test_two_laboratories_at_once_and_the_machine_untouched() -> None:
    before, others = machines_network(), leftovers(os.getpid())
    with Laboratory() as one, Laboratory() as other:
        for lab in (one, other):
            public = lab.segment()
            boot = lab.host("boot", public)
            home = lab.home("alice", public, NatKind.PORT_RESTRICTED)
            assert boot.address == "203.0.113.2"
            home.host.run(["ping", "-c1", "-W1", boot.address])
            assert boot.run(["ping", "-c1", "-W1", home.host.address], check=False).returncode != 0
        assert machines_network() == before
    assert machines_network() == before
    assert leftovers(os.getpid()) == others


def test_nine_hosts_and_two_homes_are_built_quickly(lab: Laboratory) -> None:
    start = time.monotonic()
    public = lab.segment()
    hosts = [lab.host(f"node{number}", public) for number in range(9)]
    alice = lab.home("alice", public, NatKind.PORT_RESTRICTED)
    bob = lab.home("bob", public, NatKind.SYMMETRIC)
    took = time.monotonic() - start
    print(f"built in {took:.2f} s")

    assert took < 2
    for host in (alice.host, bob.host, *hosts):
        host.run(["ping", "-c1", "-W1", hosts[0].address])  # the very first packet comes through
    assert alice.public_address != bob.public_address
    assert alice.host.address != bob.host.address


def test_two_hosts_share_a_home(lab: Laboratory) -> None:
    public = lab.segment()
    home = lab.home("alice", public, NatKind.PORT_RESTRICTED)
    assert home.router is not None
    sister = lab.host("sister", home.router.lan)

    sister.run(["ping", "-c1", "-W1", home.host.address])
    sister.run(["ping", "-c1", "-W1", lab.host("boot", public).address])


def test_an_open_home_is_a_host_on_the_public_segment(lab: Laboratory) -> None:
    home = lab.home("alice", lab.segment(), NatKind.OPEN)
    assert home.router is None
    assert home.public_address == home.host.address == "203.0.113.2"


def test_ipv6_on_the_public_segment(lab: Laboratory) -> None:
    public = lab.segment(ipv6=True)
    alice, bob = lab.host("alice", public), lab.host("bob", public)
    assert alice.address6 == "2001:db8::2"
    bob.run(["ping", "-c1", "-W1", alice.address6])


def test_the_pid_is_the_commands_own(lab: Laboratory) -> None:
    host = lab.host("alice", lab.segment())
    process = host.popen(["sh", "-c", "echo $$; ip -o -4 address show eth0; exec sleep 60"], stdout=-1)
    assert process.stdout is not None
    assert int(process.stdout.readline()) == process.pid
    assert host.address.encode() in process.stdout.readline()
    process.terminate()
    assert process.wait() == -signal.SIGTERM
    process.stdout.close()


def test_a_failure_tells_the_command_and_what_it_printed(lab: Laboratory) -> None:
    host = lab.host("alice", lab.segment())
    with pytest.raises(LabError, match=r"ls /nowhere.*exit code 2: .*No such file"):
        host.run(["ls", "/nowhere"])
    with pytest.raises(LabError, match=r"exit code 127.*no-such-command"):
        host.run(["no-such-command"])
    with pytest.raises(LabTimeoutError, match=r"sleep 10: not done after 0\.1 s"):
        host.run(["sleep", "10"], timeout=0.1)
    with pytest.raises(LabError, match=r"(?s)Cannot find device.*its input was:.*link set nothing up"):
        host.namespace.ip("link set nothing up")
    with pytest.raises(LabError, match=r"net\.no\.such in ipoplab-.*: No such file"):
        host.namespace.sysctl("net.no.such", "1")


def test_a_link_without_carrier_is_named(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    public = lab.segment()
    alice = lab.host("alice", public)
    alice.namespace.ip("link set eth0 down")
    monkeypatch.setattr("ipop_core.lab.namespace._LINK_PATIENCE", 0.01)
    with pytest.raises(LabTimeoutError, match=r"2-alice in ipoplab-.*-public: no carrier within 0\.01 s"):
        public.namespace.wait_until_running(alice.attachment.port)

    monkeypatch.undo()
    alice.namespace.ip("link set eth0 up")
    public.namespace.wait_until_running(alice.attachment.port)


def test_a_name_is_used_once(lab: Laboratory) -> None:
    public = lab.segment()
    lab.host("alice", public)
    with pytest.raises(LabError, match="'alice' is taken"):
        lab.host("alice", public)


def test_nobody_is_killed_in_a_namespace_that_comes_while_another_goes(
    laboratory_allowed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel gives the number of one that has gone to one of the next."""
    names = RunName.of_this_process()
    going, *coming = (Namespace(names.of(f"turn{number}")) for number in range(20))
    going.create()
    sleepers: list[subprocess.Popen[bytes]] = []
    run = namespaces.commands.run

    def meanwhile(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        done = run(command, **options)
        if "-force" in command and not sleepers:
            time.sleep(0.5)  # the kernel takes its time, and says to nobody when it is over
            for namespace in coming:
                namespace.create()
                sleepers.append(namespace.popen(["sleep", "60"]))
        return done

    monkeypatch.setattr(namespaces.commands, "run", meanwhile)
    try:
        namespaces.delete([going])
        assert [sleeper.poll() for sleeper in sleepers] == [None] * len(coming)
    finally:
        namespaces.delete(coming)
