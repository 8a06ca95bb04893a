"""Whatever dies, nothing unprotected crosses the card, and what died comes back by itself."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import vici

from ipop_core.lab import Capture
from ipop_modules.ipsec.connections import CHILD, DEAD_PEER_AFTER
from ipop_modules.ipsec.wishes import TRIES
from tests.uml.test_esp import BEEF
from tests.uml.town import CARD, Member, Town, eventually, kill, pinging
from tests.uml.transfer import CHUNK, Transfer

pytestmark = [pytest.mark.uml, pytest.mark.net, pytest.mark.slow]

GIVEN_UP_AFTER = 8
"""Seconds of charon's retransmissions."""


def test_killing_charon_during_a_flood_of_pings(town: Town) -> None:
    alice, bob = town.members
    assert alice.ping(bob.address, count=1).received == 1
    old = alice.charon()
    with Capture(alice.namespace, CARD) as capture, pinging(alice, bob.address, "-i", "0.005") as pings:
        moment = kill(old)
        eventually(lambda: _charon(alice), lambda pid: pid != old)
        back = eventually(lambda: alice.ask("status"), _is_protected)
        seconds = time.monotonic() - moment
    (ping,) = pings
    assert capture.find(BEEF) == []
    assert back["restarts"] >= 1
    print(f"charon killed: new keys after {seconds:.1f} s, {ping.lost} of {ping.sent} pings lost")
    assert alice.ping(bob.address, count=5).received == 5


def test_without_a_charon_nothing_passes(town: Town) -> None:
    alice, bob = town.members
    alice.stop()
    alice.settings["charon"] = "/usr/lib/ipsec/no-such-charon"
    alice.begin()
    assert "there is no /usr/lib/ipsec/no-such-charon" in alice.answer()["fault"]
    with Capture(alice.namespace, CARD) as capture:
        _nothing_passes(alice, bob)
    assert capture.find(BEEF) == []
    alice.settings.clear()
    alice.start()
    # Bob may hold keys of a time before, which Alice has no more, until his charon finds out.
    eventually(lambda: alice.ping(bob.address, count=3), lambda ping: ping.received == 3)


def test_while_charon_hangs_nothing_new_passes_and_then_it_goes_on(town: Town) -> None:
    alice, bob = town.members
    assert alice.ping(bob.address, count=1).received == 1
    charon = alice.charon()
    with Capture(alice.namespace, CARD) as capture:
        os.kill(charon, signal.SIGSTOP)
        alice.run("ip", "xfrm", "state", "flush")
        _nothing_passes(alice, bob)
        status = alice.ask("status")
        os.kill(charon, signal.SIGCONT)
        eventually(lambda: alice.ping(bob.address, "-p", "deadbeef", count=3), lambda ping: ping.received == 3)
    assert capture.find(BEEF) == []
    assert (status["on"], status["ready"], status["fault"]) == (True, False, "charon does not answer")
    assert status["counters"]["acquire_error"] >= 0


def test_keys_that_are_gone_while_ike_stands_are_made_again(town: Town) -> None:
    alice, bob = town.members
    assert alice.ping(bob.address, count=1).received == 1
    wire = socket.socket(socket.AF_UNIX)
    wire.connect(str(alice.folder / "run/charon/charon.vici"))
    list(vici.Session(wire).terminate({"child": CHILD}))
    wire.close()
    for member in town.members:
        eventually(lambda member=member: spis(member.run("ip", "xfrm", "state")), lambda left: not left)  # type: ignore[misc]
    assert {item["state"] for item in alice.ask("status")["associations"]} == {"established"}
    # The kernel looks at what waits for keys at growing intervals; `ping` waits for its last packet alone.
    assert alice.ping(bob.address, count=1).received == 1
    assert alice.ping(bob.address, count=3).received == 3


def _nothing_passes(alice: Member, bob: Member) -> None:
    for near, address in ((alice, bob.address), (alice, bob.address6), (bob, alice.address)):
        assert near.ping(address, "-W", "1", "-p", "deadbeef", count=2).received == 0


