"""Real nodes that stay relayed: the relay's end costs under a second where the machine keeps up."""

from __future__ import annotations

import json
import time

import pytest

from tests.system.conftest import Town
from tests.system.node import kill
from tests.system.traffic import Flow

pytestmark = [pytest.mark.net, pytest.mark.slow]

RATE = 100
LONGEST_SILENCE = 4.0
"""Generous: this machine may be busy. What it took is printed."""


def test_traffic_goes_on_by_the_next_relay_when_the_one_in_use_dies(town: Town) -> None:
    alice, bob = town.alice, town.bob
    with town.relayed():
        flow = Flow(alice, bob, rate=RATE, seconds=14.0)
        ready = {"node": bob.node_id()}
        found = alice.until("link", "why", lambda body: len(body["relays"]) > 1, body=ready, timeout=8.0)
        bob.until("link", "why", lambda body: len(body["relays"]) > 1, body={"node": alice.node_id()}, timeout=8.0)
        (relay,) = [node for node in town.members + town.overlay.bare if node.node_id() == found["relays"][0]["node"]]
        time.sleep(0.5)
        died = kill(relay.pid)
        there, back = flow.finish()
        for arrived in (there, back):
            print(f"{relay}: {arrived.longest_gap:.2f} s of silence, {len(arrived.missing)} of {arrived.sent} lost")
            after = arrived.first_after(died + LONGEST_SILENCE)
            assert arrived.longest_gap < LONGEST_SILENCE
            assert after is not None
            assert after < 0.5
        told = json.loads(alice.cli("why", bob.address, "--json").stdout)
        assert told["relays"][0]["node"] != found["relays"][0]["node"]
