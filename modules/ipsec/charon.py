"""A charon (strongSwan's IKE daemon) of the node's own.

It sees a /run of its own, a folder of this node: there it puts its pid file, which has one fixed place, its control
socket, and there lies its configuration. So several run on one machine, nothing in /etc is touched, and the paths are
those that Debian's AppArmor profile allows. It has no other configuration and loads only these plugins: none of them
fetches what a certificate names. It remembers no certificate: a peer is judged by what it shows now. It dies with the
module; its associations stay in the kernel. A shell sees to that: the kernel forgets the signal that a process wants at
its parent's death (prctl(2), PR_SET_PDEATHSIG) when AppArmor confines what it executes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ipop_core.errors import IpopError
from ipop_core.files import private_folder

PLUGINS: Final = (
    "random nonce x509 openssl kdf pem pkcs1 pkcs8 pubkey revocation constraints kernel-netlink socket-default vici"
)
SOCKET: Final = "charon.vici"
PID_FILE: Final = "charon.pid"
_CONFIGURATION: Final = "charon.conf"
_STOP_SECONDS: Final = 1.5
_END_SECONDS: Final = 1.0
"""From the end of its connection to that of its process."""
_SIGNALLED: Final = 128
"""A shell's status above it is the number of the signal that ended what it waited for."""
ACQUIRE_SECONDS: Final = 10
"""The kernel asks again for keys after so long; longer than one exchange of IKE may take."""
_RETRANSMISSION: Final = {"retransmit_timeout": 0.6, "retransmit_base": 1.5, "retransmit_tries": 4}
"""Seconds: again after 0.6, 0.9, 1.4 and 2.0, given up 3.0 later."""

_SCRIPT: Final = """
mount --bind "$0" "$(readlink -f /var/run)" || exit
trap 'kill -KILL $!' HUP
trap 'kill -TERM $!' TERM
"$1" &
until wait $!; status=$?; ! kill -0 $!; do :; done 2>/dev/null
exit $status
"""
"""HUP: the module has died. TERM: it stops. `wait` returns for a signal, too."""

log = logging.getLogger("ipop.ipsec")
_charon_log = logging.getLogger("ipop.ipsec.charon")


def configuration(card: str) -> str:
    """strongswan.conf(5) for a charon that serves one card."""
    retransmission = "\n".join(f"  {key} = {value}" for key, value in _RETRANSMISSION.items())
    return f"""charon {{
  load = {PLUGINS}
  threads = 8
  interfaces_use = {card}
  install_routes = no
  install_virtual_ip = no
{retransmission}
  make_before_break = yes
  cert_cache = no
  plugins {{
    vici {{
      socket = unix:///run/{SOCKET}
    }}
    kernel-netlink {{
      xfrm_acq_expires = {ACQUIRE_SECONDS}
      policy_update = yes
    }}
  }}
  filelog {{
    stderr {{
      default = 1
      knl = 0
      flush_line = yes
    }}
  }}
}}
"""


class Charon:
    """One process of it; `folder` becomes its /run."""

    def __init__(self, program: str, folder: Path, card: str) -> None:
        self._program = program
        self._folder = folder
        self._card = card
        self._process: asyncio.subprocess.Process | None = None
        self._logging: asyncio.Task[None] | None = None

    @property
    def socket(self) -> Path:
        return self._folder / SOCKET

    async def start(self) -> None:
        """Start it; its socket comes a little later. Raises IpopError."""
        _check_programs(self._program)
        private_folder(self._folder)
        self._end_predecessor()
        for name in (SOCKET, PID_FILE):
            (self._folder / name).unlink(missing_ok=True)
        (self._folder / _CONFIGURATION).write_text(configuration(self._card))
        self._process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "HUP", "unshare", "--mount", "--propagation", "private"),
            *("sh", "-c", _SCRIPT, str(self._folder), self._program),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )
        self._logging = asyncio.create_task(_pass_on(self._process.stderr))

    async def ending(self) -> str:
        """How it ended, or that it hangs: the end of a sentence."""
        if self._process is None:
            return ": not started"
        try:
            async with asyncio.timeout(_END_SECONDS):
                status = await self._process.wait()
        except TimeoutError:
            return ", but its process has not: it is ended"
        if status > _SIGNALLED:
            return f": signal {status - _SIGNALLED}"
        return f": signal {-status}" if status < 0 else f": status {status}"

    async def stop(self) -> None:
        """Let it say goodbye to its peers, and end it."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    def _end_predecessor(self) -> None:
        """End a charon of this node whose module was killed before it could be told to die with it."""
        try:
            pid = int((self._folder / PID_FILE).read_text())
            if Path(f"/proc/{pid}/exe").resolve() == Path(self._program).resolve():
                os.kill(pid, signal.SIGKILL)
        except (OSError, ValueError):
            return


def _check_programs(charon: str) -> None:
    if not os.access(charon, os.X_OK):
        raise IpopError(f"modules.ipsec.charon: there is no {charon}; install Debian's package strongswan-charon")
    for program in ("setpriv", "unshare", "mount"):
        if shutil.which(program) is None:
            raise IpopError(f"modules.ipsec: {program} is missing; install Debian's packages util-linux and mount")


def _environment() -> Mapping[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "STRONGSWAN_CONF": f"/run/{_CONFIGURATION}"}


async def _pass_on(stream: asyncio.StreamReader | None) -> None:
    """What charon says goes into the node's log."""
    while stream is not None and (line := await stream.readline()):
        _charon_log.debug(line.decode(errors="replace").rstrip())
