"""A node reads its configuration again while it runs."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from ipop_core.errors import BusError
from tests.core_supervision.node import Node, running, story

pytestmark = pytest.mark.slow


def rewrite(node: Node, modules: dict[str, Any], **others: Any) -> None:
    document = json.loads(node.config.read_text())
    document["modules"] = modules
    document.update(others)
    node.config.write_text(json.dumps(document, indent=1))


async def mood(client: Any, role: str = "back") -> str:
    return str((await client.request(role, "mood")).body["mood"])


@pytest.mark.parametrize("isolation", ["process", "inline"])
@story
async def test_what_can_be_taken_is_taken_and_the_rest_is_named(tmp_path: Path, isolation: str) -> None:
    own = {"isolation": isolation}
    async with running(tmp_path, {"back": own, "front": {}}) as node, node.client() as client:
        before = (await client.request("back", "pid")).body["pid"]
        rewrite(node, {"back": {**own, "mood": "gay", "stop_seconds": 0.1}, "front": {}}, namespace="town")
        outcome = (await client.request("core", "reload")).body
        assert outcome == {
            "taken": ["modules.back.mood"],
            "restart": ["modules.back.stop_seconds", "namespace"],
            "refused": [],
        }
        assert await mood(client) == "gay"
        assert (await client.request("back", "pid")).body["pid"] == before
        again = (await client.request("core", "reload")).body
        assert again == {"taken": [], "restart": ["modules.back.stop_seconds", "namespace"], "refused": []}


@story
async def test_a_module_that_comes_or_goes_waits_for_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path, {"back": {}}) as node, node.client() as client:
        rewrite(node, {"back": {"isolation": "inline"}, "front": {}})
        outcome = (await client.request("core", "reload")).body
        assert outcome["restart"] == ["modules.back.isolation", "modules.front"]


@story
async def test_a_module_may_refuse_and_then_keeps_what_it_had(tmp_path: Path) -> None:
    async with running(tmp_path, {"back": {"nick": "Bo"}, "front": {}}) as node, node.client() as client:
        rewrite(node, {"back": {"mood": "stubborn"}, "front": {"mood": "gay"}})
        outcome = (await client.request("core", "reload")).body
        assert outcome["refused"] == ["modules.back: will not change its mood"]
        assert outcome["taken"] == ["modules.front.mood"]
        # What is left out and has no default, a running module can't be told.
        assert outcome["restart"] == ["modules.back.nick"]
        assert (await mood(client), await mood(client, "front")) == ("calm", "gay")


BAD_COMMA = """{
 "modules": {
  "back": {"mood": "gay",}
 }
}"""
BAD_MOOD = """{
 "modules": {
  "front": {"mood": "gay"},
  "back": {
   "mood": 5
  }
 }
}"""


@pytest.mark.parametrize(
    ("text", "fault"),
    [(BAD_COMMA, "controller.json:3:26: "), (BAD_MOOD, "controller.json:5: modules.back.mood: 5 is not a string")],
)
@story
async def test_a_broken_file_changes_nothing_and_says_which_line(tmp_path: Path, text: str, fault: str) -> None:
    async with running(tmp_path, {"back": {}, "front": {}}) as node, node.client() as client:
        node.config.write_text(text)
        with pytest.raises(BusError) as error:
            await client.request("core", "reload")
        assert fault in str(error.value)
        assert (await mood(client), await mood(client, "front")) == ("calm", "calm")


@story
async def test_a_module_that_died_has_the_settings_and_the_level_of_the_last_change(tmp_path: Path) -> None:
    async with running(tmp_path, {"back": {}}) as node, node.client() as client:
        rewrite(node, {"back": {"mood": "gay"}})
        await client.request("core", "reload")
        await client.request("core", "levels", {"level": "error", "module": "back"})
        client.notify("back", "die")
        async with asyncio.timeout(10):
            while True:
                await asyncio.sleep(0.05)
                try:
                    level = (await client.request("back", "level")).body["level"]
                    if (level, await mood(client)) == (40, "gay"):
                        return
                except BusError:  # not there yet
                    continue


@story
async def test_sighup_reloads(tmp_path: Path) -> None:
    async with running(tmp_path, {"back": {}}) as node, node.client() as client:
        rewrite(node, {"back": {"mood": "gay"}})
        assert node.process is not None
        node.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(10):
            while await mood(client) != "gay":  # noqa: ASYNC110 - nobody tells when a signal has been served
                await asyncio.sleep(0.02)
        node.config.write_text("{")
        node.process.send_signal(signal.SIGHUP)
        assert node.process.stderr is not None
        async with asyncio.timeout(10):
            while "reload: nothing was changed" not in (said := (await node.process.stderr.readline()).decode()):
                assert said, "the controller ended"
        assert "controller.json:1:" in said
        assert await mood(client) == "gay"
        node.process.send_signal(signal.SIGTERM)
        status, _ = await node.end()
        assert status == 0
