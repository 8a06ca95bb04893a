"""asyncio beside a lane that always has something to do: timers, readers and calls from other threads come through."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from ipop_modules.tincan.frames import CardGone
from ipop_modules.tincan.link.loop import LOGGED_BURST, LaneLoop, LaneSelector, add_lane, faults, remove_lane


class Flood:
    """A descriptor that is always readable; `turns` counts how often it was served."""

    def __init__(self) -> None:
        self.descriptor, self._other = os.pipe()
        os.write(self._other, b"more")
        self.turns = 0

    def serve(self) -> bool:
        self.turns += 1
        return False

    def close(self) -> None:
        os.close(self.descriptor)
        os.close(self._other)


@pytest.fixture
def flood() -> Iterator[Flood]:
    made = Flood()
    yield made
    made.close()


def run(flood: Flood, work: object) -> None:
    async def flooded() -> None:
        loop = asyncio.get_running_loop()
        add_lane(loop, flood.descriptor, flood.serve)
        try:
            await work()  # type: ignore[operator]
        finally:
            remove_lane(loop, flood.descriptor)

    with asyncio.Runner(loop_factory=LaneLoop) as runner:
        runner.run(flooded())
    assert flood.turns > 1


@pytest.mark.timeout(10)
def test_timers_are_kept(flood: Flood) -> None:
    async def work() -> None:
        for _ in range(3):
            await asyncio.sleep(0.01)

    run(flood, work)


@pytest.mark.timeout(10)
def test_other_descriptors_are_served(flood: Flood) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        came = loop.create_future()
        loop.add_reader(reading, lambda: came.done() or came.set_result(os.read(reading, 10)))
        loop.call_later(0.01, os.write, writing, b"control")
        try:
            assert await came == b"control"
        finally:
            loop.remove_reader(reading)
            os.close(reading)
            os.close(writing)

    run(flood, work)


@pytest.mark.timeout(10)
def test_other_threads_are_heard(flood: Flood) -> None:
    async def work() -> None:
        assert await asyncio.to_thread(lambda: "done") == "done"

    run(flood, work)


@pytest.mark.timeout(10)
def test_asyncio_has_its_turn_when_the_lane_asks_for_it(flood: Flood) -> None:
    async def work() -> None:
        came = asyncio.Event()

        def serve() -> bool:
            flood.turns += 1
            came.set()
            return True

        loop = asyncio.get_running_loop()
        remove_lane(loop, flood.descriptor)
        add_lane(loop, flood.descriptor, serve)
        await came.wait()
        await asyncio.sleep(0)

    run(flood, work)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("fault", [RecursionError("too deep"), OSError("no descriptor is free")], ids=["any", "system"])
def test_a_fault_in_a_turn_is_counted_and_logged_and_ends_nothing(
    flood: Flood, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        enough = loop.create_future()

        def serve() -> bool:
            flood.turns += 1
            if faults(loop) >= 20 and not enough.done():
                enough.set_result(None)
            raise fault

        remove_lane(loop, flood.descriptor)
        add_lane(loop, flood.descriptor, serve)
        await enough
        assert faults(loop) >= 20

    run(flood, work)
    assert len([record for record in caplog.records if record.exc_info]) == LOGGED_BURST


def test_a_card_that_is_gone_ends_the_loop(flood: Flood) -> None:
    def serve() -> bool:
        raise CardGone("the card is gone")

    selector = LaneSelector()
    selector.add_lane(flood.descriptor, serve)
    with pytest.raises(CardGone, match="the card is gone"):
        selector.select(1)
    selector.close()
