"""The special cases of NATs: `python -m benchmarks.nat_cases`.

Some are places: Alice pings Bob from the first packet on, and it is measured how long it takes until the pings go
straight. Some are changes: once they do, something happens to the network, and it is measured for how long no ping was
answered, and when they went straight again. In one they never do, and the relay dies. A TCP transfer runs through every
change, and must arrive whole over the one connection. A capture of the segment between the two says which way the pings
went, not the nodes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from itertools import pairwise
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.bare_overlay import Overlay, ask, bare_overlay
from benchmarks.homes import ADDRESSES, Neighbourhood, neighbourhood
from benchmarks.pinging import Pinging
from benchmarks.transfer import Transfer
from benchmarks.travel import follow
from ipop_core.errors import IpopError
from ipop_core.lab import Capture, Home, Host, LabError, Laboratory, LabTimeoutError, NatKind, Segment, udp_blocked

BARE_NODES: Final = 7
LIFETIME: Final = 20
"""Seconds for which the routers of the case `expiry` keep a mapping that carries nothing."""
IDLE: Final = 50.0
_POWER_CUT: Final = 2.0
BLOCKED: Final = 10.0
"""Seconds for which nothing passes between the two routers in the case `blocked`."""
_RELAYS: Final = 2
_BEFORE: Final = 1.0
_AFTER: Final = 1.0
_AFTER_DEATH: Final = 5.0
"""Seconds of pings before a change, after the direct path is there, and after a relay's death."""

_err = Console(stderr=True)

Ends = tuple[str, str]
"""The addresses at which Alice and Bob are seen on the segment that is captured."""


@dataclass(frozen=True)
class Scene:
    """What a case has built."""

    overlay: Overlay
    homes: Neighbourhood

    @property
    def public_ends(self) -> Ends:
        return self.homes.alice.public_address, self.homes.bob.public_address


@dataclass(frozen=True)
class Case:
    """`change` alters the networks and says where the two are seen from then on."""

    what: str
    build: Callable[[Laboratory, Overlay], list[Home]]
    change: Callable[[Scene], Ends] | None = None
    heals: bool = False
    """The change takes itself back: only then can they go straight again."""
    relayed: bool = False
    """They never go straight."""
    idle: float = 0.0
    """Seconds for which nothing is sent, instead of a change."""
    bootstraps: Callable[[Overlay], list[str]] = lambda overlay: [overlay.bootstrap]
    ends: Callable[[Scene], Ends] = lambda scene: scene.public_ends
    segment: Callable[[Scene], Segment] = lambda scene: scene.overlay.public


@dataclass(frozen=True)
class Outcome:
    """One run of one case. `direct_after_ms`: from the first ping until one had gone straight each way.

    The others, None where nothing changes: `silent_ms`, the longest time without an answer from the change on;
    `direct_again_ms`, from the change until pings and answers went straight again; what the TCP transfer carried.
    """

    case: str
    direct: bool = False
    direct_after_ms: float | None = None
    silent_ms: float | None = None
    direct_again_ms: float | None = None
    sent: int = 0
    received: int = 0
    tcp_bytes: int | None = None
    fault: str = ""

    @property
    def lost(self) -> int:
        return self.sent - self.received


def main(argv: Sequence[str] | None = None) -> int:
    options = _options().parse_args(argv)
    outcomes = []
    with bare_overlay(BARE_NODES, ipv6=True) as overlay:
        for _ in range(options.runs):
            for name in options.only or CASES:
                outcomes.append(_run(overlay, name, options))
                _err.print(_progress(outcomes[-1]), highlight=False)
    _err.print(_table(outcomes))
    if options.json:
        print(json.dumps({"delay_ms": options.delay, "cases": [asdict(outcome) for outcome in outcomes]}))
    return 1 if any(outcome.fault for outcome in outcomes) else 0


