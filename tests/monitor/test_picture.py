"""What the page draws, and how it is pushed to whoever watches."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_core.bus.api import Call, JsonObject
from ipop_core.errors import IpopError
from ipop_core.testing import FakeRole, memory_bus
from ipop_modules.monitor import picture
from ipop_modules.monitor.board import MAX_WATCHERS, Board
from ipop_modules.monitor.figures import Figures
from ipop_modules.monitor.survey import Survey
from tests.monitor.roles import ME, PEER, RELAYED, answers, core_status, peer

FAR = "ef" * 20


def figures(*peers: dict[str, Any], places: dict[str, str] | None = None) -> Figures:
    told = answers()
    topology = told["topology"]["status"] | {
        "neighbours": [{"node": node, "kind": kind} for node, kind in (places or {}).items()]
    }
    return Figures(core=core_status(), roles={"link": told["link"]["status"], "topology": topology}, peers=peers)


def survey(**told: list[str]) -> dict[str, list[str]]:
    return {"near": [], "long": [], "shortcut": [], "other": [], **told}


def links(drawn: JsonObject) -> dict[frozenset[str], tuple[str, str | None]]:
    return {frozenset((link["a"], link["b"])): (link["kind"], link["path"]) for link in drawn["links"]}


def test_own_links_tell_their_path_and_others_their_kind() -> None:
    now = figures(
        peer(PEER, "direct", 1.0),
        peer(RELAYED, "overlay", 9.0, kinds=["shortcut"]),
        peer(FAR, "none", None),
        places={PEER: "near"},
    )
    surveys = {ME: survey(near=[PEER]), PEER: survey(near=[ME, FAR]), FAR: survey(long=[PEER, RELAYED])}
    drawn = picture.ring(now, surveys)
    assert [node["id"] for node in drawn["nodes"]] == sorted([ME, PEER, RELAYED, FAR])
    assert links(drawn) == {
        frozenset((ME, PEER)): ("near", "direct"),
        frozenset((ME, RELAYED)): ("shortcut", "overlay"),
        frozenset((PEER, FAR)): ("near", None),  # one end says near, the other long
    }
    assert drawn["nodes"][0] == {"id": ME, "addresses": ["192.168.10.10"], "surveyed": True}


IDS = st.sampled_from([ME, PEER, RELAYED, FAR, "01" * 20, "02" * 20])
TOLD = st.fixed_dictionaries({kind: st.lists(IDS, unique=True, max_size=4) for kind in picture.KINDS})


@given(st.dictionaries(IDS, TOLD), st.lists(IDS, unique=True))
def test_whatever_nodes_say_every_link_has_two_ends(surveys: dict[str, Any], peers: list[str]) -> None:
    drawn = picture.ring(figures(*(peer(node, "direct", 1.0) for node in peers if node != ME)), surveys)
    ids = {node["id"] for node in drawn["nodes"]}
    for link in drawn["links"]:
        assert link["a"] < link["b"]
        assert {link["a"], link["b"]} <= ids
        assert link["kind"] in picture.KINDS
    assert len(links(drawn)) == len(drawn["links"])


def test_the_head_without_topology() -> None:
    head = picture.head(dataclasses.replace(figures(), roles={}))
    assert (head["joined"], head["size"], head["addresses"]) == (False, None, [])


def test_a_watcher_gets_each_section_and_then_what_changed() -> None:
    async def run() -> None:
        seen: list[bool] = []
        board = Board(seen.append)
        board.put("head", {"a": 1})
        board.put("peers", [])
        events = board.watch()
        assert await anext(events) == b'event: head\ndata: {"a":1}\n\n'
        assert await anext(events) == b"event: peers\ndata: []\n\n"
        waiting = asyncio.ensure_future(anext(events))
        board.put("peers", [])
        await asyncio.sleep(0)
        assert not waiting.done()
        # What is overtaken before it was sent is never sent.
        board.put("head", {"a": 2})
        board.put("head", {"a": 3})
        assert await waiting == b'event: head\ndata: {"a":3}\n\n'
        assert (board.watchers, seen) == (1, [True])
        await events.aclose()
        assert (board.watchers, seen) == (0, [True, False])

    asyncio.run(run())


def test_closing_sends_watchers_away() -> None:
    async def run() -> None:
        board = Board(lambda _: None)
        watchers = [asyncio.ensure_future(anext(board.watch(), None)) for _ in range(MAX_WATCHERS)]
        await asyncio.sleep(0)
        assert board.is_full
        board.close()
        assert await asyncio.gather(*watchers) == [None] * MAX_WATCHERS

    asyncio.run(run())


def with_survey(told: dict[str, list[str]], work: Callable[[Survey, list[int]], Any]) -> None:
    """A ring in which each node names its near neighbours; a node that is not there does not answer."""

    async def answer(call: Call) -> JsonObject:
        node = call.body.get("node", ME)
        if node not in told:
            raise IpopError(f"no answer from {node}")
        return {"node": node, "near": told[node], "long": [], "shortcut": [], "other": []}

    async def run() -> None:
        async with memory_bus() as bus:
            role = FakeRole(bus, "topology", {"survey": answer})
            await role.start()
            changes: list[int] = []
            survey = Survey(await bus.connect(), lambda: changes.append(1))
            await work(survey, changes)

    asyncio.run(run())


def test_the_survey_walks_the_ring_and_forgets_who_is_silent() -> None:
    told = {ME: [PEER], PEER: [ME, FAR], FAR: [PEER, RELAYED]}

    async def work(survey: Survey, changes: list[int]) -> None:
        await survey.walk()
        assert set(survey.told) == {ME, PEER, FAR}
        assert len(changes) == 3
        await survey.walk()
        assert len(changes) == 3
        del told[FAR]
        await survey.walk()
        assert set(survey.told) == {ME, PEER}

    with_survey(told, work)


def test_a_survey_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipop_modules.monitor.survey.MOST", 10)
    ids = [f"{number:040x}" for number in range(50)]
    told = {ME: ids, **dict.fromkeys(ids, ids)}

    async def work(survey: Survey, _: list[int]) -> None:
        await survey.walk()
        assert len(survey.told) == 10

    with_survey(told, work)


def test_the_log_s_own_fields_are_put_together() -> None:
    line = {"time": "t", "process": "tincan", "logger": "ipop.tincan", "level": "info", "message": "m", "node": 5}
    (shown,) = picture.log([line])
    assert shown == {"time": "t", "process": "tincan", "level": "info", "message": "m", "fields": {"node": "5"}}
    assert json.dumps(shown)


def test_every_file_of_the_page_is_used(tmp_path: Path) -> None:
    page = Path(picture.__file__).with_name("page")
    text = "".join(
        path.read_text() for path in page.iterdir() if path.suffix in (".html", ".js") and "d3" not in path.name
    )
    for path in page.iterdir():
        assert path.name in ("index.html", "d3.LICENSE") or path.name in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
