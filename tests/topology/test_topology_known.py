"""Peers on disk: what is kept, and who is asked when no link is left."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ipop_core.bus.api import Call, JsonObject
from ipop_core.kept_file import KeptFile
from ipop_core.testing import FakeRole, memory_bus
from ipop_modules.topology import known
from ipop_modules.topology.known import KnownPeers
from ipop_modules.topology.protocol import remembered
from ipop_modules.topology.protocol.remembered import MOST

NODE, ENDPOINT = "ab" * 20, "192.0.2.1:4741"
OTHER = "cd" * 20


async def saved(peers: KnownPeers) -> None:
    """Let it run until it has kept its file."""
    kept = asyncio.Event()
    with pytest.MonkeyPatch.context() as patch:
        write = KeptFile.keep

        def keep(file: KeptFile, data: bytes) -> None:
            write(file, data)
            kept.set()

        patch.setattr(KeptFile, "keep", keep)
        keeping = asyncio.create_task(peers.keep())
        await asyncio.wait_for(kept.wait(), 10)
        keeping.cancel()


@pytest.mark.parametrize("lonely", [True, False])
def test_a_node_that_starts_without_any_link_asks_those_it_knew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lonely: bool
) -> None:
    monkeypatch.setattr(known, "SAVE_AFTER", 0.02)
    monkeypatch.setattr(remembered, "LONELY", 0.06)
    monkeypatch.setattr(known, "HELD", 0.0)
    path = tmp_path / "known.json"

    async def story() -> None:
        async with memory_bus() as bus:
            released = asyncio.Event()

            async def release(_: Call) -> JsonObject:
                released.set()
                return {}

            link = FakeRole(bus, "link", {"connect": {"node": NODE, "endpoint": ENDPOINT}, "release": release})
            await link.start()
            before = KnownPeers(await bus.connect(), path, lambda: [OTHER], lambda: False)
            before.note(NODE, ENDPOINT, [])
            await saved(before)
            after = asyncio.create_task(
                KnownPeers(await bus.connect(), path, lambda: [] if lonely else [OTHER], lambda: lonely).keep()
            )
            if lonely:
                await asyncio.wait_for(released.wait(), 5.0)
                assert link.called("connect")[0].body == {"node": NODE, "endpoint": ENDPOINT, "kind": "known"}
            else:
                await asyncio.sleep(0.3)  # nothing is to happen: there is no event to wait for
                assert not link.called("connect")
            after.cancel()

    asyncio.run(story())


def test_a_node_whose_links_lead_into_no_ring_asks_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "SAVE_AFTER", 0.02)
    monkeypatch.setattr(remembered, "LONELY", 0.06)

    async def story() -> None:
        async with memory_bus() as bus:
            asked = asyncio.Event()

            async def connect(_: Call) -> JsonObject:
                asked.set()
                return {"node": NODE, "endpoint": ENDPOINT}

            link = FakeRole(bus, "link", {"connect": connect, "release": {}})
            await link.start()
            peers = KnownPeers(await bus.connect(), tmp_path / "known.json", lambda: [OTHER], lambda: True)
            peers.note(NODE, ENDPOINT, [])
            keeping = asyncio.create_task(peers.keep())
            await asyncio.wait_for(asked.wait(), 10.0)
            keeping.cancel()

    asyncio.run(story())


def test_it_names_those_that_have_an_endpoint_for_others(tmp_path: Path) -> None:
    peers = KnownPeers(None, tmp_path / "known.json", lambda: [], lambda: False)  # type: ignore[arg-type]
    nodes = [bytes([number] * 20) for number in range(7)]
    unknown, unfit, *fit = nodes
    peers.note(unfit.hex(), "127.0.0.1:4741", ["long"])
    for node in fit:
        peers.note(node.hex(), ENDPOINT, ["long"])
    assert peers.introduction(nodes) == [(node, ENDPOINT) for node in fit]
    assert peers.introduction([unknown, unfit]) == []


@pytest.mark.parametrize("broken", [b"{ no json", b'{"\xff\xfe":""}', b"[" * 20_000], ids=["json", "text", "deep"])
def test_only_the_newest_are_kept_and_a_broken_file_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bytes
) -> None:
    monkeypatch.setattr(known, "SAVE_AFTER", 0.02)
    path = tmp_path / "known.json"
    path.write_bytes(broken)

    async def story() -> None:
        async with memory_bus() as bus:
            peers = KnownPeers(await bus.connect(), path, lambda: [OTHER], lambda: False)
            for number in range(MOST + 5):
                peers.note(f"{number:040x}", ENDPOINT, [])
            await saved(peers)
            again = KnownPeers(await bus.connect(), path, lambda: [OTHER], lambda: False)
            assert list(again._remembered) == [f"{number:040x}" for number in range(5, MOST + 5)]

    asyncio.run(story())


def test_a_node_with_links_asks_a_lost_peer_now_and_then_and_no_linked_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ring may be a part of one that was split, and no bootstrap is left that knows both."""
    monkeypatch.setattr(known, "SAVE_AFTER", 0.02)
    monkeypatch.setattr(remembered, "LOST", 0.04)
    monkeypatch.setattr(known, "HELD", 0.02)
    order: list[str] = []

    async def story() -> None:
        async with memory_bus() as bus:
            twice = asyncio.Event()

            async def answer(call: Call) -> JsonObject:
                order.append(call.action)
                if len(order) == 4:
                    twice.set()
                return {"node": NODE, "endpoint": ENDPOINT} if call.action == "connect" else {}

            link = FakeRole(bus, "link", {"connect": answer, "release": answer})
            await link.start()
            peers = KnownPeers(await bus.connect(), tmp_path / "known.json", lambda: [OTHER], lambda: False)
            peers.note(NODE, ENDPOINT, [])
            peers.note(OTHER, "192.0.2.2:4741", [])
            keeping = asyncio.create_task(peers.keep())
            await asyncio.wait_for(twice.wait(), 10.0)
            keeping.cancel()
            assert {call.body["node"] for call in link.calls} == {NODE}

    asyncio.run(story())
    assert order[:4] == ["connect", "release", "connect", "release"]


def test_who_is_linked_all_the_time_stays_known_however_many_others_come_and_go(tmp_path: Path) -> None:
    stable = [f"stable {number}" for number in range(8)]
    peers = KnownPeers(None, tmp_path / "known.json", lambda: stable, lambda: False)  # type: ignore[arg-type]
    for number, node in enumerate([*stable, *(f"visitor {number}" for number in range(2 * MOST))]):
        peers.note(node, f"192.0.2.1:{number + 1}", [])
    newest = [f"visitor {number}" for number in range(MOST + 8, 2 * MOST)]
    assert list(peers._remembered) == [*stable, *newest]
    all_linked = KnownPeers(None, tmp_path / "known.json", lambda: list(all_linked._remembered), lambda: False)  # type: ignore[arg-type]
    for number in range(MOST + 1):
        all_linked.note(f"{number}", ENDPOINT, [])
    assert list(all_linked._remembered) == [f"{number}" for number in range(1, MOST + 1)]
