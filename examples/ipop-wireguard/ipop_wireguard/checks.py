"""What WireGuard needs of this machine, for `ipop doctor` and `ipop-controller --check`."""

import errno
import os
import shutil
from collections.abc import Sequence

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipop_core.contract import Finding
from ipop_wireguard.tunnel import PROGRAM

PACKAGES = {"wg": "wireguard-tools", "nft": "nftables"}


def examine() -> Sequence[Finding]:
    return [_examine_wireguard(), *(_examine_program(program) for program in PACKAGES)]


def _examine_wireguard() -> Finding:
    """Make an interface that goes at once."""
    check, name = "WireGuard", f"wgtry{os.getpid() % 10**9}"
    try:
        with IPRoute() as route:
            route.link("add", ifname=name, kind="wireguard")
            route.link("del", ifname=name)
    except NetlinkError as error:
        if error.code == errno.EPERM:
            return Finding(check=check, verdict="unknown", found="this user may make no interface", mend="run as root")
        if shutil.which(PROGRAM):
            return Finding(check=check, verdict="good", found=f"by {PROGRAM}: this kernel has none")
        mend = f"modprobe wireguard, or: apt-get install {PROGRAM}"
        found = f"this kernel has none, and there is no {PROGRAM}"
        return Finding(check=check, verdict="bad", found=found, mend=mend)
    return Finding(check=check, verdict="good", found="the kernel's")


def _examine_program(program: str) -> Finding:
    path = shutil.which(program)
    if path is None:
        mend = f"apt-get install {PACKAGES[program]}"
        return Finding(check=program, verdict="bad", found="is missing", mend=mend)
    return Finding(check=program, verdict="good", found=path)
