"""What runs in a module's own process, from the fork to the end."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import socket
from collections.abc import Callable
from typing import Final

from ipop_core.bus.client import BusClient
from ipop_core.bus.zeromq import DealerTransport
from ipop_core.config import resolve
from ipop_core.contract import Module
from ipop_core.errors import IpopError
from ipop_core.folders import bus_socket
from ipop_core.supervision.lifeline import ModuleEnd
from ipop_core.supervision.runtime import LEVELS_TOPIC, Runtime, build_module, serve_settings, set_level

STOP_LIMIT: Final = 2.0
"""Seconds that `Module.stop` may take."""
FAULT_STATUS: Final = 2
"""Exit status after a fault that was reported in one line."""

_log: Final = logging.getLogger(__name__)


def run(runtime: Runtime, name: str, token: bytes, sock: socket.socket) -> int:
    """Run the module until it is told to stop (SIGTERM). Returns the process's exit status."""
    lifeline = ModuleEnd(sock)
    try:
        runtime.announce_process(name)
        with asyncio.Runner(loop_factory=_loop_factory(runtime, name)) as runner:
            runner.run(_run(runtime, name, token, lifeline))
    except IpopError as error:
        lifeline.fault(str(error))
        return FAULT_STATUS
    except Exception:
        _log.exception("the module %s broke", name)
        return 1
    finally:
        logging.shutdown()
    return 0


def _loop_factory(runtime: Runtime, name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    where = runtime.module(name).spec.event_loop
    if where is None:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = resolve(where, f"modules.{name}")
    return factory


async def _run(runtime: Runtime, name: str, token: bytes, lifeline: ModuleEnd) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    configured = runtime.module(name)
    transport = DealerTransport(bus_socket(runtime.configuration.node.run), token)
    client = BusClient(transport, runtime.contracts, configured.spec.role)
    try:
        module = build_module(runtime, configured, client, lifeline, lifeline.trouble)
        serve_settings(client, configured.spec, module)
        await client.subscribe(LEVELS_TOPIC, functools.partial(set_level, name))
        await client.hello()
        if await _start(module, stopping):
            client.started()
            lifeline.started()
            _log.info("the module %s runs as process %d", name, os.getpid())
            await stopping.wait()
        await _stop(module, name)
    finally:
        await client.close()


async def _start(module: Module, stopping: asyncio.Event) -> bool:
    """Start the module, unless it is told to stop first. Raises what its `start` raises."""
    start = asyncio.ensure_future(module.start())
    stop = asyncio.ensure_future(stopping.wait())
    await asyncio.wait([start, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if start.done():
        start.result()
        return True
    start.cancel()
    await asyncio.wait([start])
    return False


async def _stop(module: Module, name: str) -> None:
    try:
        async with asyncio.timeout(STOP_LIMIT):
            await module.stop()
    except TimeoutError:
        _log.warning("the module %s did not stop within %g s", name, STOP_LIMIT)
