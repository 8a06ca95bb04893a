from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipop_core.errors import IpopError
from ipop_core.supervision.descriptors import MAX_DESCRIPTORS, LocalDescriptors
from ipop_core.supervision.lifeline import ControllerEnd, Listeners, ModuleEnd, pair


@dataclass
class Heard:
    started: int = 0
    faults: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def begin(self) -> None:
        self.started += 1

    @property
    def listeners(self) -> Listeners:
        return Listeners(self.begin, self.faults.append, self.troubles.append)


@pytest.fixture
def store() -> Iterator[LocalDescriptors]:
    store = LocalDescriptors()
    yield store
    store.close()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def pipe_with(text: str) -> int:
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    os.close(writer)
    return reader


def read_and_close(fd: int | None) -> str:
    assert fd is not None
    with os.fdopen(fd) as file:
        return file.read()


def test_local_descriptors_are_duplicates(store: LocalDescriptors) -> None:
    fd = pipe_with("hello")
    store.keep("pipe", fd)
    os.close(fd)
    assert read_and_close(store.take("pipe")) == "hello"
    store.drop("pipe")
    assert store.take("pipe") is None
    store.drop("pipe")


def test_the_store_is_bounded_and_leaks_nothing(store: LocalDescriptors) -> None:
    before = open_descriptors()
    fd = pipe_with("x")
    for number in range(MAX_DESCRIPTORS):
        store.keep(str(number), fd)
    store.keep("0", fd)
    for name in ("one more", "", "x" * 65):
        with pytest.raises(IpopError):
            store.keep(name, fd)
    os.close(fd)
    store.close()
    assert open_descriptors() == before


def test_descriptors_outlive_the_module_that_kept_them(store: LocalDescriptors) -> None:
    async def story() -> None:
        for turn in range(2):
            ours, theirs = pair()
            controller = ControllerEnd(ours, store, Heard().listeners)
            module = ModuleEnd(theirs)
            if turn == 0:
                fd = pipe_with("still here")
                await asyncio.to_thread(module.keep, "card", fd)
                os.close(fd)
            else:
                assert read_and_close(await asyncio.to_thread(module.take, "card")) == "still here"
                await asyncio.to_thread(module.drop, "card")
                assert await asyncio.to_thread(module.take, "card") is None
                with pytest.raises(IpopError, match="at most"):
                    await asyncio.to_thread(module.keep, "", 0)
            theirs.close()
            controller.close()

    before = open_descriptors()
    asyncio.run(story())
    assert open_descriptors() == before


def test_what_was_said_just_before_the_end_is_heard(store: LocalDescriptors) -> None:
    async def story() -> Heard:
        heard = Heard()
        ours, theirs = pair()
        controller = ControllerEnd(ours, store, heard.listeners)
        module = ModuleEnd(theirs)
        module.trouble("port 4741 is taken; took 4742")
        module.started()
        module.fault("no permission for /dev/net/tun")
        theirs.close()
        controller.close()
        return heard

    heard = asyncio.run(story())
    assert heard == Heard(1, ["no permission for /dev/net/tun"], ["port 4741 is taken; took 4742"])


def test_a_module_whose_controller_is_gone_hears_so() -> None:
    ours, theirs = pair()
    ours.close()
    with theirs, pytest.raises(IpopError, match="the controller does not"):
        ModuleEnd(theirs).take("card")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.binary(min_size=1, max_size=200), st.booleans()), max_size=6))
def test_random_bytes_change_nothing(messages: list[tuple[bytes, bool]]) -> None:
    async def story() -> None:
        heard, store = Heard(), LocalDescriptors()
        ours, theirs = pair()
        controller = ControllerEnd(ours, store, heard.listeners)
        with theirs:
            for data, with_descriptor in messages:
                socket.send_fds(theirs, [data], [0] if with_descriptor else [])
        controller.close()
        assert heard == Heard()

    before = open_descriptors()
    asyncio.run(story())
    assert open_descriptors() == before
