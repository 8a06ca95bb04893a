"""The laboratory: networks of network namespaces that leave nothing behind.

    with Laboratory() as lab:
        public = lab.segment()
        boot = lab.host("boot", public)
        home = lab.home("alice", public, NatKind.PORT_RESTRICTED)
        with lab.capture(public) as capture:
            home.host.run(["ping", "-c1", boot.address])

Everything lives in namespaces of its own: nothing touches the machine's own cards, addresses and routes, and any number
of laboratories may run at once.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from contextlib import ExitStack
from ipaddress import IPv4Network, IPv6Network
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final

from ipop_core.lab import namespace as namespaces
from ipop_core.lab.capture import Capture
from ipop_core.lab.errors import LabError
from ipop_core.lab.home import Home, Router
from ipop_core.lab.host import Host
from ipop_core.lab.interrupts import interrupts_deferred, termination_unwinds
from ipop_core.lab.names import RunName
from ipop_core.lab.namespace import Namespace
from ipop_core.lab.nat import NatKind, ruleset
from ipop_core.lab.segment import Segment

PUBLIC_NETWORK: Final = IPv4Network("203.0.113.0/24")
"""TEST-NET-3 (RFC 5737)."""
PUBLIC_NETWORK6: Final = IPv6Network("2001:db8::/64")
"""The documentation prefix (RFC 3849)."""


class Laboratory:
    """Owns all that it builds; after its `with` block no process, namespace or folder of it is left.

    That holds after an exception, Ctrl-C, SIGTERM and SIGHUP as well. After SIGKILL it can't; the next laboratory that
    is opened on the machine then sweeps up.
    """

    def __init__(self) -> None:
        self._run = RunName.of_this_process()
        self._namespaces: dict[str, Namespace] = {}
        self._home_numbers = count(1)
        self._stack = ExitStack()
        self.folder = Path(tempfile.gettempdir()) / self._run.text
        """A folder for this run's files, readable by its owner alone, which goes with the laboratory."""

    def __enter__(self) -> Laboratory:
        self.sweep()
        with self._stack as stack:
            stack.enter_context(termination_unwinds())
            atexit.register(self._clean)  # for a Ctrl-C that falls between the `with` block and the clean-up
            stack.callback(self._clean)
            self.folder.mkdir(mode=0o700)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @staticmethod
    def sweep() -> list[str]:
        """Remove what laboratories left whose process is gone (kill -9). Returns the names of those runs."""
        folders = [folder for folder in Path(tempfile.gettempdir()).glob("ipoplab-*") if _is_own(folder)]
        names = [path.name for path in namespaces.FOLDER.glob("ipoplab-*")]
        dead: set[str] = set()
        for name in [*names, *(folder.name for folder in folders)]:
            run = RunName.parse(name)
            if run and not run.is_alive():
                dead.add(run.text)
        namespaces.delete(Namespace(name) for name in names if name.startswith(tuple(dead)))
        for folder in folders:
            if folder.name in dead:
                shutil.rmtree(folder, ignore_errors=True)
        return sorted(dead)

    def namespace(self, name: str) -> Namespace:
        """A bare namespace. Raises LabError when this laboratory has one of that name already."""
        if name in self._namespaces:
            raise LabError(f"host name {name!r} is taken in this laboratory")
        made = Namespace(self._run.of(name))
        self._namespaces[name] = made  # before it exists, so that an interrupted creation is cleaned up as well
        made.create()
        return made

    def segment(self, name: str = "public", *, network: IPv4Network = PUBLIC_NETWORK, ipv6: bool = False) -> Segment:
        """A public segment; with `ipv6` its hosts have addresses of 2001:db8::/64 too."""
        segment = Segment(self.namespace(name), "segment", network, PUBLIC_NETWORK6 if ipv6 else None)
        segment.build()
        return segment

    def host(self, name: str, segment: Segment) -> Host:
        """A computer on `segment`, with its next free address (the first is .2) and, in a home, a default route."""
        namespace = self.namespace(name)
        return Host(name, namespace, segment, segment.attach(name, namespace, "eth0"))

    def home(self, name: str, public: Segment, kind: NatKind, *, drop_unsolicited: bool = True) -> Home:
        """A host called `name` behind a router `NAME-router` of that kind, or on `public` itself when it is OPEN.

        The home's network is 10.77.N.0/24. `drop_unsolicited` as in `nat.ruleset`.
        """
        if kind is NatKind.OPEN:
            return Home(name, kind, self.host(name, public), None)
        namespace = self.namespace(f"{name}-router")
        wan = Host(f"{name}-router", namespace, public, public.attach(f"{name}-router", namespace, "wan"))
        network = IPv4Network(f"10.77.{next(self._home_numbers)}.0/24")
        lan = Segment(namespace, "lan", network, has_gateway=True)
        lan.build()
        host = self.host(name, lan)
        namespace.sysctl("net.ipv4.ip_forward", "1")
        namespace.run(["nft", "-f", "-"], stdin=ruleset(kind, host.address, drop_unsolicited=drop_unsolicited))
        return Home(name, kind, host, Router(wan, lan))

    def capture(self, where: Segment | Host, interface: str | None = None) -> Capture:
        """A capture, to be used in a `with` block: of all traffic on a segment, or of a host's card.

        `interface` is the host's card if it is another than that on its segment, such as `tapipop`.
        """
        if isinstance(where, Segment):
            return Capture(where.namespace, where.bridge)
        return Capture(where.namespace, interface or where.interface)

    def _clean(self) -> None:
        with interrupts_deferred():
            atexit.unregister(self._clean)
            try:
                namespaces.delete(self._namespaces.values())
            finally:
                shutil.rmtree(self.folder, ignore_errors=True)


def _is_own(folder: Path) -> bool:
    try:
        return folder.lstat().st_uid == os.geteuid()
    except FileNotFoundError:
        return False
