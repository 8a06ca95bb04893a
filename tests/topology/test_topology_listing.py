"""The list of members as its reader asks for it: what storers tell has its bounds, and what goes over the bus, too."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from benchmarks.overlay_net.members import NAMESPACE_KEY
from ipop_core.bus.api import JsonObject
from ipop_core.namespace import Namespace
from ipop_core.testing import memory_bus
from ipop_modules.topology import directory
from ipop_modules.topology.protocol import ids, members
from ipop_modules.topology.protocol.effects import Effect, Listed, MemberOf
from ipop_modules.topology.protocol.machine import Machine
from ipop_modules.topology.protocol.members import MAX_PAGES, MAX_PARTS
from ipop_modules.topology.protocol.messages import MAX_COPIES, Copy, Get, GetAnswer
from ipop_modules.topology.protocol.records import members_key
from tests.topology.test_topology_distrust import NEXT, Story, crowded, member, said

KEY = members_key(NAMESPACE_KEY)
OWNERS = [b"owner %d" % number for number in range(6)]


def ask(story: Story) -> list[Get]:
    return said(story.machine.list_members(story.now), Get)


def answer(story: Story, get: Get, *copies: Copy, behind: bool = False) -> list[Effect]:
    return story.hear(GetAnswer(get.number, copies, len(copies), True, behind=behind), NEXT, proven=False)


def listed(effects: list[Effect]) -> list[bytes]:
    (found,) = [effect for effect in effects if isinstance(effect, Listed)]
    return [one.node for one in found.members]


def test_of_more_members_than_are_kept_those_that_were_told_of_longest_ago_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "MAX_RECORDS", 4)
    story = crowded()
    records = sorted((member(owner, 5, key=KEY) for owner in OWNERS), key=lambda record: record.owner)
    first, second, third = ask(story)
    answer(story, first, *(Copy(record, 60) for record in records[:3]))
    answer(story, second, *(Copy(record, 60) for record in records[3:]))
    assert listed(answer(story, third)) == [record.owner for record in records[2:]]


@pytest.mark.parametrize("is_going_on", [True, False])
def test_a_storer_whose_list_has_no_end_is_asked_for_so_many_pages(*, is_going_on: bool) -> None:
    """It makes up members with ever larger ids, or tells the same page again."""
    story = crowded()
    page = [Copy(member(b"%d" % number, 5, key=KEY), 60) for number in range(MAX_COPIES)]
    pages = [ask(story)[0]]
    while len(pages) <= 2 * MAX_PAGES:
        if is_going_on:
            last = max(page, key=lambda copy: copy.record.owner)
            page = [copy for copy in page if copy is not last] + [later(last)]
        effects = answer(story, pages[-1], *page)
        further = [get for get in said(effects, Get) if get.after]
        if not further:
            break
        pages += further
    assert len(pages) == (MAX_PAGES if is_going_on else 2)


def later(copy: Copy) -> Copy:
    """A member with a larger id than this one."""
    number = 0
    while (made := member(b"made up %d" % number, 5, key=KEY)).owner <= copy.record.owner:
        number += 1
    return Copy(made, 60)


def test_storers_that_say_of_every_part_that_more_is_behind_it_are_believed_to_some_depth() -> None:
    story = crowded()
    waiting = ask(story)
    keys = {get.key for get in waiting}
    while waiting:
        effects = answer(story, waiting.pop(), behind=True)
        waiting += said(effects, Get)
        keys.update(get.key for get in waiting)
    assert len(keys) == MAX_PARTS
    assert listed(effects) == []


class Told:
    """Stands for the machine of a node that has just been told of so many members."""

    def __init__(self, nodes: list[bytes]) -> None:
        self._members = tuple(MemberOf(node, f"n{place}", ()) for place, node in enumerate(nodes))
        self.asked = 0

    def list_members(self, now: float) -> list[Effect]:
        self.asked += 1
        return [Listed(self._members, certain=True)]


def test_a_long_list_goes_over_the_bus_in_pages_of_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MAX_LISTED", 2)
    nodes = [ids.from_number(number) for number in range(1, 6)]
    told = Told(nodes)

    async def story() -> None:
        async with memory_bus() as bus:
            client = await bus.connect("topology")
            namespace = Namespace(name="test", kind="open", key=bytes(32), authorities=())

            def perform(effects: object) -> None:
                for effect in cast("list[Listed]", effects):
                    served.answer(effect)

            served = directory.Directory(client, cast("Machine", told), namespace, perform)
            served.serve()
            client.started()
            guest = await bus.connect()
            pages: list[JsonObject] = [(await guest.request("topology", "members")).body]
            while pages[-1]["more"]:
                pages.append((await guest.request("topology", "members", {"after": pages[-1]["nodes"][-1]})).body)
            assert [len(page["nodes"]) for page in pages] == [2, 2, 1]
            assert [bytes.fromhex(node) for page in pages for node in page["nodes"]] == nodes
            assert told.asked == 1
            await guest.request("topology", "members")
            assert told.asked == 2, "whoever begins asks the directory"

    asyncio.run(story())


@pytest.mark.parametrize(("storers", "is_listed"), [(1, False), (2, True)])
def test_a_member_whose_record_is_over_is_listed_where_two_storers_have_it(storers: int, *, is_listed: bool) -> None:
    """Whoever kept it could list a member that left for ever; or its owner's clock is wrong."""
    story = crowded()
    story.now = 700.0
    old, new = member(b"old", 5, key=KEY), member(b"new", int(1000 * story.now), key=KEY)
    first, *others, last = ask(story)
    answer(story, first, Copy(old, 60), Copy(new, 60))
    for number, get in enumerate(others, start=1):
        answer(story, get, *([Copy(old, 60)] if number < storers else []))
    assert set(listed(answer(story, last))) == ({old.owner, new.owner} if is_listed else {new.owner})


def test_a_member_whose_record_is_over_is_listed_where_all_that_answer_have_it() -> None:
    story = crowded()
    story.now = 700.0
    old = member(b"old", 5, key=KEY)
    answer(story, ask(story)[0], Copy(old, 60))
    story.now += members.LIMIT
    assert listed(story.machine.wake(story.now)) == [old.owner]


def test_a_storer_that_says_at_once_that_there_is_nobody_ends_no_list_that_others_still_tell() -> None:
    story = crowded()
    records = sorted((member(owner, 5, key=KEY) for owner in OWNERS[:4]), key=lambda record: record.owner)
    lying, telling, _ = ask(story)
    answer(story, lying)
    found: list[Effect] = []
    for record in records:
        story.now += 0.8 * members.WAIT
        found += story.machine.wake(story.now)
        page = [Copy(record, 60)] * MAX_COPIES  # a full page: there may be more
        further = [get for get in said(answer(story, telling, *page), Get) if get.after == record.owner]
        telling = further[0]
    assert not [effect for effect in found if isinstance(effect, Listed)]
    answer(story, telling)
    story.now += members.WAIT
    found = story.machine.wake(story.now)
    assert listed(found) == [record.owner for record in records]
    assert certain(found)


@pytest.mark.parametrize("told", [0, 1, 2])
def test_a_list_is_certain_where_two_storers_have_told_all(told: int) -> None:
    story = crowded()
    for get in ask(story)[:told]:
        answer(story, get)
    story.now += members.LIMIT
    assert certain(story.machine.wake(story.now)) == (told == 2)


def certain(effects: list[Effect]) -> bool:
    (found,) = [effect for effect in effects if isinstance(effect, Listed)]
    return found.certain
