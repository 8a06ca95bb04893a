"""What is served over HTTP."""

from __future__ import annotations

from collections import Counter

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ipop_core.bus.api import Bus
from ipop_core.errors import BusError
from ipop_modules.monitor import metrics
from ipop_modules.monitor.door import Door
from ipop_modules.monitor.figures import gather


def make_site(bus: Bus, *, token: str, cookie: str, is_local: bool, counters: Counter[str]) -> Starlette:
    """`is_local`: only this machine can connect, and its Prometheus needs no token."""

    async def show_metrics(_: Request) -> Response:
        try:
            figures = await gather(bus)
        except BusError as fault:
            return PlainTextResponse(f"{fault.message}\n", 503)
        return Response(metrics.exposition(figures), media_type=metrics.CONTENT_TYPE)

    open_paths = {"/metrics"} if is_local else set()
    door = Middleware(Door, token=token, cookie=cookie, open_paths=open_paths, counters=counters)
    return Starlette(routes=[Route("/metrics", show_metrics)], middleware=[door])
