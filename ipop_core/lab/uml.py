"""Another kernel on this machine: User-Mode Linux, for what this one lacks, such as ESP.

Debian's package user-mode-linux brings a kernel that is an ordinary program. It boots in a few seconds with this
machine's own files as its root, read-only, so that every program that is here is there; what is written below /tmp,
/run and /dev goes when it ends. AppArmor is on, without any profile: whoever wants one loads it. One folder is shared
and writable, at the same path inside and outside.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ipop_core.lab.commands import Command
from ipop_core.lab.errors import LabError, LabTimeoutError
from ipop_core.lab.rights import Right

KERNEL: Final = "linux.uml"
MODULES: Final = Path("/usr/lib/uml/modules")
LOADED: Final = ("ipv6", "tun", "veth", "bridge", "esp4", "esp6", "gcm", "xfrm_user", "nf_tables", "sch_netem")
MEMORY: Final = "2G"
"""Taken from this machine only as far as it is used."""
OUTPUT_FILE: Final = "uml-output"
_STATUS_FILE: Final = "uml-status"
_CONSOLE_FILE: Final = "uml-console"
_INIT_FILE: Final = "uml-init"
_LAST_LINES: Final = 15
_LOADER: Final = "/run/loader"
"""Inside: where modprobe finds the modules, since the machine's own /lib/modules need not even exist."""


def uml_right() -> Right:
    """Whether User-Mode Linux is here."""
    if shutil.which(KERNEL) is None:
        return Right(False, f"no {KERNEL}: Debian's package user-mode-linux brings it")
    if not MODULES.is_dir():
        return Right(False, f"no {MODULES}: Debian's package user-mode-linux brings it")
    if shutil.which("modprobe") is None:
        return Right(False, "no modprobe: Debian's package kmod brings it")
    return Right(True)


def run_in_uml(
    command: Command, *, shared: Path, folder: Path, env: Mapping[str, str], timeout: float, memory: str = MEMORY
) -> int:
    """Boot, run `command` as root in `folder`, and power off; returns the command's exit code.

    What it prints goes to OUTPUT_FILE in `shared` as it comes. `env` is the whole environment but for PATH and HOME.
    Raises LabError when the kernel ends without having run it, LabTimeoutError after `timeout` seconds.
    """
    shared = shared.resolve()
    for name in (OUTPUT_FILE, _STATUS_FILE):
        (shared / name).unlink(missing_ok=True)
    init = shared / _INIT_FILE
    init.write_text(_init_script(command, shared, folder, env))
    init.chmod(0o700)
    kernel = [
        *(KERNEL, f"mem={memory}", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet"),
        *("con=null", "con0=null,fd:1", f"uml_dir={shared}/uml", f"init={init}", "security=apparmor"),
    ]
    console = shared / _CONSOLE_FILE
    with console.open("wb") as output:
        process = subprocess.Popen(
            [*_on_one_processor(), *kernel],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabTimeoutError(f"User-Mode Linux: {command[0]}: not done after {timeout:g} s") from None
        finally:
            _end(process)
    try:
        return int((shared / _STATUS_FILE).read_text())
    except (OSError, ValueError):
        lines = console.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        raise LabError("User-Mode Linux ended without running the command:\n" + "\n".join(lines)) from None


def _init_script(command: Command, shared: Path, folder: Path, env: Mapping[str, str]) -> str:
    exports = "\n".join(f"export {key}={shlex.quote(value)}" for key, value in env.items())
    where = shlex.quote(str(shared))
    seen = " ".join(shlex.quote(str(path)) for path in _hidden(shared, folder))
    return f"""#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t securityfs securityfs /sys/kernel/security
for folder in /run /tmp; do mount -t tmpfs tmpfs $folder; done
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
for folder in {seen}; do mkdir -p $folder && mount -t hostfs none $folder -o $folder; done
mkdir -p {_LOADER}/lib
ln -s {MODULES} {_LOADER}/lib/modules
printf '#!/bin/sh\nexec modprobe -d {_LOADER} "$@"\n' > {_LOADER}/modprobe
chmod 755 {_LOADER}/modprobe
echo {_LOADER}/modprobe > /proc/sys/kernel/modprobe
for module in {" ".join(LOADED)}; do {_LOADER}/modprobe $module; done
ip link set lo up
{exports}
cd {shlex.quote(str(folder))}
{shlex.join(os.fspath(word) for word in command)} < /dev/null > {where}/{OUTPUT_FILE} 2>&1
echo $? > {where}/{_STATUS_FILE}
sync
echo o > /proc/sysrq-trigger
sleep 10
"""


def _hidden(shared: Path, folder: Path) -> list[Path]:
    """What must be seen inside although it may lie below a folder that is empty there: files, code and interpreter."""
    wanted = [shared, folder.absolute(), Path(__file__).parents[2], Path(sys.prefix)]
    return [path for path in wanted if path == shared or path.is_relative_to("/tmp")]  # noqa: S108 - mounted above


def _on_one_processor() -> list[str]:
    """For every system call and page fault, the kernel and the process inside wait for each other.

    Where they have more than one processor, each of these turns wakes the other one up, which then has to wait behind
    whatever else is busy there: a kernel beside other work took up to twice as long.
    """
    return ["taskset", "--cpu-list", str(max(os.sched_getaffinity(0)))]


def _end(process: subprocess.Popen[bytes]) -> None:
    """The kernel and the processes that it keeps for those inside."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
