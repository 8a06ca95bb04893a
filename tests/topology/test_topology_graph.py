"""Walking the ring for people: what a node says of its neighbours, and the picture."""

from __future__ import annotations

from xml.etree import ElementTree

from benchmarks.overlay_net.members import Recipe
from benchmarks.overlay_net.thin import Network
from ipop_modules.topology.picture import draw
from ipop_modules.topology.protocol.effects import Surveyed
from tests.topology.test_topology_ring import grow


def test_every_node_says_who_its_neighbours_are() -> None:
    network = Network(3, recipe=Recipe(long_links=None))
    nodes = grow(network, 16, apart=0.2)
    network.run(60.0)
    asker = nodes[5]
    for number, node in enumerate(nodes):
        network.perform(asker, asker.machine.survey(node.id, number, network.now))
    network.run(2.0)
    told = {event.number: event for event in asker.events if isinstance(event, Surveyed)}
    assert len(told) == len(nodes)
    for number, node in enumerate(nodes):
        answer = told[number]
        assert answer.node == node.id
        assert set(answer.near) == set(node.machine.ring.near)
        assert {*answer.near, *answer.long, *answer.other, *answer.shortcut} == node.links
    assert any(answer.long for answer in told.values())


def test_a_link_because_of_traffic_is_told_apart() -> None:
    network = Network(4, recipe=Recipe(long_links=0))
    nodes = grow(network, 16, apart=0.2)
    network.run(30.0)
    one = nodes[5]
    other = next(node for node in nodes if node.id not in one.links)
    network.perform(one, one.machine.demand(other.id, network.now))
    network.run(2.0)
    network.perform(one, one.machine.survey(one.id, 1, network.now))
    assert [event for event in one.events if isinstance(event, Surveyed)][-1].shortcut == (other.id,)


def test_the_picture_has_every_node_and_tells_the_links_apart() -> None:
    a, b, c, d, gone = (first + "0" * 39 for first in "048cf")
    nodes = [
        {"node": a, "near": [b], "long": [c], "other": []},
        {"node": b, "near": [a], "long": [], "other": [c, gone], "shortcut": [d]},
        {"node": c, "near": [], "long": [], "other": [b, a]},
        {"node": d, "near": [], "long": [], "other": [b], "shortcut": []},
    ]
    picture = ElementTree.fromstring(draw(nodes))
    space = "{http://www.w3.org/2000/svg}"
    assert [line.get("class") for line in picture.iter(f"{space}line")].count("near") == 1
    assert sorted(line.get("class") or "" for line in picture.iter(f"{space}line")) == [
        "long",
        "near",
        "other",
        "shortcut",
    ]
    assert {title.text for title in picture.iter(f"{space}title")} == {a, b, c, d}
