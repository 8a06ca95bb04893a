"""What an ordinary user may do, as user 65534 (nobody)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from ipop_core.lab import LabError, Laboratory, NatKind, Rights

pytestmark = [
    pytest.mark.net,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]

SOURCE = Path(__file__).parents[2]
# The first program is still opened with root's rights; `env` takes that place, so that nothing else has them.
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env"]

SHOW_RIGHTS = """
from dataclasses import asdict
import json
from ipop_core.lab import capabilities
print(json.dumps(asdict(capabilities())))
"""

TWO_HOSTS = """
import os, sys
from ipop_core.lab import Laboratory, NatKind, capabilities, enter_user_namespace

rights = capabilities()
if not rights.laboratory:
    print("outside", os.geteuid(), flush=True)
    enter_user_namespace([sys.executable, *sys.orig_argv[1:]])
assert not rights.user_namespace
print("inside", os.geteuid(), flush=True)
with Laboratory() as lab:
    public = lab.segment()
    boot = lab.host("boot", public)
    alice = lab.home("alice", public, NatKind.SYMMETRIC)
    with lab.capture(public) as capture:
        alice.host.run(["ping", "-c1", "-W1", boot.address])
    print("pinged", len(capture.packets(alice.public_address, boot.address)), flush=True)
print("left", os.listdir("/run/netns"))
"""


@pytest.fixture(scope="module")
def python() -> str:
    """An interpreter that nobody may run; this one may lie in root's own folder."""
    for candidate in (sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin")):
        command = [*AS_NOBODY, str(candidate), "-c", "import ipop_core"]
        if subprocess.run(command, cwd=SOURCE, capture_output=True, check=False).returncode == 0:
            return str(candidate)
    pytest.skip("no Python interpreter and source folder that an ordinary user may read")


def run_as_nobody(command: list[str]) -> str:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(SOURCE)}  # an ordinary user's: no sbin
    done = subprocess.run(
        [*AS_NOBODY, *command], capture_output=True, text=True, env=environment, cwd="/", timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_granted_can_be_done(rights: Rights) -> None:
    assert rights.root
    with Laboratory() as lab, ExitStack() as refused:
        if not rights.laboratory:
            refused.enter_context(pytest.raises(LabError))
        home = lab.home("alice", lab.segment(), NatKind.FULL_CONE)
        tap = home.host.run(["ip", "tuntap", "add", "mode", "tap", "name", "tried"], check=False)
        assert bool(rights.tun) == (tap.returncode == 0), rights.tun.reason


def test_what_is_refused_is_refused_with_its_reason(python: str) -> None:
    rights = json.loads(run_as_nobody([python, "-c", SHOW_RIGHTS]))
    assert rights["root"] == {"granted": False, "reason": "running as user id 65534, not root"}
    assert not rights["namespaces"]["granted"]
    assert "ip netns add" in rights["namespaces"]["reason"]
    assert rights["nftables"]["reason"].startswith("no namespaces: ")
    assert rights["tun"]["granted"] or "/dev/net/tun: " in rights["tun"]["reason"]


@pytest.mark.usefixtures("user_namespace_allowed")
def test_a_user_builds_a_laboratory_in_a_user_namespace(python: str) -> None:
    printed = run_as_nobody([python, "-c", TWO_HOSTS])
    assert printed.splitlines() == ["outside 65534", "inside 0", "pinged 1", "left []"]
