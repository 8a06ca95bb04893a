"""Keys that are wanted are asked for until they are there, and at once when they are wanted anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from ipaddress import ip_address

import pytest

from ipop_core.identity import Address
from ipop_modules.ipsec import wishes as module
from ipop_modules.ipsec.wishes import Wishes

PEER, OTHER = ip_address("192.168.10.11"), ip_address("192.168.10.12")


class Asked:
    """Wishes whose attempts are only noted."""

    def __init__(self) -> None:
        self.peers: asyncio.Queue[Address] = asyncio.Queue()
        self.over = False
        self.wishes = Wishes(self._ask, lambda _: self.over)

    async def _ask(self, peer: Address) -> None:
        self.peers.put_nowait(peer)

    async def next(self) -> Address:
        async with asyncio.timeout(10):
            return await self.peers.get()

    async def ended(self) -> None:
        """Until nothing is being asked for."""
        own = asyncio.current_task()
        async with asyncio.timeout(10):
            await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not own))


def play(scenario: Callable[[Asked], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        await scenario(Asked())

    asyncio.run(main())


def test_one_attempt_for_each_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIES", (0.0, 0.0, 0.0))

    async def scenario(asked: Asked) -> None:
        asked.wishes.want(PEER)
        await asked.ended()
        assert [asked.peers.get_nowait() for _ in range(asked.peers.qsize())] == [PEER] * 3
        asked.wishes.want(PEER)
        assert await asked.next() == PEER

    play(scenario)


def test_wanted_anew_it_is_asked_for_at_once_with_all_attempts_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIES", (600.0,))

    async def scenario(asked: Asked) -> None:
        asked.wishes.want(PEER)
        for _ in range(3):
            assert await asked.next() == PEER
            asked.wishes.want(PEER)
        assert await asked.next() == PEER
        assert await asked.wishes.give_up() == {PEER}

    play(scenario)


def test_wanted_anew_while_it_is_being_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIES", (600.0,))

    async def scenario(asked: Asked) -> None:
        asked.wishes.want(PEER)
        assert await asked.next() == PEER  # its attempt has not gone on to wait
        asked.wishes.want(PEER)
        assert await asked.next() == PEER
        await asked.wishes.give_up()

    play(scenario)


def test_what_is_over_is_asked_for_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIES", (0.0, 0.0, 0.0))

    async def scenario(asked: Asked) -> None:
        asked.over = True
        asked.wishes.want(PEER)
        await asked.ended()
        assert asked.peers.qsize() == 1

    play(scenario)


def test_what_is_wanted_while_others_are_given_up_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIES", (600.0,))

    async def scenario(asked: Asked) -> None:
        asked.wishes.want(PEER)
        assert await asked.next() == PEER
        ending = asyncio.create_task(asked.wishes.give_up())
        await asyncio.sleep(0)
        asked.wishes.want(PEER)
        asked.wishes.want(OTHER)
        assert await ending == {PEER}
        assert {await asked.next(), await asked.next()} == {PEER, OTHER}
        assert await asked.wishes.give_up() == {PEER, OTHER}

    play(scenario)
