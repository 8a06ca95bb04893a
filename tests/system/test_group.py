"""Multicast and broadcast between members: each gets one copy, strangers none. Multicast DNS finds names."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ipop_core.lab import Laboratory
from tests.system.node import Node, stop_all
from tests.system.overlay import Overlay

pytestmark = [pytest.mark.net, pytest.mark.slow]

LISTENING = Path(__file__).parent / "listening.py"
MDNS = Path(__file__).parent / "mdns.py"
GROUP, PORT = "224.0.0.251", 5454
"""The group of mDNS (RFC 6762): link-local, as what has to stay on one network."""
SEND = """
import socket, sys
to, port, address, text, number = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sender.bind((address, 0))
    for i in range(int(number)):
        sender.sendto(f"{text}{i}".encode(), (to, int(port)))
"""


class Listener:
    def __init__(self, node: Node) -> None:
        command = [sys.executable, str(LISTENING), GROUP, str(PORT), node.address]
        self._process = node.host.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout and self._process.stdout.readline() == b"ready\n"

    def until_heard(self, text: str) -> None:
        assert self._process.stdout
        while self._process.stdout.readline() != f"heard {text}\n".encode():
            assert self._process.poll() is None

    def end(self) -> list[list[str]]:
        output, _ = self._process.communicate(timeout=20)
        found: list[list[str]] = json.loads(output.splitlines()[-1])
        return found


def names(job: str, node: Node) -> subprocess.Popen[bytes]:
    """Somebody on the node's card who asks for a name by multicast DNS, or answers for it."""
    command = [sys.executable, str(MDNS), job, node.address, "printer.local"]
    process = node.host.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    return process


def end(process: subprocess.Popen[bytes]) -> str:
    return process.communicate(timeout=20)[0].decode().strip()


def say(node: Node, to: str, text: str, number: int = 1) -> None:
    node.host.run([sys.executable, "-c", SEND, to, str(PORT), node.address, text, str(number)])


def test_what_one_says_to_the_group_every_member_hears_once(lab: Laboratory, tmp_path: Path) -> None:
    public = lab.segment("group")
    overlay = Overlay(lab, public, bare_nodes=3, prefix="grp")
    overlay.start()
    members = [
        overlay.member(f"g{number}", lab.host(f"g{number}", public), f"192.168.10.{number}/24").start()
        for number in range(1, 5)
    ]
    stranger = overlay.member("g9", lab.host("g9", public), "192.168.10.9/24", namespace="other").start()
    for node in (*members, stranger):
        node.ready()
    speaker, others = members[0], members[1:]
    for node in others:
        assert speaker.until_answered(node.address) < 15
    listeners = [Listener(node) for node in others]
    outside = Listener(stranger)
    speaker.until("topology", "members", lambda body: len(body["nodes"]) == 4, timeout=15.0)
    say(speaker, GROUP, "group ", 20)
    say(speaker, "192.168.10.255", "all ", 1)
    for listener in listeners:
        listener.until_heard("all 0")
    say(members[2], GROUP, "last ", 1)
    for listener in (listeners[0], listeners[2]):
        listener.until_heard("last 0")
    wanted = Counter([*(f"group {number}" for number in range(20)), "all 0"])
    for listener, node in zip(listeners, others, strict=True):
        heard = listener.end()
        expected = wanted if node is members[2] else wanted + Counter(["last 0"])
        assert Counter(text for text, _ in heard) == expected
        assert {sender for text, sender in heard if text.startswith("group")} == {speaker.address}
    assert outside.end() == []
    drawn = tmp_path / "ring.svg"
    assert speaker.cli("graph", "--svg", str(drawn)).returncode == 0
    space, picture = "{http://www.w3.org/2000/svg}", ElementTree.parse(drawn)
    everyone = {node.node_id() for node in (*members, stranger, *overlay.bare)}
    assert {title.text for title in picture.iter(f"{space}title")} == everyone
    assert "near" in {line.get("class") for line in picture.iter(f"{space}line")}
    nowhere = speaker.cli("graph", "--svg", str(tmp_path / "nowhere" / "ring.svg"))
    assert (nowhere.returncode, nowhere.stdout) == (1, "")
    assert nowhere.stderr.strip() == f"ipop: {tmp_path}/nowhere/ring.svg: No such file or directory"
    answering, deaf = names("answer", members[2]), names("answer", stranger)
    assert end(names("ask", speaker)) == f"printer.local. {members[2].address} {members[2].address} 255"
    assert int(end(answering)) >= 1
    assert end(deaf) == "0"
    assert speaker.ask("link", "status")["counters"]["group_sent"] >= 21
    assert not any(stop_all((*members, stranger, *overlay.bare)))