def _run(overlay: Overlay, name: str, options: argparse.Namespace) -> Outcome:
    case = CASES[name]
    try:
        with (
            ExitStack() as killed,
            neighbourhood(
                overlay, lambda lab: case.build(lab, overlay), delay=options.delay, bootstraps=case.bootstraps(overlay)
            ) as homes,
        ):
            scene = Scene(overlay, homes)
            killed.callback(_revive, overlay)
            segment = case.segment(scene)
            with Capture(segment.namespace, segment.bridge) as capture:
                outcome = _measure(name, case, scene, capture, options.seconds)
            if options.why:
                for node, other in (("alice", "bob"), ("bob", "alice")):
                    _err.print_json(data=ask(homes.nodes[node], "link", "why", {"address": ADDRESSES[other]}))
                    _err.print(homes.nodes[node].log(), markup=False, highlight=False)
            return outcome
    except (IpopError, LabError, OSError) as error:
        return Outcome(name, fault=str(error))


def _revive(overlay: Overlay) -> None:
    for node in overlay.nodes:
        if node.process is None:
            overlay.revive(node)


def _measure(name: str, case: Case, scene: Scene, capture: Capture, seconds: float) -> Outcome:
    if case.idle:
        return _through_idleness(name, case, scene, capture, seconds)
    alice, bob = scene.homes.alice.host, scene.homes.bob.host
    transfer = None if case.change is None else Transfer(alice.namespace, bob.namespace, ADDRESSES["bob"])
    direct = changed = again = None
    since = 0.0
    with ExitStack() as stack:
        with Pinging(alice, ADDRESSES["bob"]) as pinging:
            ends = case.ends(scene)
            if case.relayed:
                _wait_for_relays(scene, seconds)
            else:
                direct = _wait_until_direct(capture, scene, ends, pinging.began, seconds)
            if transfer is not None and case.change is not None:
                stack.enter_context(transfer)
                time.sleep(_BEFORE)
                changed = since = time.monotonic()
                ends = case.change(scene)
                if case.heals:
                    since = time.monotonic()
                if not case.relayed:
                    again = _wait_until_direct(capture, scene, ends, since, seconds)
            time.sleep(_AFTER)
        last = follow(capture.datagrams(), *ends, scene.overlay.addresses).direct_last
    return Outcome(
        name,
        direct=last,
        direct_after_ms=_ms(direct, pinging.began),
        silent_ms=None if changed is None else round(_silence(pinging, changed) * 1000, 1),
        direct_again_ms=None if changed is None else _ms(again, since),
        sent=pinging.sent,
        received=pinging.received,
        tcp_bytes=None if transfer is None else transfer.arrived,
        fault="" if transfer is None else transfer.fault,
    )


def _through_idleness(name: str, case: Case, scene: Scene, capture: Capture, seconds: float) -> Outcome:
    """Nothing is sent for so long that the routers forget what they were not reminded of; then all goes on."""
    alice, bob = scene.homes.alice.host, scene.homes.bob.host
    ends = case.ends(scene)
    transfer = Transfer(alice.namespace, bob.namespace, ADDRESSES["bob"])
    with transfer:
        with Pinging(alice, ADDRESSES["bob"]) as before:
            direct = _wait_until_direct(capture, scene, ends, before.began, seconds)
            time.sleep(_BEFORE)
        transfer.pause()
        time.sleep(case.idle)
        with Pinging(alice, ADDRESSES["bob"]) as after:
            transfer.resume()
            again = _wait_until_direct(capture, scene, ends, after.began, seconds)
            time.sleep(_AFTER)
    last = follow(capture.datagrams(), *ends, scene.overlay.addresses).direct_last
    return Outcome(
        name,
        direct=last,
        direct_after_ms=_ms(direct, before.began),
        silent_ms=round(_silence(after, after.began) * 1000, 1),
        direct_again_ms=_ms(again, after.began),
        sent=before.sent + after.sent,
        received=before.received + after.received,
        tcp_bytes=transfer.arrived,
        fault=transfer.fault,
    )