def test_killing_the_module_leaves_the_card_closed(town: Town) -> None:
    alice, bob = town.members
    assert alice.process
    charon = alice.charon()
    with Capture(alice.namespace, CARD) as capture, pinging(alice, bob.address, "-i", "0.05") as pings:
        alice.process.send_signal(signal.SIGKILL)
        alice.process.wait()
        eventually(lambda: _is_alive(charon), lambda alive: not alive)
        alice.run("ip", "xfrm", "state", "flush")
        without = alice.ping(bob.address, "-W", "1", "-p", "deadbeef", count=3)
        alice.start()
        eventually(lambda: alice.ask("status")["associations"], bool)
    assert alice.ping(bob.address, count=5).received == 5
    assert without.received == 0
    assert capture.find(BEEF) == []
    (ping,) = pings
    print(f"module killed: {ping.lost} of {ping.sent} pings lost until it was started again")


def test_new_keys_during_a_transfer_lose_nothing(town: Town) -> None:
    alice, bob = town.members
    alice.stop()
    alice.settings["rekey"] = 5
    alice.start()
    assert alice.ping(bob.address, count=2).received == 2
    first = spis(alice.run("ip", "xfrm", "state"))
    transfer = Transfer(alice.namespace, bob.namespace, bob.address)
    with transfer, pinging(alice, bob.address, "-i", "0.02") as pings:
        eventually(lambda: spis(alice.run("ip", "xfrm", "state")), lambda now: now and not now & first)
        changed = transfer.received
        eventually(lambda: transfer.received, lambda now: all(a > b + CHUNK for a, b in zip(now, changed, strict=True)))
    (ping,) = pings
    transfer.check()
    assert ping.lost == 0, ping
    print(f"rekeyed: {ping.lost} of {ping.sent} pings lost")
    alice.stop()
    alice.settings.clear()
    alice.start()


def test_a_peer_that_says_goodbye_is_asked_no_more(town: Town) -> None:
    alice, bob = town.members
    assert alice.ping(bob.address, count=1).received == 1
    kill(alice.charon())
    for member in town.members:
        member.stop()
        # Not even those of a charon that has died: who starts again must not send with keys that nobody else has.
        assert not spis(member.run("ip", "xfrm", "state"))
        member.begin()
    for member in town.members:
        member.ready()
    assert alice.ping(bob.address, count=1).received == 1
    before = len(alice.log)
    bob.stop()
    eventually(lambda: alice.log[before:], lambda said: "received DELETE for IKE_SA" in said)
    time.sleep(sum(TRIES))  # that nothing is said can't be awaited
    assert "initiating IKE_SA" not in alice.log[before:]
    assert alice.ping(bob.address, "-W", "1", count=1).received == 0
    bob.start()
    eventually(lambda: bob.ping(alice.address, count=3), lambda ping: ping.received == 3)


def test_a_peer_that_dies_without_a_word_is_found_out_though_nobody_sends_anything(town: Town) -> None:
    alice, bob = town.members
    assert alice.ping(bob.address, count=1).received == 1
    begun, before = time.monotonic(), len(alice.log)
    assert bob.process
    bob.process.kill()
    bob.process.wait()
    # Nothing of the machine is left, then: no keys, and nobody who would answer IKE.
    eventually(lambda: _is_alive(bob.charon()), lambda alive: not alive)
    bob.run("ip", "xfrm", "state", "flush")
    gone = eventually(lambda: alice.ask("status"), lambda status: not status["associations"])
    print(f"found dead after {time.monotonic() - begun:.1f} s")
    assert gone["ready"]
    assert not spis(alice.run("ip", "xfrm", "state"))
    assert "giving up after 4 retransmits" in alice.log[before:]
    assert time.monotonic() - begun < DEAD_PEER_AFTER + GIVEN_UP_AFTER + 5
    bob.start()
    eventually(lambda: bob.ping(alice.address, count=3), lambda ping: ping.received == 3)


def _charon(member: Member) -> int:
    try:
        return member.charon()
    except (OSError, ValueError):
        return 0


def _is_protected(status: dict[str, Any]) -> bool:
    return any(association["state"] == "protected" for association in status["associations"])


def spis(states: str) -> set[str]:
    """Of the associations that have keys, as `ip xfrm state` shows them."""
    return set(re.findall(r"^\tproto esp spi (\S+).*(?:\n\t.*)*?\n\taead ", states, re.MULTILINE))


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
