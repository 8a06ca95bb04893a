import asyncio
import logging
import os
import time
from dataclasses import dataclass

from ipop_core.bus.api import Call, JsonObject
from ipop_core.contract import ModuleContext
from ipop_core.errors import IpopError


@dataclass(frozen=True)
class Settings:
    fault: str
    crash_times: int
    stop_seconds: float
    mood: str
    nick: str = ""


class FakeModule:
    def __init__(self, context: ModuleContext) -> None:
        self.context = context
        self.settings: Settings = context.settings
        for action in ("pid", "wait", "hang", "die", "keep", "held", "break", "refuse", "lie", "ask", "level", "mood"):
            context.bus.serve(action, getattr(self, f"do_{action}"))

    async def start(self) -> None:
        with (self.context.state / "starts").open("a") as file:
            file.write("x")
        if self.settings.fault:
            raise IpopError(self.settings.fault)
        if (self.context.state / "starts").stat().st_size <= self.settings.crash_times:
            os._exit(7)

    async def reconfigure(self, settings: Settings) -> None:
        if settings.mood == "stubborn":
            raise IpopError("will not change its mood")
        self.settings = settings

    async def stop(self) -> None:
        await asyncio.sleep(self.settings.stop_seconds)
        with (self.context.run / "stops").open("a") as file:
            file.write(f"{type(self.context.descriptors).__name__} {os.getpid()}\n")

    async def do_pid(self, call: Call) -> JsonObject:
        return {"pid": os.getpid(), "sender": call.sender, "node": self.context.identity.hex}

    async def do_wait(self, call: Call) -> None:
        await asyncio.sleep(call.body["seconds"])

    async def do_hang(self, _: Call) -> None:
        time.sleep(60)  # noqa: ASYNC251 - that is the point

    async def do_die(self, _: Call) -> None:
        os._exit(9)

    async def do_keep(self, call: Call) -> None:
        reader, writer = os.pipe()
        os.write(writer, call.body["text"].encode())
        self.context.descriptors.keep("pipe", reader)
        os.close(reader)
        os.close(writer)

    async def do_held(self, _: Call) -> JsonObject:
        fd = self.context.descriptors.take("pipe")
        if fd is None:
            return {"text": None}
        text = os.read(fd, 100).decode()
        os.close(fd)
        return {"text": text}

    async def do_break(self, _: Call) -> None:
        raise ZeroDivisionError("on purpose")

    async def do_refuse(self, _: Call) -> None:
        raise IpopError("not today")

    async def do_lie(self, _: Call) -> JsonObject:
        return {"lie": 1}

    async def do_ask(self, call: Call) -> JsonObject:
        reply = await self.context.bus.request(call.body["role"], call.body["action"])
        return reply.body

    async def do_level(self, _: Call) -> JsonObject:
        return {"level": logging.getLogger().level}

    async def do_mood(self, _: Call) -> JsonObject:
        return {"mood": self.settings.mood}