def _wait_until_direct(capture: Capture, scene: Scene, ends: Ends, since: float, seconds: float) -> float | None:
    """The moment since which pings and their answers go straight; None when they don't within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        recent = [datagram for datagram in capture.datagrams() if datagram.monotonic >= since]
        ways = [[datagram for datagram in recent if datagram.source == end] for end in ends]
        moments = [follow(way, *ends, scene.overlay.addresses).direct_at for way in ways]
        if None not in moments:
            return max(moment for moment in moments if moment is not None)
        time.sleep(0.1)
    return None


def _wait_for_relays(scene: Scene, seconds: float) -> None:
    """Until both know by which relay they talk, and the next one. Raises LabTimeoutError."""
    deadline = time.monotonic() + seconds
    while not all(len(_relays(scene, name)) >= _RELAYS for name in ADDRESSES):
        if time.monotonic() > deadline:
            raise LabTimeoutError(f"{_RELAYS} relays are not known after {seconds:g} s")
        time.sleep(0.1)


def _relays(scene: Scene, name: str) -> list[str]:
    """The relays that one of the two goes by to the other, the best one first."""
    (other,) = set(ADDRESSES) - {name}
    found = ask(scene.homes.nodes[name], "link", "why", {"address": ADDRESSES[other]})
    return [relay["node"] for relay in found["relays"]]


def _silence(pinging: Pinging, since: float) -> float:
    """Seconds without an answer, at worst, from then on."""
    moments = [since, *sorted(moment for moment in pinging.replies.values() if moment > since)]
    return max((after - before for before, after in pairwise(moments)), default=0.0)


def _ms(moment: float | None, since: float) -> float | None:
    return None if moment is None else round((moment - since) * 1000, 1)


# The places.


def _two_homes(lab: Laboratory, overlay: Overlay) -> list[Home]:
    return [lab.home(name, overlay.public, NatKind.PORT_RESTRICTED) for name in ADDRESSES]


def _behind_a_carrier(lab: Laboratory, overlay: Overlay) -> list[Home]:
    carriers = [lab.carrier(f"{name}-carrier", overlay.public, NatKind.PORT_RESTRICTED) for name in ADDRESSES]
    return [lab.home(name, carrier, NatKind.PORT_RESTRICTED) for name, carrier in zip(ADDRESSES, carriers, strict=True)]


def _behind_one_router(lab: Laboratory, overlay: Overlay) -> list[Home]:
    alice = lab.home("alice", overlay.public, NatKind.PORT_RESTRICTED)
    assert alice.router is not None
    return [alice, Home("bob", alice.kind, lab.host("bob", alice.router.lan), alice.router)]


def _ipv6_only(lab: Laboratory, overlay: Overlay) -> list[Home]:
    homes = [lab.home(name, overlay.public, NatKind.OPEN) for name in ADDRESSES]
    for home in homes:
        _without_ipv4(home.host, home.host.interface)
    return homes


def _with_broken_ipv6(lab: Laboratory, overlay: Overlay) -> list[Home]:
    """The routers give out IPv6 addresses and a default route, and let every packet vanish."""
    homes = _two_homes(lab, overlay)
    for number, home in enumerate(homes, 1):
        router = home.router
        assert router is not None
        router.wan.namespace.ip(f"address add fe80::1/64 dev {router.lan.bridge} nodad")
        rules = 'chain in { type filter hook prerouting priority raw; iifname "lan" ip6 daddr 2000::/3 drop; };'
        router.wan.namespace.run(["nft", "-f", "-"], stdin=f"table ip6 broken {{ {rules} }}\n")
        home.host.namespace.ip(
            f"address add 2001:db8:77:{number}::2/64 dev {home.host.interface} nodad",
            f"route add default via fe80::1 dev {home.host.interface}",
        )
    return homes


def _forgetful(lab: Laboratory, overlay: Overlay) -> list[Home]:
    return [lab.home(name, overlay.public, NatKind.PORT_RESTRICTED, lifetime=LIFETIME) for name in ADDRESSES]


def _symmetric(lab: Laboratory, overlay: Overlay) -> list[Home]:
    return [lab.home(name, overlay.public, NatKind.SYMMETRIC) for name in ADDRESSES]


def _with_a_friend(lab: Laboratory, overlay: Overlay) -> list[Home]:
    return [*_two_homes(lab, overlay), lab.home("friend", overlay.public, NatKind.PORT_RESTRICTED)]


def _with_ipv6_instead(lab: Laboratory, overlay: Overlay) -> list[Home]:
    """Alice is in a network with IPv6 alone, her home's card is off; Bob's home has native IPv6 beside the NAT."""
    homes = _with_ipv6_for_bob(lab, overlay)
    alice = homes[0].host
    alice.namespace.ip(f"link set {alice.interface} down")
    _attach_ipv6(overlay.public, alice)
    return homes


def _with_ipv6_for_bob(lab: Laboratory, overlay: Overlay) -> list[Home]:
    """Bob's home has native IPv6 beside the NAT; Alice's has none."""
    homes = _two_homes(lab, overlay)
    _attach_ipv6(overlay.public, homes[1].host)
    return homes


# The changes.


def _restart_the_router(scene: Scene) -> Ends:
    """Alice's router is without power for a while, and comes back with another public address."""
    router = scene.homes.alice.router
    assert router is not None
    old = ip_address(router.wan.address)
    new = ip_address(int(old) + 20_000)
    prefix = router.wan.segment.network.prefixlen
    namespace, card = router.wan.namespace, router.wan.interface
    namespace.ip(
        f"link set {router.lan.bridge} down", f"link set {card} down", f"address del {old}/{prefix} dev {card}"
    )
    time.sleep(_POWER_CUT)
    namespace.ip(f"address add {new}/{prefix} dev {card}", f"link set {card} up", f"link set {router.lan.bridge} up")
    return str(new), scene.homes.bob.public_address


