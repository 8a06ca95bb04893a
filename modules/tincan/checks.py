"""What the card and the links need of this machine, for `ipop doctor`."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator, Sequence
from fcntl import ioctl
from struct import Struct
from typing import Final

from ipop_core.bus.api import JsonObject
from ipop_core.contract import Ask, CheckContext, Finding, Verdict

from .link.protocol.mapping import Mapping
from .network_checks import examine_networks
from .settings import TincanSettings
from .version_checks import examine_versions

NAT_PATIENCE: Final = 2.0
"""Seconds for peers to say at which address they see this node."""
POLL: Final = 0.1
NAT_VERDICTS: Final[dict[Mapping, Verdict]] = {
    Mapping.UNKNOWN: "unknown",
    Mapping.NONE: "good",
    Mapping.INDEPENDENT: "good",
    Mapping.ADDRESS_DEPENDENT: "warning",
    Mapping.DEPENDENT: "warning",
}
_TUN: Final = "/dev/net/tun"
_TUNSETIFF: Final = 0x400454CA
_IFF_TAP_NO_PI: Final = 0x1002
_IFREQ: Final = Struct("16sH22x")


def examine(context: CheckContext) -> Sequence[Finding]:
    settings: TincanSettings = context.settings
    return [
        *_examine_card(settings, context),
        *examine_networks(settings.card_settings),
        *_examine_port(settings, context.running),
        *_examine_nat(settings, context.ask),
        *examine_versions(context.ask),
    ]


def _examine_card(settings: TincanSettings, context: CheckContext) -> Iterator[Finding]:
    if settings.card is None:
        yield Finding(check="card", verdict="good", found="a bare node has none")
    elif settings.card_type == "user":
        yield Finding(check="card", verdict="good", found="in user space: it needs nothing, and only answers pings")
    elif context.running:
        yield _examine_own_card(context.ask)
    else:
        yield from try_tun()


def _examine_own_card(ask: Ask) -> Finding:
    """The running node's."""
    card = (ask("link", "status") or {}).get("card")
    if not card:
        mend = "see the log of the role link"
        return Finding(check="card", verdict="bad", found="the running node has none", mend=mend)
    if card.get("blocked"):
        mend = "the log of that role says why; ipop modules says whether it runs"
        found = f"nothing passes {card['name']}: {card['blocked']}"
        return Finding(check="card", verdict="bad", found=found, mend=mend)
    if not card["up"]:
        mend = "wait a moment; then the log of the role link says why"
        return Finding(check="card", verdict="bad", found=f"{card['name']} is not up", mend=mend)
    return Finding(check="card", verdict="good", found=f"{card['name']} is up")


def try_tun() -> list[Finding]:
    """Make a card, as this user, that goes at once."""
    try:
        descriptor = os.open(_TUN, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return [Finding(check="TUN", verdict="bad", found=f"{_TUN}: {error.strerror}", mend=_mend_tun(error))]
    there = Finding(check="TUN", verdict="good", found=_TUN)
    try:
        ioctl(descriptor, _TUNSETIFF, _IFREQ.pack(b"", _IFF_TAP_NO_PI))
    except OSError as error:
        if error.errno != errno.EPERM:
            found = f"{_TUN} makes no card: {error.strerror}"
            return [Finding(check="TUN", verdict="bad", found=found, mend="modprobe tun; dmesg says more")]
        mend = "run as root (sudo), as the service ipop@NAME, or in a container with --cap-add NET_ADMIN"
        found = "CAP_NET_ADMIN is missing: this user may make no card"
        return [there, Finding(check="capabilities", verdict="bad", found=found, mend=mend)]
    finally:
        os.close(descriptor)
    return [there, Finding(check="capabilities", verdict="good", found="a card can be made")]


def _mend_tun(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"run as root (sudo), or: chmod 0666 {_TUN}"
    container = "in a container: --device /dev/net/tun; on a rented machine, ask whoever runs it to allow TUN"
    return f'modprobe tun; {container}; without it: modules.tincan.card_type: "user"'


def _examine_port(settings: TincanSettings, running: bool) -> Iterator[Finding]:
    """Whether the UDP port is free, where the node does not have it."""
    if running or settings.port == 0:
        return
    check = f"UDP port {settings.port}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("", settings.port))
        except OSError as error:
            mend = f"ss -ulpn sport = :{settings.port} says who has it; or modules.tincan.port: another one"
            yield Finding(check=check, verdict="bad", found=str(error.strerror), mend=mend)
            return
    yield Finding(check=check, verdict="good", found="free")


def _examine_nat(settings: TincanSettings, ask: Ask) -> Iterator[Finding]:
    answer = _netcheck(ask)
    if answer is None:
        yield Finding(check="NAT", verdict="unknown", found="there is no node to find out with", mend="ipop up")
        return
    ipv4 = answer["ipv4"]
    verdict = NAT_VERDICTS[Mapping(ipv4["mapping"])]
    mapped = answer["port_mapping"]
    if mapped is not None and verdict == "warning":
        verdict = "good"
    found = f"{ipv4['mapping']}: {ipv4['meaning']}" + (f" The router maps {mapped['outer']}." if mapped else "")
    port = settings.port or answer["port"]
    mend = f"switch on PCP, NAT-PMP or UPnP in the router, or forward UDP port {port} to this machine"
    if verdict == "unknown":
        mend = "two bootstraps in modules.signal.bootstraps"
    yield Finding(check="NAT", verdict=verdict, found=found, mend="" if verdict == "good" else mend)
    if answer["mtu"] is not None:
        yield Finding(check="datagrams", verdict="good", found=f"of up to {answer['mtu']} bytes pass")


def _netcheck(ask: Ask) -> JsonObject | None:
    deadline = time.monotonic() + NAT_PATIENCE
    while (answer := ask("link", "netcheck")) is not None:
        if answer["ipv4"]["mapping"] != Mapping.UNKNOWN.value or time.monotonic() > deadline:
            break
        time.sleep(POLL)
    return answer
