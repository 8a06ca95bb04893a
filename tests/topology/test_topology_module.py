"""The module on a bus in memory, against a fake link module."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner

from ipop_core.bus.api import Call, JsonObject
from ipop_core.bus.client import BusClient
from ipop_core.errors import BusError
from ipop_core.kept_file import KeptFile
from ipop_core.namespace import Namespace
from ipop_core.testing import FakeRole, memory_bus, module_context
from ipop_modules.topology import commands, known, visiting
from ipop_modules.topology.module import Topology
from ipop_modules.topology.plugin import ipop_commands, ipop_module
from ipop_modules.topology.protocol import lookup, remembered, shortcuts, visitors
from ipop_modules.topology.protocol.messages import Hello, Introduction, Join, JoinAnswer, Peer, Put, decode, encode
from ipop_modules.topology.protocol.records import address_key, members_key
from ipop_modules.topology.protocol.ring import Ring
from ipop_modules.topology.settings import Settings

NAMESPACE = Namespace(name="test", kind="open", key=b"k" * 32, authorities=())
OTHER = "ab" * 20


class World:
    def __init__(self, module: Topology, link: FakeRole, guest: BusClient, node: str, asked: asyncio.Event) -> None:
        self.module = module
        self.link = link
        self.guest = guest
        self.node = node
        self._asked = asked

    async def until(self, met: Callable[[], bool]) -> None:
        """Until the link module was asked what makes it so."""
        async with asyncio.timeout(5.0):
            while not met():
                self._asked.clear()
                await self._asked.wait()

    def sent(self, kind: type) -> list[tuple[dict[str, Any], Any]]:
        found = [(dict(call.body), decode(call.frames[0])) for call in self.link.called("send")]
        return [(body, message) for body, message in found if isinstance(message, kind)]

    async def say(self, message: Any, sender: str = OTHER) -> None:
        body = {"sender": sender, "mode": "session"}
        await self.guest.request("topology", "peer_message", body, [encode(message)])

    async def join(self) -> None:
        """A neighbour appears, is in the ring, and knows nobody else."""
        up = {"node": OTHER, "endpoint": "192.0.2.1:1", "kinds": ["bootstrap"], "initiator": True}
        self.link.publish("link.up", up)
        await self.until(lambda: bool(self.sent(Hello)))
        await self.say(Hello(True, 1, (), False))
        await self.until(lambda: bool(self.sent(Join)))
        await self.say(JoinAnswer(self.sent(Join)[0][1].number, (bytes.fromhex(OTHER),)))
        await self.until(lambda: any(call.body["member"] for call in self.link.called("routes")))


@contextlib.asynccontextmanager
async def world(
    folder: Path,
    *,
    namespace: Namespace | None = NAMESPACE,
    peers: list[dict[str, Any]] | None = None,
    settings: Settings | None = None,
    card: dict[str, Any] | None = None,
) -> AsyncIterator[World]:
    async with memory_bus() as bus:
        card = card or {"name": "tapipop", "mac": "02:00:00:00:00:01", "addresses": ["192.168.10.10/24"]}
        status = {"node": OTHER, "card": card, "listening": [], "observed": [], "sessions": 0, "counters": {}}
        asked = asyncio.Event()

        def answering(body: JsonObject) -> Callable[[Call], Awaitable[JsonObject]]:
            async def answer(_: Call) -> JsonObject:
                asked.set()
                return body

            return answer

        bodies: dict[str, JsonObject] = {
            "peers": {"peers": peers or []},
            "status": status,
            "connect": {"node": OTHER, "endpoint": "192.0.2.1:1"},
            "release": {},
            "turn_away": {},
            "routes": {},
            "send": {},
        }
        link = FakeRole(bus, "link", {action: answering(body) for action, body in bodies.items()})
        await link.start()
        client = await bus.connect("topology")
        context = module_context(settings or Settings(), bus=client, folder=folder, namespace=namespace)
        module = Topology(context)
        await module.start()
        client.started()
        try:
            yield World(module, link, await bus.connect(), context.identity.hex, asked)
        finally:
            await module.stop()


def test_it_joins_pushes_routes_wants_near_links_and_registers(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as w:
            await w.join()
            routes = next(call.body for call in w.link.called("routes") if call.body["member"])
            assert routes["routes"] == [{"node": OTHER, "next": OTHER}]
            await w.until(lambda: bool(w.link.called("connect")))
            assert w.link.called("connect")[0].body == {"node": OTHER, "kind": "near"}
            status = (await w.guest.request("topology", "status")).body
            assert (status["joined"], status["size_estimate"]) == (True, 2)
            assert status["neighbours"] == [{"node": OTHER, "kind": "near"}]
            assert [item["address"] for item in status["registered"]] == ["192.168.10.10"]
            for body, put in w.sent(Put):
                assert body["mode"] == "closest"
                assert put.record.owner.hex() == w.node

    asyncio.run(story())


def test_it_names_its_peers_to_a_newcomer(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as w:
            await w.join()
            await w.until(lambda: bool(w.link.called("connect")))
            newcomer = "cd" * 20
            up = {"node": newcomer, "endpoint": "192.0.2.2:2", "kinds": [], "initiator": False}
            w.link.publish("link.up", up)
            await w.until(lambda: any(body["to"] == newcomer for body, _ in w.sent(Hello)))
            await w.say(Hello(False, 1, (), True), newcomer)
            await w.until(lambda: bool(w.sent(Introduction)))
            ((body, told),) = w.sent(Introduction)
            assert (body["to"], body["mode"]) == (newcomer, "link")
            assert told.peers == (Peer(bytes.fromhex(OTHER), "192.0.2.1:1"),)

    asyncio.run(story())


def test_it_asks_those_that_were_named_to_it_when_it_has_lost_who_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "SAVE_AFTER", 0.02)
    monkeypatch.setattr(remembered, "LONELY", 0.06)

    async def story() -> None:
        async with world(tmp_path) as w:
            up = {"node": OTHER, "endpoint": "192.0.2.1:1", "kinds": ["bootstrap"], "initiator": True}
            w.link.publish("link.up", up)
            await w.until(lambda: bool(w.sent(Hello)))
            named, nowhere = (bytes([number] * 20) for number in (7, 8))
            await w.say(Introduction((Peer(named, "192.0.2.7:7"), Peer(nowhere, "127.0.0.1:8"))))
            w.link.publish("link.down", {"node": OTHER, "reason": "it is silent"})
            asked = lambda: [dict(call.body) for call in w.link.called("connect") if "endpoint" in call.body]  # noqa: E731
            await w.until(lambda: len(asked()) > 1)
            assert asked()[:2] == [
                {"node": OTHER, "endpoint": "192.0.2.1:1", "kind": "known"},
                {"node": named.hex(), "endpoint": "192.0.2.7:7", "kind": "known"},
            ]
            assert nowhere.hex() not in {body["node"] for body in asked()}

    asyncio.run(story())


def test_it_resolves_its_own_address_and_refuses_what_is_none(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as w:
            await w.until(lambda: bool(w.link.called("status")))
            await w.join()
            own = (await w.guest.request("topology", "resolve", {"address": "192.168.10.10"})).body
            assert (own["node"], own["source"], own["certain"]) == (w.node, "own", True)
            with pytest.raises(BusError, match="'nobody' is not an IP address"):
                await w.guest.request("topology", "resolve", {"address": "nobody"})

    asyncio.run(story())


def test_it_resolves_its_own_name_in_any_case_and_lists_no_members_that_nobody_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path, settings=Settings(name="Alice")) as w:
            await w.until(lambda: bool(w.link.called("status")))
            await w.join()
            own = (await w.guest.request("topology", "resolve_name", {"name": "aLICE"})).body
            assert (own["name"], own["node"], own["addresses"]) == ("alice", w.node, ["192.168.10.10"])
            assert (await w.guest.request("topology", "status")).body["name"]["name"] == "alice"
            with pytest.raises(BusError, match="'no name' is not a host name"):
                await w.guest.request("topology", "resolve_name", {"name": "no name"})
            listed = (await w.guest.request("topology", "members")).body
            assert listed["nodes"] == [member["node"] for member in listed["members"]]
            with pytest.raises(BusError, match="expected a network"):
                await w.guest.request("topology", "allocate", {"network": "10.0.0.1/8"})

    asyncio.run(story())


def test_what_it_registered_is_withdrawn_when_it_stops(tmp_path: Path) -> None:
    # So many that not all lie nearest to this node itself, which then tells nobody.
    many = {"name": "tapipop", "mac": "02:00:00:00:00:01", "addresses": [f"192.168.10.{n}/24" for n in range(10, 40)]}

    async def story() -> None:
        async with world(tmp_path, card=many) as w:
            await w.join()
            await w.until(lambda: bool(w.sent(Put)))
            assert not any(put.record.withdrawn for _, put in w.sent(Put))
        owned = {address_key(NAMESPACE.key, bytes([192, 168, 10, n])) for n in range(10, 40)}
        withdrawn = {put.record.key for _, put in w.sent(Put) if put.record.withdrawn}
        assert withdrawn == {*owned, members_key(NAMESPACE.key)}

    asyncio.run(story())


def test_a_lookup_that_nobody_answers_ends_within_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "LIMIT", 0.3)

    async def story() -> None:
        async with world(tmp_path) as w:
            start = asyncio.get_running_loop().time()
            found = (await w.guest.request("topology", "resolve", {"address": "192.168.10.20"})).body
            took = asyncio.get_running_loop().time() - start
            assert (found["node"], found["certain"], found["source"]) == (None, False, "none")
            assert 0.25 < took < 1.0

    asyncio.run(story())


def test_a_bare_node_has_no_directory_of_addresses(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path, namespace=None) as w:
            with pytest.raises(BusError, match="no namespace"):
                await w.guest.request("topology", "resolve", {"address": "192.168.10.10"})
            assert (await w.guest.request("topology", "status")).body["members"] is None

    asyncio.run(story())


def test_after_its_own_restart_it_is_in_the_ring_at_once_and_releases_nothing(tmp_path: Path) -> None:
    peer = {
        "node": OTHER, "addresses": [], "path": "direct", "endpoint": "192.0.2.1:1", "rtt_ms": 1.0,
        "overlay_hops": None, "kinds": ["near"], "member": False, "bytes_in": 0, "bytes_out": 0, "age_s": 1.0,
    }  # fmt: skip

    async def story() -> None:
        async with world(tmp_path, peers=[peer]) as w:
            await w.until(lambda: bool(w.link.called("routes")))
            assert all(call.body["member"] and call.body["routes"] for call in w.link.called("routes"))
            assert (await w.guest.request("topology", "status")).body["joined"]
            assert not w.link.called("release")

    asyncio.run(story())


def test_links_that_come_and_go_leave_nothing_behind(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as w:
            assert w.module._adopting is not None
            await w.module._adopting
            for number in range(20):
                node = f"{number:040x}"
                w.link.publish("link.up", {"node": node, "endpoint": "192.0.2.1:1", "kinds": [], "initiator": False})
                w.link.publish("link.down", {"node": node, "reason": "silent"})
            for _ in range(3):
                w.link.publish("link.demand", {"node": OTHER})
            await w.until(lambda: any(call.body["kind"] == "shortcut" for call in w.link.called("connect")))
            assert not w.module._meanwhile

    asyncio.run(story())


def test_traffic_gets_a_shortcut_until_it_is_idle(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as w:
            for _ in range(3):
                w.link.publish("link.demand", {"node": OTHER})
            await w.until(lambda: bool(w.link.called("connect")))
            w.link.publish("link.idle", {"node": OTHER})
            await w.until(lambda: bool(w.link.called("release")))
            assert all(call.body == {"node": OTHER, "kind": "shortcut"} for call in w.link.called("connect"))
            assert w.link.called("release")[0].body == {"node": OTHER, "kind": "shortcut"}

    asyncio.run(story())


def test_a_link_that_came_and_is_wanted_later_is_kept_among_those_that_are_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "SAVE_AFTER", 0.02)

    async def story() -> None:
        written = asyncio.Queue[bytes]()
        monkeypatch.setattr(KeptFile, "keep", lambda _, data: written.put_nowait(data))

        async def kept() -> dict[str, Any]:
            read: dict[str, Any] = msgspec.json.decode(await asyncio.wait_for(written.get(), 5.0))
            return read

        async with world(tmp_path) as ring:
            came = {"node": OTHER, "endpoint": "192.0.2.1:1", "kinds": [], "initiator": False}
            ring.link.publish("link.up", came)
            assert await kept() == {"chosen": {}, "near": {}, "came": {OTHER: "192.0.2.1:1"}}
            ring.link.publish("link.demand", {"node": OTHER})
            assert await kept() == {"chosen": {OTHER: "192.0.2.1:1"}, "near": {}, "came": {}}

    asyncio.run(story())


def test_at_the_cap_the_link_module_is_asked_how_much_goes_to_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shortcuts, "HELD", 0.0)
    monkeypatch.setattr(shortcuts, "WEIGH_EVERY", 0.0)
    idle, busy = "01" * 20, "02" * 20

    async def story() -> None:
        async with world(tmp_path, settings=Settings(shortcuts=1)) as w:
            w.link.publish("link.demand", {"node": idle})
            await w.until(lambda: bool(w.link.called("connect")))
            for sent in (0, 10**9):
                w.link.answer("peers", {"peers": [peer(idle, 5), peer(busy, sent)]})
                asked = len(w.link.called("peers"))
                w.link.publish("link.demand", {"node": busy})
                await w.until(lambda asked=asked: len(w.link.called("peers")) > asked)  # type: ignore[misc]  # mypy can't infer a lambda's default
            wish = {"node": busy, "kind": "shortcut"}
            await w.until(lambda: wish in [call.body for call in w.link.called("connect")])
            assert w.link.called("release")[0].body == {"node": idle, "kind": "shortcut"}
            status = (await w.guest.request("topology", "status")).body
            assert status["counters"]["shortcuts_displaced"] == 1

    asyncio.run(story())


def peer(node: str, sent: int) -> dict[str, Any]:
    figures = {"rtt_ms": 1.0, "overlay_hops": 1, "bytes_in": 0, "bytes_out": sent, "age_s": 1.0}
    return {"node": node, "addresses": [], "path": "overlay", "endpoint": None, "kinds": [], "member": True, **figures}


def test_of_too_many_that_came_those_to_whom_least_goes_are_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visiting, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(visitors, "FEWEST", 2)
    came = [f"{number:02x}" * 20 for number in range(1, 7)]

    async def story() -> None:
        peers = [{**peer(node, 1000 * number), "path": "direct"} for number, node in enumerate(came)]
        monkeypatch.setattr(Ring, "neighbours", lambda ring: [(node, "member") for node in ring.links])
        async with world(tmp_path, settings=Settings(shortcuts=0), peers=peers) as w:
            await w.until(lambda: len(w.link.called("turn_away")) >= len(came) - 2)
            assert [call.body["node"] for call in w.link.called("turn_away")][:4] == came[:4]
            status = (await w.guest.request("topology", "status")).body
            assert status["counters"]["visitors_turned_away"] >= 4

    asyncio.run(story())


def test_garbage_from_a_peer_is_dropped_and_counted(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as w:
            for data in (b"", b"\xff" * 50, b"\x91\x63"):
                body = {"sender": OTHER, "mode": "routed"}
                await w.guest.request("topology", "peer_message", body, [data])
            status = (await w.guest.request("topology", "status")).body
            assert status["counters"]["dropped"] == 3

    asyncio.run(story())


def test_the_schema_and_the_settings_agree() -> None:
    schema = ipop_module().schema
    jsonschema.Draft202012Validator.check_schema(schema)
    defaults = {name: part["default"] for name, part in schema["properties"].items()}
    assert msgspec.convert(defaults, Settings) == Settings()


@pytest.mark.parametrize(
    ("node", "certain", "code", "words"),
    [(OTHER, True, 0, OTHER), (None, True, 1, "nobody owns it"), (None, False, 1, "did not answer")],
)
def test_the_command_says_who_owns_an_address(
    monkeypatch: pytest.MonkeyPatch, node: str | None, certain: bool, code: int, words: str
) -> None:
    body = {"address": "10.0.0.1", "node": node, "certain": certain, "source": "directory", "lease_s": None}
    monkeypatch.setattr(commands, "ask", lambda *_: type("Reply", (), {"body": body}))
    command = next(command for command in ipop_commands() if command.name == "resolve")
    result = CliRunner().invoke(command, ["10.0.0.1"])
    assert (result.exit_code, words in result.output) == (code, True)
    assert '"certain"' in CliRunner().invoke(command, ["10.0.0.1", "--json"]).output