def _move_to_the_friend(scene: Scene) -> Ends:
    (friend,) = scene.homes.others
    assert friend.router is not None
    host = scene.homes.alice.host
    host.namespace.ip(f"link del {host.interface}")
    friend.router.lan.attach("visitor", host.namespace, "eth1")
    return friend.public_address, scene.homes.bob.public_address


def _move_to_ipv6(scene: Scene) -> Ends:
    host, bob = scene.homes.alice.host, scene.homes.bob.host
    host.namespace.ip(f"link del {host.interface}")
    here = _attach_ipv6(scene.overlay.public, host)
    return here, _ipv6_address(bob)


def _move_to_ipv4(scene: Scene) -> Ends:
    alice = scene.homes.alice
    assert alice.router is not None
    card, gateway = alice.host.interface, alice.router.lan.gateway
    alice.host.namespace.ip("link del eth6", f"link set {card} up", f"route add default via {gateway}")
    return scene.public_ends


def _block_for_a_while(scene: Scene) -> Ends:
    with udp_blocked(scene.homes.alice, scene.homes.bob):
        time.sleep(BLOCKED)
    return scene.public_ends


def _kill_the_relay(scene: Scene) -> Ends:
    relay = scene.overlay.node(_relays(scene, "alice")[0])
    assert relay.process is not None
    relay.process.kill()
    relay.process.wait()
    relay.process = None
    time.sleep(_AFTER_DEATH)
    return scene.public_ends


def _attach_ipv6(public: Segment, host: Host) -> str:
    """Give a host one more card, on the public segment, with an IPv6 address alone; that address."""
    attachment = public.attach(f"{host.name}6", host.namespace, "eth6")
    _without_ipv4(host, attachment.interface)
    assert attachment.address6 is not None
    return attachment.address6


def _without_ipv4(host: Host, card: str) -> None:
    host.run(["ip", "-4", "address", "flush", "dev", card])


def _ipv6_address(host: Host) -> str:
    printed = host.run(["ip", "-6", "-j", "address", "show", "dev", "eth6", "scope", "global"]).stdout
    return str(json.loads(printed)[0]["addr_info"][0]["local"])


def _both_bootstraps(overlay: Overlay) -> list[str]:
    return [*_only_ipv6(overlay), overlay.bootstrap]


