"""The tutorial's third part: an authority, certificates, and pings that nobody can read, in namespaces of this kernel.

Run as `python -m ipop_core.demo.ipsec FILE` it tells its story on standard error and writes its figures into FILE.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipop_core.authority.membership import AUTHORITY_FILE
from ipop_core.cli.template import fill_template
from ipop_core.demo import programs
from ipop_core.demo.errors import DemoError, NodeError
from ipop_core.demo.ipsec_figures import IpsecFigures
from ipop_core.demo.narrator import Narrator
from ipop_core.demo.node import Node, stop
from ipop_core.demo.place import ADDRESSES, NETWORK
from ipop_core.lab import Capture, Host, LabError, Laboratory
from ipop_core.lab.commands import run
from ipop_core.lab.interrupts import interrupts_deferred

if TYPE_CHECKING:
    from ipop_core.bus.api import Bus

CARD: Final = "tapipop"
PORT: Final = 4741
NAMESPACE: Final = "town"
BEEF: Final = "deadbeef"
PINGS: Final = 10
FEWER_PINGS: Final = 5
KEYS_TIMEOUT: Final = 20
"""Seconds that the first ping may take, which asks for keys: User-Mode Linux is slow."""
PATIENCE: Final = 120.0
"""Seconds; a kernel in a kernel is slow."""
POLL: Final = 0.5
"""Seconds between questions to a node: each costs it some of the time that it needs itself."""
_ESP: Final = 50
_RECEIVED: Final = re.compile(r"([0-9]+) packets transmitted, ([0-9]+) received")


class IpsecStory:
    def __init__(self, narrator: Narrator, kernel: str) -> None:
        self._narrator = narrator
        self._kernel = kernel
        self._hosts: dict[str, Host] = {}
        self._nodes: dict[str, Node] = {}

    async def tell(self) -> IpsecFigures:
        """Play it to its end. Raises DemoError."""
        with Laboratory() as lab:
            try:
                return await self._play(lab)
            finally:
                with interrupts_deferred():
                    stop(self._nodes.values())

    async def _play(self, lab: Laboratory) -> IpsecFigures:
        narrator = self._narrator
        with narrator.step("building a network of three computers"):
            public = lab.segment()
            for name in ("bootstrap", *ADDRESSES):
                host = self._hosts[name] = lab.host(name, public)
                (lab.folder / name).mkdir()
                self._nodes[name] = Node(name, name, host, lab.folder / name)
        narrator.heading("3.1 An authority for the network")
        authority = lab.folder / "authority"
        self._type("alice", "ca", "init", NAMESPACE, "--dir", str(authority))
        narrator.heading("3.2 A certificate for each")
        for name, number in ADDRESSES.items():
            bundle = str(lab.folder / f"{name}.pem")
            address = NETWORK.format(number)
            self._type("alice", "ca", "issue", name, "--address", address, "--dir", str(authority), "-o", bundle)
            self._type(name, "ca", "install", bundle)
        narrator.heading("3.3 Both join, with IPsec on")
        await self._start()
        return await self._measure()

    async def _measure(self) -> IpsecFigures:
        narrator = self._narrator
        narrator.heading("3.4 With IPsec on: everything is answered, nothing can be read")
        with self._capture() as on:
            # While keys are made the kernel holds packets, longer than a ping of several waits for the first ones.
            self._ping(1, wait=KEYS_TIMEOUT)
            sent, received = self._ping(PINGS)
        readable = len(on.find(bytes.fromhex(BEEF * 2)))
        narrator.line(f"{received} of {sent} answered; deadbeef in {readable} packets on {CARD}")
        narrator.heading("3.5 Off on Bob's side alone: nothing passes")
        await self._switch("bob", "off")
        sent_one_side, one_side = self._ping(FEWER_PINGS)
        narrator.line(f"{one_side} of {sent_one_side} answered")
        narrator.heading("3.6 Off on both sides: everything passes, and can be read")
        await self._switch("alice", "off")
        with self._capture() as off:
            sent_off, received_off = self._ping(FEWER_PINGS)
        readable_off = len(off.find(bytes.fromhex(BEEF * 2)))
        narrator.line(f"{received_off} of {sent_off} answered; deadbeef in {readable_off} packets on {CARD}")
        return IpsecFigures(
            kernel=self._kernel,
            sent=sent,
            received=received,
            esp_packets=sum(_protocol(packet.raw) == _ESP for packet in on.packets()),
            plaintext_hits=readable,
            received_one_side_off=one_side,
            sent_both_off=sent_off,
            received_both_off=received_off,
            plaintext_hits_both_off=readable_off,
        )

    async def _start(self) -> None:
        bootstrap = f"{self._hosts['bootstrap'].address}:{PORT}"
        for name, node in self._nodes.items():
            values = {"node": name, "bootstraps": [bootstrap], "port": PORT, "card": None}
            if name in ADDRESSES:
                values["address"] = f"{NETWORK.format(ADDRESSES[name])}/24"
                values |= {"namespace": NAMESPACE, "authority": str(node.state / AUTHORITY_FILE)}
            document = fill_template("ipsec" if name in ADDRESSES else "bare", values)
            path = node.folder / "controller.json"
            path.write_text(json.dumps(document))
            self._narrator.command(name, f"ipop-controller -c {path.name}")
            node.start(programs.own("ipop-controller"), "-c", path)
            # One after the other: in User-Mode Linux all at once are too slow to answer their controllers' heartbeats.
            with self._narrator.step(f"waiting until all modules of {name} run"):
                await node.ask(_is_running, "start", PATIENCE)
        with self._narrator.step("waiting until both are in the ring and their addresses are theirs"):
            for name in ADDRESSES:
                await self._nodes[name].ask(_is_registered, "place in the ring", PATIENCE)

    async def _switch(self, name: str, action: str) -> None:
        self._narrator.command(name, f"ipop ipsec {action}")

        async def work(bus: Bus) -> None:
            await bus.request("crypto", action, timeout=20.0)

        await self._nodes[name].ask(work, "answer", PATIENCE)

    def _ping(self, count: int, wait: int = 4) -> tuple[int, int]:
        """Sent and received; the last one is waited for `wait` seconds."""
        target = NETWORK.format(ADDRESSES["bob"])
        command = ["ping", "-n", "-c", str(count), "-i", "0.3", "-W", str(wait), "-p", BEEF, target]
        self._narrator.command("alice", shlex.join(command))
        with self._narrator.step("pinging"):
            printed = self._hosts["alice"].run(command, check=False, timeout=PATIENCE).stdout
        found = _RECEIVED.search(printed)
        if found is None:
            raise NodeError("alice: ping printed no summary", printed)
        return int(found[1]), int(found[2])

    def _capture(self) -> Capture:
        return Capture(self._hosts["alice"].namespace, CARD)

    def _type(self, name: str, *words: str) -> None:
        """Run `ipop` with these words for this node."""
        self._narrator.command(
            name, shlex.join(["ipop", *(Path(word).name if "/" in word else word for word in words)])
        )
        node = self._nodes[name]
        roots = {"IPOP_STATE_ROOT": str(node.folder / "state"), "IPOP_RUN_ROOT": str(node.folder / "run")}
        assignments = [f"{key}={value}" for key, value in roots.items()]
        run(["env", *assignments, programs.own("ipop"), "--node", name, *words])


async def _is_running(bus: Bus) -> None:
    """Return once all modules run."""
    running = asyncio.Event()
    await bus.subscribe("core.ready", lambda _: running.set())
    if not (await bus.request("core", "status")).body["ready"]:
        await running.wait()


async def _is_registered(bus: Bus) -> None:
    """Return once the addresses are the node's own, and keys can be made."""
    while True:
        claims = (await bus.request("topology", "status")).body["registered"]
        registered = bool(claims) and all(claim["state"] == "registered" for claim in claims)
        if registered and (await bus.request("crypto", "status")).body["ready"]:
            return
        await asyncio.sleep(POLL)


def _protocol(raw: bytes) -> int:
    """The protocol of an IPv4 or IPv6 packet."""
    return raw[9] if raw[0] >> 4 == 4 else raw[6]


def main() -> None:
    try:
        figures = asyncio.run(IpsecStory(Narrator(to_stderr=True), "uml").tell())
    except (DemoError, LabError) as error:
        sys.exit(str(error))
    Path(sys.argv[1]).write_text(json.dumps(dataclasses.asdict(figures)))


if __name__ == "__main__":
    main()
