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
BRIDGE_FILTER: Final = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
"""There where the kernel has the module br_netfilter."""


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

    def home(
        self,
        name: str,
        public: Segment | Router,
        kind: NatKind,
        *,
        drop_unsolicited: bool = True,
        hairpin: bool = False,
        lifetime: int | None = None,
    ) -> Home:
        """A host called `name` behind a router `NAME-router` of that kind, or on `public` itself when it is OPEN.

        `public` is the public segment, or a carrier's router. The home's network is 10.77.N.0/24. `drop_unsolicited`
        as in `nat.ruleset`; `hairpin` only with FULL_CONE; a mapping that carried nothing for `lifetime` seconds goes.
        """
        if kind is NatKind.OPEN:
            return Home(name, kind, self.host(name, public.lan if isinstance(public, Router) else public), None)
        network = IPv4Network(f"10.77.{next(self._home_numbers)}.0/24")
        router = self._router(f"{name}-router", public, network)
        host = self.host(name, router.lan)
        self._translate(router, kind, drop_unsolicited=drop_unsolicited, hairpin=hairpin, lifetime=lifetime)
        return Home(name, kind, host, router)

    def carrier(self, name: str, public: Segment, kind: NatKind, *, hairpin: bool = False) -> Router:
        """A carrier's router of that kind, for homes behind it (RFC 6888). Its network is 100.64.N.0/24 (RFC 6598)."""
        router = self._router(name, public, IPv4Network(f"100.64.{next(self._home_numbers)}.0/24"))
        self._translate(router, kind, drop_unsolicited=True, hairpin=hairpin, lifetime=None)
        return router

    def twin(self, home: Home, name: str, public: Segment) -> Router:
        """Another home's router, which gives out the same addresses as that of `home`, and is of the same kind."""
        if home.router is None:
            raise LabError(f"{home.name} has no router")
        router = self._router(name, public, home.router.lan.network)
        self._translate(router, home.kind, drop_unsolicited=True, hairpin=False, lifetime=None)
        return router

    def _router(self, name: str, public: Segment | Router, network: IPv4Network) -> Router:
        carrier = public if isinstance(public, Router) else None
        outside = public.lan if isinstance(public, Router) else public
        namespace = self.namespace(name)
        wan = Host(name, namespace, outside, outside.attach(name, namespace, "wan"))
        lan = Segment(namespace, "lan", network, has_gateway=True)
        lan.build()
        namespace.sysctl("net.ipv4.ip_forward", "1")
        if BRIDGE_FILTER.exists():
            # Or what is turned round would be bridged, past the rules for what is routed.
            namespace.sysctl("net.bridge.bridge-nf-call-iptables", "0")
        return Router(wan, lan, carrier)

    def _translate(
        self, router: Router, kind: NatKind, *, drop_unsolicited: bool, hairpin: bool, lifetime: int | None
    ) -> None:
        """Load the rules; what a cone hands on goes to the first host of the router's network."""
        if hairpin and kind is not NatKind.FULL_CONE:
            raise LabError(f"a {kind.value} router with hairpin: only a {NatKind.FULL_CONE.value} one can have it")
        namespace = router.wan.namespace
        rules = ruleset(
            kind,
            str(router.lan.network[2]),
            drop_unsolicited=drop_unsolicited,
            hairpin=router.wan.address if hairpin else None,
        )
        namespace.run(["nft", "-f", "-"], stdin=rules)
        for state in ("timeout", "timeout_stream") if lifetime is not None else ():
            namespace.sysctl(f"net.netfilter.nf_conntrack_udp_{state}", str(lifetime))

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