def _only_ipv6(overlay: Overlay) -> list[str]:
    assert overlay.bootstrap6 is not None
    return [overlay.bootstrap6]


def _native_ends(scene: Scene) -> Ends:
    return _ipv6_address(scene.homes.alice.host), _ipv6_address(scene.homes.bob.host)


def _ipv6_ends(scene: Scene) -> Ends:
    homes = scene.homes
    return str(homes.alice.host.address6), str(homes.bob.host.address6)


def _lan_ends(scene: Scene) -> Ends:
    return scene.homes.alice.host.address, scene.homes.bob.host.address


CASES: Final = {
    "double": Case("each behind a carrier's NAT over a home's", _behind_a_carrier),
    "same-router": Case(
        "both behind one router, which turns nothing round",
        _behind_one_router,
        ends=_lan_ends,
        segment=lambda scene: scene.homes.alice.host.segment,
    ),
    "ipv6-only": Case("no IPv4 at all", _ipv6_only, bootstraps=_only_ipv6, ends=_ipv6_ends),
    "broken-ipv6": Case("IPv6 addresses and routes that lead nowhere", _with_broken_ipv6, bootstraps=_both_bootstraps),
    "expiry": Case(f"mappings end after {LIFETIME} s, {IDLE:g} s of silence", _forgetful, idle=IDLE),
    "restart": Case(
        f"a router without power for {_POWER_CUT:g} s, then with a new address", _two_homes, change=_restart_the_router
    ),
    "roaming": Case("from one router's network to another's", _with_a_friend, change=_move_to_the_friend),
    "ipv4-to-ipv6": Case(
        "from behind an IPv4 NAT to a network with IPv6 alone",
        _with_ipv6_for_bob,
        change=_move_to_ipv6,
        bootstraps=_both_bootstraps,
    ),
    "ipv6-to-ipv4": Case(
        "from a network with IPv6 alone to behind an IPv4 NAT",
        _with_ipv6_instead,
        change=_move_to_ipv4,
        bootstraps=_both_bootstraps,
        ends=_native_ends,
    ),
    "blocked": Case(
        f"nothing passes between the two routers for {BLOCKED:g} s", _two_homes, change=_block_for_a_while, heals=True
    ),
    "relay": Case("both relayed, and the relay is killed", _symmetric, change=_kill_the_relay, relayed=True),
}


def _progress(outcome: Outcome) -> str:
    way = f"direct after {outcome.direct_after_ms} ms" if outcome.direct else "relayed"
    text = f"{outcome.case}: {way}, {outcome.lost} of {outcome.sent} pings lost"
    if outcome.silent_ms is not None:
        text += f"; silent {outcome.silent_ms} ms, direct again {outcome.direct_again_ms} ms, {outcome.tcp_bytes} B TCP"
    return f"{text}; {outcome.fault}" if outcome.fault else text


def _table(outcomes: Sequence[Outcome]) -> Table:
    shown = Table(title="special cases; times in ms")
    for name in ("case", "what", "direct after", "silent", "direct again", "pings lost", "TCP"):
        shown.add_column(name)
    for outcome in outcomes:
        tcp = "" if outcome.tcp_bytes is None else outcome.fault or f"whole, {outcome.tcp_bytes / 1e6:.1f} MB"
        times = (outcome.direct_after_ms, outcome.silent_ms, outcome.direct_again_ms)
        cells = ["-" if value is None else f"{value:.0f}" for value in times]
        lost = f"{outcome.lost} of {outcome.sent}"
        shown.add_row(outcome.case, CASES[outcome.case].what, *cells, lost, tcp)
    return shown


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nat_cases", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--runs", type=int, default=1, help="of every case (1)")
    parser.add_argument("--seconds", type=float, default=20.0, help="to wait for a direct path, at most (20)")
    parser.add_argument("--delay", type=float, default=20.0, metavar="MS", help="of each home's line, each way (20)")
    parser.add_argument("--why", action="store_true", help="print what both nodes say of their paths, and their logs")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
