"""Debian's own AppArmor profile for charon confines a node's charon, too, and it needs nothing that this forbids.

Every test beside this one runs under the profile.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ipop_core.contract import CheckContext
from ipop_core.lab import commands
from ipop_modules.ipsec.checks import examine
from ipop_modules.ipsec.settings import Settings
from tests.uml.town import Town

pytestmark = [pytest.mark.uml, pytest.mark.net, pytest.mark.slow]


def denials() -> list[str]:
    return re.findall(r'apparmor="DENIED".*', commands.run(["dmesg"]).stdout)


def test_charon_is_confined_and_nothing_is_denied(town: Town) -> None:
    for member in town.members:
        assert member.ping(town.bob.address if member is town.alice else town.alice.address, count=3).received == 3
        label = Path(f"/proc/{member.charon()}/attr/current").read_text()
        assert label.strip("\0\n") == "/usr/lib/ipsec/charon (enforce)"
    assert denials() == []
    # The doctor, too, finds all that IPsec needs.
    context = CheckContext(node_name="alice", settings=Settings(), running=False, ask=lambda *_: None)
    found = {item.check: item for item in examine(context)}
    assert {check: item.verdict for check, item in found.items()} == dict.fromkeys(
        ("kernel ESP", "charon", "AppArmor"), "good"
    )
    assert found["AppArmor"].found.startswith("confines charon")


def test_the_profile_would_deny_a_configuration_anywhere_else(town: Town) -> None:
    """So the kernel does as the profile says."""
    elsewhere = town.lab.folder / "charon.conf"
    elsewhere.write_text("charon {}\n")
    command = ["env", f"STRONGSWAN_CONF={elsewhere}", "timeout", "5", "/usr/lib/ipsec/charon"]
    town.lab.namespace("other").run(command, check=False)
    assert any(str(elsewhere) in denial for denial in denials())
