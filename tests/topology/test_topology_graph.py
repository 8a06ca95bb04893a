"""Walking the ring for people: what a node says of its neighbours, and the picture."""

from __future__ import annotations

import random
from math import atan2, hypot, pi
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.overlay_net.members import Recipe
from benchmarks.overlay_net.thin import Network
from ipop_modules.topology.picture import COLOURS, LINE, NAMED, SIZE, draw, spread
from ipop_modules.topology.protocol.effects import Surveyed
from tests.topology.test_topology_ring import grow

SPACE = "{http://www.w3.org/2000/svg}"


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
    samples = {sample.get("class"): sample for sample in picture.iter(f"{SPACE}path") if sample.get("class")}
    assert set(samples) == {f"sample {kind}" for kind in COLOURS}
    looks = {tuple(sample.get(look) for look in ("stroke", "stroke-dasharray")) for sample in samples.values()}
    assert len(looks) == len(COLOURS)
    assert {"4 nodes", "1 near", "1 long", "1 shortcut"} <= {text.text for text in picture.iter(f"{SPACE}text")}
    places = {dot[0].text: (dot.get("cx"), dot.get("cy")) for dot in picture.iter(f"{SPACE}circle") if len(dot)}
    here, _ = [dot for dot in picture.iter(f"{SPACE}circle") if dot.get("class") == "here"]
    assert (here.get("cx"), here.get("cy")) == places[a], "where the walk began"


def crowd(count: int) -> list[dict[str, object]]:
    """Nodes of which half lie in heaps of eight."""
    chance = random.Random(count)
    ids = [chance.getrandbits(160) for _ in range(count // 2)]
    while len(ids) < count:
        heap = chance.getrandbits(160)
        ids += [(heap + chance.getrandbits(140)) % (1 << 160) for _ in range(min(8, count - len(ids)))]
    return [{"node": f"{number:040x}", "near": [], "long": [], "other": []} for number in ids]


@pytest.mark.parametrize("count", [1, 2, 40, 100, NAMED])
def test_names_lie_beside_each_other_and_near_their_dots(count: int) -> None:
    nodes = crowd(count)
    picture = ElementTree.fromstring(draw(nodes))
    names = [text for text in picture.iter(f"{SPACE}text") if text.get("class") == "name"]
    dots = {
        dot[0].text[:6]: angle(dot, "cx", "cy") for dot in picture.iter(f"{SPACE}circle") if len(dot) and dot[0].text
    }
    assert {name.text for name in names} == {str(node["node"])[:6] for node in nodes}
    places = sorted((angle(name, "x", "y"), name.text or "") for name in names)
    radius = hypot(*(float(names[0].get(at) or 0) - SIZE / 2 for at in ("x", "y")))
    for at, (place, text) in enumerate(places):
        before = places[at - 1][0] - (2 * pi if at == 0 else 0)
        assert place - before > 0.95 * LINE / radius
        assert abs((place - dots[text] + pi) % (2 * pi) - pi) < pi / 4
    far = [name for name in names if max(abs(float(name.get(at) or 0) - SIZE / 2) for at in ("x", "y")) > SIZE / 2 - 48]
    assert not far, "there is room for the text"


def angle(element: ElementTree.Element, x: str, y: str) -> float:
    return atan2(float(element.get(y) or 0) - SIZE / 2, float(element.get(x) or 0) - SIZE / 2)


def test_more_nodes_than_there_is_room_for_bear_no_names() -> None:
    picture = ElementTree.fromstring(draw(crowd(NAMED + 1)))
    assert not [text for text in picture.iter(f"{SPACE}text") if text.get("class") == "name"]
    assert len([dot for dot in picture.iter(f"{SPACE}circle") if len(dot)]) == NAMED + 1


@given(st.lists(st.floats(0, 1, exclude_max=True), max_size=NAMED))
def test_what_is_spread_is_apart_and_in_its_order(turns: list[float]) -> None:
    gap = 1 / 180
    placed = spread(sorted(turns), gap)
    assert placed == sorted(placed)
    for before, after in zip(placed, [*placed[1:], placed[0] + 1] if len(placed) > 1 else [], strict=False):
        assert after - before > 0.9 * gap
