"""What the doctor says of names."""

from __future__ import annotations

import pytest

from ipop_core.bus.api import JsonObject
from ipop_modules.resolver.checks import judge
from ipop_modules.resolver.settings import Settings


def status(state: str, *listening: str) -> JsonObject:
    return {"domain": "ipop", "listening": list(listening), "systemd_resolved": state, "counters": {}}


HERE = "192.168.10.10 port 53"


@pytest.mark.parametrize(
    ("said", "verdict", "mend"),
    [
        (None, "unknown", "ipop up"),
        (status("not there"), "warning", "ipop status"),
        (status("told", HERE), "good", ""),
        (status("not there", HERE), "warning", "server=/ipop/192.168.10.10#53"),
        (status("refused: Interactive authentication required.", HERE), "warning", "resolvectl dns"),
        (status("in another network namespace", HERE), "warning", "resolvectl domain"),
    ],
)
def test_whether_programs_ask_the_node(said: JsonObject | None, verdict: str, mend: str) -> None:
    finding = judge(Settings(), said)
    assert (finding.check, finding.verdict) == ("names in ipop", verdict)
    assert mend in finding.mend
