"""The whole of it: real nodes, the authority's tools and the demo's own story."""

from __future__ import annotations

import asyncio

import pytest

from ipop_core.demo.ipsec import IpsecStory
from ipop_core.demo.narrator import Narrator

pytestmark = [pytest.mark.uml, pytest.mark.net, pytest.mark.slow, pytest.mark.timeout(300)]


def test_the_tutorial_s_third_part() -> None:
    figures = asyncio.run(IpsecStory(Narrator(to_stderr=False), "uml").tell())
    assert list(figures.faults()) == []
    assert figures.sent == figures.received == 10
    assert figures.esp_packets >= 10
    assert figures.plaintext_hits_both_off >= 5
