"""A stranger's topology instead of the ring: its rules, and the tutorial's ping, swapped in by configuration."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_core.bus.api import JsonObject
from ipop_core.lab import Laboratory, capabilities
from ipop_core.testing import FakeRole, memory_bus, module_context
from tests.examples.installing import EXAMPLES, install
from tests.system.conftest import require
from tests.system.node import Node, stop_all
from tests.system.overlay import Overlay
from tests.system.test_naming import address_of
from tests.tutorial_page import MACHINES, Machines, commands

sys.path.append(str(EXAMPLES / "ipop-fullmesh"))

from ipop_fullmesh import mesh as rules
from ipop_fullmesh.allocation import MOST, Allocation
from ipop_fullmesh.mesh import Mesh
from ipop_fullmesh.module import FullMesh, Settings
from ipop_fullmesh.names import read_name
from ipop_fullmesh.profile import MAX_SEALED, opened, sealed

ALICE, BOB, CAROL = (letter * 20 for letter in (b"a", b"b", b"c"))
ADDRESS = bytes([192, 168, 10, 10])


KEY = b"n" * 32
README = EXAMPLES / "ipop-fullmesh" / "README.md"


def mesh(node: bytes, namespace: bytes | None = KEY) -> Mesh:
    return Mesh(node, namespace, 8, random.Random(node).randbytes)


def tell(one: Mesh, other: Mesh, node: bytes, now: float) -> rules.Doings:
    """What `one`, which is `node`, says to `other` when they are linked."""
    doings = one.link_up(other._me, now)
    other.link_up(node, now)
    (data,) = [data for to, data in doings.send if to == other._me]
    return other.receive(node, data, now)


def test_who_is_heard_of_is_wished_for_by_way_of_the_neighbour_and_again_later() -> None:
    alice, bob = mesh(ALICE), mesh(BOB)
    bob.link_up(CAROL, 0.0)
    doings = tell(bob, alice, BOB, 0.0)
    assert doings.connect == [(CAROL, BOB)]
    assert alice.wake(1.0).connect == []
    assert alice.wake(rules.CONNECT_AGAIN + 1).connect == [(CAROL, BOB)]
    alice.link_up(CAROL, 9.0)
    assert alice.wake(20.0).connect == []


def test_a_neighbours_address_is_found_and_of_two_the_older_claim_counts() -> None:
    alice, bob, carol = mesh(ALICE), mesh(BOB), mesh(CAROL)
    bob.set_addresses([ADDRESS], 2000, 0.0)
    carol.set_addresses([ADDRESS], 1000, 0.0)
    tell(bob, alice, BOB, 0.0)
    assert alice.owner(ADDRESS, 0.0) == (BOB, True)
    tell(carol, alice, CAROL, 0.0)
    assert alice.owner(ADDRESS, 0.0) == (CAROL, True)
    tell(carol, bob, CAROL, 0.0)
    assert bob.owner(ADDRESS, 0.0) == (CAROL, True)
    alice.link_down(CAROL, 1.0)
    assert alice.owner(ADDRESS, 1.0) == (BOB, True)


def test_of_too_many_addresses_those_that_fit_are_told_and_the_name_with_them() -> None:
    alice, bob = mesh(ALICE), mesh(BOB)
    addresses = [bytes([192, 168, 10, number]) for number in range(1, rules.MOST_ADDRESSES + 1)]
    bob.set_addresses(addresses, 1, 0.0)
    bob.set_name("bob", 1, 0.0)
    bob.allocate(ip_network("10.0.0.0/8"), None, 1, 0.0)
    tell(bob, alice, BOB, 0.0)
    chosen, _ = bob.allocated(0.0)
    assert chosen is not None
    assert alice.members()[BOB] == ("bob", sorted([chosen, *addresses[:-1]]))


def test_a_neighbour_that_names_ever_others_is_not_remembered_without_end() -> None:
    alice = mesh(ALICE)
    alice.link_up(BOB, 0.0)
    for hello in range(9):
        others = tuple(bytes([hello, number]) * 10 for number in range(256))
        alice.receive(BOB, msgspec.msgpack.encode(rules.Hello(others, b"")), 1.0)
        assert len(alice._attempts) + len(alice._rests) <= 2 * 256


def test_nobody_is_certain_only_when_there_was_time_to_hear() -> None:
    alice, bob = mesh(ALICE), mesh(BOB)
    assert alice.owner(ADDRESS, 100.0) == (None, False)
    tell(bob, alice, BOB, 100.0)
    assert alice.owner(ADDRESS, 100.1) == (None, False)
    assert alice.owner(ADDRESS, 100.1 + rules.YOUNG) == (None, True)


def test_who_was_heard_of_and_is_not_linked_yet_may_own_it() -> None:
    alice, bob = mesh(ALICE), mesh(BOB)
    bob.link_up(CAROL, 0.0)
    tell(bob, alice, BOB, 100.0)
    assert alice.owner(ADDRESS, 100.1 + rules.YOUNG) == (None, False)
    assert alice.owner(ADDRESS, 100.1 + rules.AWAITED) == (None, True)
    alice.link_up(CAROL, 101.0)
    assert alice.owner(ADDRESS, 101.1 + rules.YOUNG) == (None, True)


def test_what_was_said_before_the_other_sides_link_is_up_is_said_again() -> None:
    alice, bob = mesh(ALICE), mesh(BOB)
    bob.set_addresses([ADDRESS], 1000, 0.0)
    (early,) = bob.link_up(ALICE, 0.0).send
    alice.receive(BOB, early[1], 0.1)
    (answer,) = bob.receive(ALICE, alice.link_up(BOB, 0.2).send[0][1], 0.2).send
    again = alice.receive(BOB, answer[1], 0.3)
    assert alice.owner(ADDRESS, 0.3) == (BOB, True)
    assert bob.receive(ALICE, again.send[0][1], 0.4).send == []


def test_another_namespace_learns_nothing() -> None:
    alice, bob = mesh(ALICE, b"x" * 32), mesh(BOB)
    bob.set_addresses([ADDRESS], 1000, 0.0)
    tell(bob, alice, BOB, 0.0)
    assert alice.owner(ADDRESS, 10.0) == (None, True)


@given(st.binary(max_size=200))
def test_garbage_is_dropped_and_counted(data: bytes) -> None:
    alice = mesh(ALICE)
    alice.link_up(BOB, 0.0)
    doings = alice.receive(BOB, data, 0.0)
    assert alice.dropped == 1 or doings.news


NETWORK = ip_network("192.168.10.0/29")
PEER: JsonObject = {
    "addresses": [], "path": "direct", "endpoint": "192.0.2.1:1", "rtt_ms": 1.0, "overlay_hops": None,
    "kinds": ["mesh"], "member": True, "bytes_in": 0, "bytes_out": 0, "age_s": 1.0,
}  # fmt: skip
STATUS: JsonObject = {
    "node": "ab" * 20, "card": None, "listening": [], "observed": [], "sessions": 0, "counters": {},
}  # fmt: skip


def meet(now: float, *nodes: Mesh) -> None:
    """All are linked, and hear what each has to say."""
    for one in nodes:
        for other in nodes:
            if one is not other:
                one.link_up(other._me, now)
    speak(now, *nodes)


def speak(now: float, *nodes: Mesh) -> None:
    for one in nodes:
        data = one._hello()
        for other in nodes:
            if one is not other:
                other.receive(one._me, data, now)


def test_a_name_leads_to_its_owner_and_its_addresses_and_the_older_claim_counts() -> None:
    alice, bob, carol = mesh(ALICE), mesh(BOB), mesh(CAROL)
    bob.set_name("bob", 500, 0.0)
    assert bob.owner("bob", 0.0) == (None, False), "a name is that of a node with an address"
    bob.set_addresses([ADDRESS], 1000, 0.0)
    carol.set_addresses([bytes(4)], 1000, 0.0)
    carol.set_name("bob", 2000, 0.0)
    meet(0.0, alice, bob, carol)
    for node in (alice, bob, carol):
        assert node.owner("bob", 0.0) == (BOB, True)
    assert alice.members()[BOB] == ("bob", [ADDRESS])
    bob.set_name("robert", 3000, 1.0)
    speak(1.0, alice, bob, carol)
    assert alice.owner("robert", 1.0) == (BOB, True)
    assert alice.owner("bob", 1.0) == (CAROL, True)
    assert alice.owner("nobody", 1.0 + 2 * rules.YOUNG) == (None, True)


def test_two_that_take_any_address_at_once_get_one_each() -> None:
    alice, bob = mesh(b"a" * 20), mesh(b"a" * 12 + b"g" * 8)
    for node, began in ((alice, 1000), (bob, 999)):
        node.allocate(NETWORK, ADDRESS[:3] + b"\x03", began, 0.0)
    assert alice.allocated(0.0)[0] == bob.allocated(0.0)[0]
    meet(0.0, alice, bob)
    assert not bob.allocated(rules.YOUNG)[1], "somebody else may turn up"
    for node in (alice, bob):
        node.settle(1100, 0.1)
    speak(0.1, alice, bob)
    assert alice.allocated(0.2)[0] != bob.allocated(0.2)[0] == bytes([192, 168, 10, 3])
    for node in (alice, bob):
        node.settle(2000, 3.0)
        address, certain = node.allocated(3.0)
        assert certain
        assert ip_address(address or b"") in NETWORK
        assert node.owner(address or b"", 3.0) == (node._me, True)


def test_an_address_is_kept_while_it_is_this_nodes_and_another_one_is_found_when_it_is_not() -> None:
    alice, bob = mesh(ALICE), mesh(BOB)
    wanted = bytes([192, 168, 10, 3])
    meet(0.0, alice, bob)
    alice.allocate(NETWORK, wanted, 1000, 0.0)
    assert alice.allocated(5.0) == (wanted, True)
    alice.set_addresses([wanted], 9000, 5.0)
    bob.set_addresses([wanted], 5000, 5.9)
    speak(5.9, alice, bob)
    alice.allocate(NETWORK, None, 9000, 6.0)
    assert alice.allocated(6.0) == (wanted, True), "it had it first, whatever is said now"
    assert bob.owner(wanted, 6.0) == (ALICE, True)
    bob.set_addresses([], 500, 6.9)
    bob.set_addresses([wanted], 500, 7.0)
    speak(7.0, alice, bob)
    assert alice.owner(wanted, 7.0) == (BOB, True)
    alice.allocate(NETWORK, None, 9000, 7.0)
    address, certain = alice.allocated(7.0)
    assert (address != wanted, certain) == (True, False)
    assert alice.allocated(7.1 + rules.YOUNG) == (address, True)


def test_a_network_without_a_free_address_is_full() -> None:
    alice, bob = mesh(ALICE), mesh(BOB)
    bob.set_addresses([address.packed for address in NETWORK.hosts()], 500, 0.0)
    meet(0.0, alice, bob)
    alice.allocate(NETWORK, None, 1000, 0.0)
    assert alice.allocated(0.0) == (None, True)
    bob.set_addresses([address.packed for address in NETWORK.hosts()][1:], 500, 0.0)
    speak(1.0, alice, bob)
    alice.allocate(NETWORK, None, 1000, 2.0)
    assert alice.allocated(9.0) == (next(NETWORK.hosts()).packed, True)


def flood(one: Mesh, neighbour: bytes, seconds: int) -> int:
    """A neighbour names 256 others each second that nobody has; how many attempts that brings."""
    attempts = 0
    for second in range(1, seconds + 1):
        names = tuple(bytes([second, number % 256]) * 10 for number in range(256))
        data = msgspec.msgpack.encode(rules.Hello(names, bytes([second])))
        attempts += len(one.receive(neighbour, data, float(second)).connect)
        attempts += len(one.wake(second + 0.5).connect)
    return attempts


def test_who_names_ever_others_brings_few_attempts_and_keeps_nothing_from_being_certain() -> None:
    alice, bob = mesh(ALICE), mesh(BOB)
    tell(bob, alice, BOB, 0.0)
    alice.link_up(CAROL, 0.0)
    alice.allocate(NETWORK, None, 1000, 0.0)
    attempts = flood(alice, CAROL, 55)
    print(f"{attempts} attempts in 55 s")
    assert attempts <= rules.OF_ONE * 55 / rules.CONNECT_AGAIN
    assert alice.allocated(56.0)[1]
    assert alice.owner(ADDRESS, 56.0) == (None, True)
    bob.link_up(b"d" * 20, 56.0)
    assert tell(bob, alice, BOB, 56.0).connect == [(b"d" * 20, BOB)]
    assert alice.owner(ADDRESS, 56.1 + rules.YOUNG) == (None, False), "whom another names may own it"


def test_of_many_that_a_neighbour_names_the_next_is_tried_when_one_is_linked() -> None:
    alice = Mesh(ALICE, KEY, 64, random.Random(1).randbytes)
    alice.link_up(BOB, 0.0)
    others = [bytes([number]) * 20 for number in range(1, 31)]
    data = msgspec.msgpack.encode(rules.Hello(tuple(others), b""))
    tried = [node for node, _ in alice.receive(BOB, data, 0.0).connect]
    assert tried == others[: rules.OF_ONE]
    for number in range(30):
        tried += [node for node, _ in alice.link_up(others[number], 0.1).connect]
    assert tried == others


def test_who_was_tried_in_vain_is_tried_again_after_a_rest() -> None:
    alice, bob = mesh(ALICE), mesh(BOB)
    bob.link_up(CAROL, 0.0)
    times = [0.0] if tell(bob, alice, BOB, 0.0).connect else []
    times += [float(now) for now in range(1, 45) if alice.wake(float(now)).connect]
    assert times == [0, 3, 6, 9, 30, 33, 36, 39]


def test_of_neighbours_that_named_others_in_vain_and_are_gone_nothing_is_kept() -> None:
    alice = mesh(ALICE)
    for number in range(1, 50):
        neighbour, now = bytes([number]) * 20, 100.0 * number
        alice.link_up(neighbour, now)
        alice.receive(neighbour, msgspec.msgpack.encode(rules.Hello((bytes([200, number]) * 10,), b"")), now)
        alice.link_down(neighbour, now + 1)
        alice.wake(now + rules.AWAITED)
        alice.link_up(BOB, now + rules.AWAITED)
        alice.receive(BOB, msgspec.msgpack.encode(rules.Hello((), bytes([number]))), now + rules.AWAITED)
    assert len(alice._vain) <= 1


def test_links_that_ended_while_the_link_module_was_away_are_gone(tmp_path: Path) -> None:
    async def scene() -> None:
        async with memory_bus() as bus:
            direct = [{**PEER, "node": node.hex()} for node in (BOB, CAROL)]
            link = FakeRole(bus, "link", {"peers": {"peers": direct}, "status": STATUS, "routes": {}, "send": {}})
            await link.start()
            client = await bus.connect("topology")
            module = FullMesh(module_context(Settings(), bus=client, folder=tmp_path))
            await module.start()
            client.started()
            guest, core = await bus.connect(None), await bus.connect("core")

            async def linked(*nodes: bytes) -> None:
                async with asyncio.timeout(5.0):
                    while True:
                        status = (await guest.request("topology", "status")).body
                        if [item["node"] for item in status["neighbours"]] == [node.hex() for node in nodes]:
                            return

            try:
                await linked(BOB, CAROL)
                link.answer("peers", {"peers": direct[1:]})
                core.publish("core.module", {"name": "tincan", "state": "running"})
                await linked(CAROL)
                link.publish("link.up", {"node": BOB.hex(), "endpoint": "192.0.2.1:1", "kinds": [], "initiator": True})
                await linked(BOB, CAROL)
                assert not module._meanwhile, "of what comes and goes later no note is kept"
            finally:
                await module.stop()

    asyncio.run(scene())


@given(
    st.sampled_from(["10.0.0.0/30", "10.0.0.0/31", "10.0.0.7/32", "192.168.10.0/24", "fd00::/125"]),
    st.binary(min_size=20, max_size=20),
    st.binary(min_size=4, max_size=16),
)
def test_every_address_of_a_network_is_tried_once(text: str, node: bytes, wanted: bytes) -> None:
    network = ip_network(text)
    hosts = list(network.hosts())
    for before in (wanted, None, hosts[0].packed):
        allocation, tried = Allocation(network, node, before, 0.0), []
        while allocation.address is not None:
            tried.append(ip_address(allocation.address))
            allocation.next(0.0)
        assert sorted(tried) == sorted(hosts)
        assert len(tried) <= MOST


@given(
    st.lists(st.ip_addresses().map(lambda ip: ip.packed), max_size=16),
    st.text("ab-9", max_size=63),
    st.binary(max_size=99),
)
def test_what_a_node_says_of_itself_is_read_by_members_alone_and_as_its_own(
    addresses: list[bytes], name: str, noise: bytes
) -> None:
    claims = {**dict.fromkeys(addresses, 2**53), **({name: 5} if name else {})}
    data = sealed(claims, ALICE, KEY, random.Random(1).randbytes)
    assert len(data) <= MAX_SEALED
    assert opened(data, ALICE, KEY) == claims
    assert opened(data, BOB, KEY) == opened(data, ALICE, b"x" * 32) == opened(noise, ALICE, KEY) == {}


@pytest.mark.parametrize("text", ["", "-a", "a-", "a.b", "a" * 64, "ä"])
def test_names_are_labels_or_one_error(text: str) -> None:
    assert read_name("Alice-2") == "alice-2"
    with pytest.raises(ValueError, match="is not a host name"):
        read_name(text)


def swapped(node: Node) -> Node:
    modules = node.document["modules"]
    modules["fullmesh"] = modules.pop("topology")
    return node


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(install("ipop-fullmesh", tmp_path)))


@pytest.mark.net
@pytest.mark.slow
def test_the_tutorials_commands_where_the_site_has_it(installed: None) -> None:
    """Not its step 3: IPsec has nothing of the topology but who owns an address, and its trial takes two minutes."""
    for right in (capabilities().laboratory, capabilities().tun):
        require(right)
    with Laboratory() as lab:
        site = lab.folder / "site.json"
        (said,) = (line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith('{"modules"'))
        site.write_text(said)
        machines = Machines(lab, lab.segment(), IPOP_SITE=str(site))
        try:
            machines.type(commands(last="## Step 3: IPsec"))
            for name in MACHINES:
                running = {module["name"] for module in json.loads(machines.output(name, "ipop modules --json"))}
                assert running == {"logger", "tincan", "signal", "fullmesh"}
            machines.type(commands(first="To leave:"))
        finally:
            machines.leave()


@pytest.mark.net
@pytest.mark.slow
def test_the_tutorials_ping_with_it(installed: None) -> None:
    for right in (capabilities().laboratory, capabilities().tun):
        require(right)
    with Laboratory() as lab:
        public = lab.segment()
        overlay = Overlay(lab, public, bare_nodes=3)
        for node in overlay.bare:
            swapped(node)
        overlay.start()
        alice, bob = (
            swapped(overlay.member(name, overlay.home(name).host, f"192.168.10.{number}/24")).start()
            for name, number in (("alice", 10), ("bob", 20))
        )
        carol = swapped(overlay.member("carol", lab.host("carol", public), "auto", topology={"name": "Carol"})).start()
        for node in (alice, bob, carol):
            node.ready()
        assert alice.ping(bob.address, count=10).received == 10
        assert bob.ping(alice.address).received == 3
        alice.until_direct(bob)
        alice.until("topology", "status", lambda body: len(body["neighbours"]) == 5, "link.up")
        assert alice.ping("192.168.10.77", count=1).received == 0
        given = address_of(carol).partition("/")[0]
        assert carol.ask("topology", "status")["name"]["state"] == "registered"
        found = alice.ask("topology", "resolve_name", {"name": "carol"})
        assert (found["node"], found["addresses"]) == (carol.node_id(), [given])
        assert bob.ping(given).received == 3
        listed = bob.ask("topology", "members")["members"]
        members = [(None, alice.address), (None, bob.address), ("carol", given)]
        assert {(item["name"], *item["addresses"]) for item in listed} == {*members}
        assert not any(stop_all((alice, bob, carol, *overlay.bare)))
