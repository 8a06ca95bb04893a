"""WireGuard's interface: the kernel's where it has WireGuard, otherwise that of Debian's wireguard-go.

`wg`, of Debian's wireguard-tools, sets up both alike. A wireguard-go dies with the module; the kernel's interface stays
until protection is switched off, and goes on with the peers that it has.
"""

import asyncio
import errno
import logging
import shutil
import socket
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipop_core.errors import IpopError
from ipop_wireguard import routing
from ipop_wireguard.card import Card
from ipop_wireguard.peers import Peer

PROGRAM = "wireguard-go"
SOCKETS = Path("/var/run/wireguard")
"""Control sockets, one for each interface and for the whole machine."""
START_SECONDS = 5.0
STOP_SECONDS = 1.5
POLL = 0.02

log = logging.getLogger("ipop.wireguard")


@dataclass(frozen=True)
class Figures:
    """What WireGuard says of one peer."""

    key: str
    addresses: tuple[str, ...]
    handshake: int
    """Unix time of the last one; 0 for none."""
    bytes_in: int
    bytes_out: int


class Tunnel:
    def __init__(self, card: Card, key: Path, port: int) -> None:
        """`key` is the file with the private key."""
        self._card = card
        self._key = key
        self._port = port
        self._process: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        """Make the interface, or take the one that is there, with key and port. Raises IpopError."""
        name, port, mark = self._card.tunnel, self._port, self._card.mark
        if not await asyncio.to_thread(_make_in_kernel, name):
            await self._start_program()
        await self._wg("set", name, "private-key", str(self._key), "listen-port", str(port), "fwmark", str(mark))

    async def put(self, peers: Iterable[Peer], gone: Iterable[Peer] = ()) -> None:
        """Set these peers up; `gone` are removed before, with all that WireGuard has agreed on with them."""
        words: list[str] = []
        for peer in gone:
            words += ["peer", peer.key_text, "remove"]
        if words:
            await self._wg("set", self._card.tunnel, *words)
        words = []
        for peer in peers:
            allowed = ",".join(f"{address}/{address.max_prefixlen}" for address in peer.addresses)
            words += ["peer", peer.key_text, "endpoint", peer.endpoint, "allowed-ips", allowed]
        if words:
            await self._wg("set", self._card.tunnel, *words)

    async def figures(self) -> list[Figures]:
        """Of every peer that WireGuard has. Raises IpopError."""
        lines = (await self._wg("show", self._card.tunnel, "dump")).splitlines()[1:]
        return [read_figures(line) for line in lines]

    async def ended(self) -> None:
        """Wait until wireguard-go has gone, if it is that."""
        if self._process is None:
            await asyncio.Event().wait()
        else:
            await self._process.wait()

    async def close(self) -> None:
        """Remove the interface."""
        process, self._process = self._process, None
        if process is None:
            await asyncio.to_thread(routing.remove, self._card.tunnel)
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _start_program(self) -> None:
        check_programs()
        control = SOCKETS / f"{self._card.tunnel}.sock"
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while _is_served(control):  # by one whose module was killed a moment ago
            if asyncio.get_running_loop().time() > deadline:
                raise IpopError(f"modules.wireguard: another {PROGRAM} has {control}; give one card another name")
            await asyncio.sleep(POLL)
        # Left over by one that was killed. `wg` would remove it too, but at a moment when it may be the new one.
        control.unlink(missing_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL", PROGRAM, "--foreground", self._card.tunnel),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        while not _is_served(control):
            if self._process.returncode is not None or asyncio.get_running_loop().time() > deadline:
                await self.close()
                raise IpopError(f"modules.wireguard: {PROGRAM} does not start; try: {PROGRAM} -f {self._card.tunnel}")
            await asyncio.sleep(POLL)

    async def _wg(self, *words: str) -> str:
        try:
            done = await asyncio.to_thread(
                subprocess.run, ["wg", *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
            )
        except OSError:
            raise IpopError("modules.wireguard: wg is missing; install Debian's package wireguard-tools") from None
        if done.returncode:
            raise IpopError(f"modules.wireguard: wg {words[0]}: {done.stderr.strip() or 'failed'}")
        return done.stdout


def read_figures(line: str) -> Figures:
    """One peer's line of `wg show NAME dump`."""
    key, _, _, allowed, handshake, received, sent, *_ = line.split("\t")
    addresses = () if allowed == "(none)" else tuple(item.partition("/")[0] for item in allowed.split(","))
    return Figures(key, addresses, int(handshake), int(received), int(sent))


def check_programs() -> None:
    """Raises IpopError where the kernel's part can't be done by a program either."""
    if shutil.which(PROGRAM) is None:
        fault = f"this kernel has no WireGuard, and {PROGRAM} is missing; install Debian's package wireguard-go"
        raise IpopError(f"modules.wireguard: {fault}")
    if shutil.which("setpriv") is None:
        raise IpopError("modules.wireguard: setpriv is missing; install Debian's package util-linux")


def _is_served(control: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        return sock.connect_ex(str(control)) == 0


def _make_in_kernel(name: str) -> bool:
    """False where the kernel has no WireGuard. Raises IpopError."""
    with IPRoute() as route:
        try:
            route.link("add", ifname=name, kind="wireguard")
        except NetlinkError as error:
            if error.code in (errno.EOPNOTSUPP, errno.ENOENT):
                return False
            if error.code != errno.EEXIST:
                raise IpopError(f"modules.wireguard: {name} can't be made: {error}") from None
            (link,) = route.link("get", ifname=name)
            return bool(link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") == "wireguard")
    return True
