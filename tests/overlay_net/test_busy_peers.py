"""A node at its cap of shortcuts, whole nodes in virtual time: a busy peer gets a direct link, a slow one gives way."""

from __future__ import annotations

import pytest

from benchmarks.overlay_net import full
from benchmarks.overlay_net.members import Recipe
from ipop_modules.tincan.card.protocol.ethernet import mac_of
from ipop_modules.tincan.frames import CARD, FRAME_HEADER
from ipop_modules.topology.protocol.records import verify_p256
from ipop_modules.topology.protocol.shortcuts import HELD, WEIGH_EVERY
from tests.tincan_card.packets import ethernet, ip4
from tests.topology.rings import ring

IDLE = 90.0
"""Seconds after which a link that carries nothing any more is given up and closed."""


def talk(network: full.Network, seconds: float, here: full.Node, rates: dict[bytes, int]) -> None:
    """Frames of so many bytes to each node, twice a second."""
    for _ in range(int(2 * seconds)):
        for node, size in rates.items():
            frame = ethernet(ip4(bytes(size), 17), source=mac_of(here.id), destination=mac_of(node))
            here.transport.send_card(node, FRAME_HEADER.pack(CARD, 0, 0, len(frame)) + frame, network.now)
        network.perform(here, [])
        network.run(0.5)


@pytest.mark.slow
def test_at_the_cap_a_busy_peer_takes_the_place_of_a_slow_one() -> None:
    network = full.Network(1, recipe=Recipe(long_links=0, verify=verify_p256))
    nodes = [full.whole(node) for node in ring(network, 12)]
    network.run(60.0)  # links that were needed on the way here are closed
    here = nodes[3]
    slow, busy = [node for node in nodes if node is not here and node.id not in here.links][:2]
    here.machine.shortcuts.cap = 1
    for node in (slow, busy):
        node.machine.shortcuts.cap = 0  # else it would ask for the link itself
    talk(network, 5.0, here, {slow.id: 200})
    assert slow.id in here.links
    talk(network, HELD, here, {slow.id: 200})
    assert here.transport.sessions[slow.id].kinds == {"shortcut"}
    talk(network, 2 * WEIGH_EVERY + 4, here, {slow.id: 200, busy.id: 1400})
    assert busy.id in here.links
    assert here.transport.sessions[busy.id].kinds == {"shortcut"}
    assert slow.id in here.links, "what still carries something is not cut"
    assert here.transport.sessions[slow.id].kinds == set()
    talk(network, IDLE, here, {busy.id: 1400})
    assert slow.id not in here.links
    assert [node for node in nodes if node.id in here.machine.shortcuts] == [busy]


@pytest.mark.slow
def test_two_busy_nodes_whose_session_ended_in_an_outage_get_their_direct_link_again() -> None:
    network = full.Network(2, recipe=Recipe(long_links=0, verify=verify_p256))
    nodes = [full.whole(node) for node in ring(network, 12)]
    network.run(60.0)
    here = nodes[3]
    peer = next(node for node in nodes if node is not here and node.id not in here.links)
    peer.machine.shortcuts.cap = 0  # else it would ask for the link itself
    talk(network, 5.0, here, {peer.id: 200})
    assert peer.id in here.links
    first = here.transport.sessions[peer.id]
    network.split({here.id}, {node.id for node in nodes if node is not here})
    talk(network, 40.0, here, {peer.id: 200})
    assert here.transport.sessions[peer.id] is not first
    network.mend()
    for node in [node for node in nodes if node not in (here, peer)][:3]:
        network.contact(here, node)
    talk(network, 40.0, here, {peer.id: 200})
    assert peer.id in here.links
    assert here.transport.sessions[peer.id].kinds == {"shortcut"}


@pytest.mark.slow
def test_shortcuts_to_peers_that_stopped_make_room() -> None:
    network = full.Network(3, recipe=Recipe(long_links=0, verify=verify_p256))
    nodes = [full.whole(node) for node in ring(network, 12)]
    network.run(60.0)
    here = nodes[3]
    peers = [node for node in nodes if node is not here and node.id not in here.links][:4]
    for node in peers:
        node.machine.shortcuts.cap = 0
    talk(network, 5.0, here, {node.id: 200 for node in peers})
    assert len(here.machine.shortcuts) == len(peers)
    for node in peers:
        network.leave(node)
    network.run(1.0)
    assert len(here.machine.shortcuts) == 0
