"""What this machine lets this process do, found out by trying."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from dataclasses import dataclass
from typing import Final

from ipop_core.lab import commands
from ipop_core.lab import namespace as namespaces
from ipop_core.lab.errors import LabError
from ipop_core.lab.names import RunName
from ipop_core.lab.namespace import Namespace
from ipop_core.lab.nat import NatKind, ruleset
from ipop_core.lab.user_namespace import is_inside, unshare_command

_TUN_DEVICE: Final = "/dev/net/tun"
_TUNSETIFF: Final = 0x400454CA
_IFF_TAP_NO_PI: Final = 0x1002
_IFREQ: Final = struct.Struct("16sH22x")


@dataclass(frozen=True)
class Right:
    """True or false, and why not."""

    granted: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.granted


@dataclass(frozen=True)
class Rights:
    root: Right
    namespaces: Right
    """Network namespaces can be made and entered."""
    nftables: Right
    """A home router's rules can be loaded."""
    tun: Right
    """A TAP card can be made."""
    user_namespace: Right
    """`enter_user_namespace` would get further."""

    @property
    def laboratory(self) -> Right:
        """A Laboratory with homes can be built."""
        return self.nftables if self.namespaces else self.namespaces


def capabilities() -> Rights:
    """Try everything, leaving nothing behind. Takes some 30 ms and two or three processes."""
    root = Right(True) if os.geteuid() == 0 else Right(False, f"running as user id {os.geteuid()}, not root")
    trial = Namespace(RunName.of_this_process().of("trial"))
    try:
        trial.create()
        trial.call(lambda: None)
    except (LabError, OSError) as error:
        refused = Right(False, str(error))
        return Rights(root, refused, Right(False, f"no namespaces: {error}"), _try_tap(), _try_user_namespace())
    else:
        return Rights(root, Right(True), _try_nftables(trial), trial.call(_try_tap), _try_user_namespace())
    finally:
        namespaces.delete([trial])


def _try_nftables(trial: Namespace) -> Right:
    try:
        trial.sysctl("net.ipv4.ip_forward", "1")
        trial.run(["nft", "-f", "-"], stdin=ruleset(NatKind.ADDRESS_RESTRICTED, "10.77.0.2"))  # it has all the others'
    except LabError as error:
        return Right(False, str(error))
    return Right(True)


def _try_tap() -> Right:
    """Make a TAP that goes when its descriptor is closed, in the namespace of the calling thread."""
    try:
        descriptor = os.open(_TUN_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return Right(False, f"{_TUN_DEVICE}: {error.strerror}")
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, _IFREQ.pack(b"", _IFF_TAP_NO_PI))
    except OSError as error:
        hint = " (CAP_NET_ADMIN is missing)" if error.errno == errno.EPERM else ""
        return Right(False, f"{_TUN_DEVICE}: {error.strerror}{hint}")
    finally:
        os.close(descriptor)
    return Right(True)


def _try_user_namespace() -> Right:
    if is_inside():
        return Right(False, "already in a user namespace of its own")
    try:
        commands.run(unshare_command(["ip", "netns", "add", "trial"]))
    except LabError as error:
        return Right(False, str(error))
    return Right(True)
