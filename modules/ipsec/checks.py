"""What IPsec needs of this machine, for `ipop doctor`: ESP in the kernel, and a charon that may do its work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from ipop_core.contract import CheckContext, Finding
from ipop_core.errors import IpopError
from ipop_modules.ipsec.settings import Settings
from ipop_modules.ipsec.xfrm import NotPermittedError, Xfrm

PROFILES: Final = Path("/sys/kernel/security/apparmor/profiles")
"""One line for each profile that is loaded: its name, and its mode in brackets."""


def examine(context: CheckContext) -> Sequence[Finding]:
    settings: Settings = context.settings
    return [_examine_esp(), examine_charon(settings), examine_apparmor(settings.charon, PROFILES)]


def _examine_esp() -> Finding:
    check = "kernel ESP"
    try:
        with Xfrm() as xfrm:
            xfrm.try_esp(ip_address("127.0.0.1"))
    except NotPermittedError as error:
        return Finding(check=check, verdict="unknown", found=str(error), mend="run as root")
    except (IpopError, OSError) as error:
        mend = "run as root; modprobe esp4 esp6 xfrm_user; or a kernel with CONFIG_INET_ESP"
        return Finding(check=check, verdict="bad", found=str(error), mend=mend)
    return Finding(check=check, verdict="good", found="an association with AES-GCM can be made")


def examine_charon(settings: Settings) -> Finding:
    """Whether there is one to start, or one that runs where the settings say so."""
    check = "charon"
    if settings.vici is not None:
        if Path(settings.vici).is_socket():
            return Finding(check=check, verdict="good", found=f"a running one, at {settings.vici}")
        mend = "systemctl start strongswan; or leave modules.ipsec.vici out"
        return Finding(check=check, verdict="bad", found=f"nobody listens at {settings.vici}", mend=mend)
    if os.access(settings.charon, os.X_OK):
        return Finding(check=check, verdict="good", found=settings.charon)
    mend = "apt-get install strongswan-charon libstrongswan-standard-plugins libstrongswan-extra-plugins"
    return Finding(check=check, verdict="bad", found=f"there is no {settings.charon}", mend=mend)


def examine_apparmor(charon: str, profiles: Path) -> Finding:
    """What AppArmor lets charon do; `profiles` is the kernel's list of those that are loaded."""
    check = "AppArmor"
    try:
        loaded = dict(line.rsplit(" ", 1) for line in profiles.read_text().splitlines())
    except FileNotFoundError:
        return Finding(check=check, verdict="good", found="is off")
    except OSError as error:
        found = f"{profiles} can't be read: {error.strerror}"
        return Finding(check=check, verdict="unknown", found=found, mend="run as root")
    if loaded.get(charon, loaded.get("charon")) != "(enforce)":
        return Finding(check=check, verdict="good", found="leaves charon alone")
    found = "confines charon to what Debian's profile allows, which is all that it needs"
    return Finding(check=check, verdict="good", found=found)
