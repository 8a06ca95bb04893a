"""What is served over HTTP: the metrics, the page, and the events that keep the page up to date."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final, cast

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Send

from ipop_core.bus.api import Bus
from ipop_core.errors import BusError
from ipop_modules.monitor import metrics
from ipop_modules.monitor.board import Board
from ipop_modules.monitor.door import Door
from ipop_modules.monitor.figures import gather

PAGE: Final = Path(__file__).with_name("page")
KINDS: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain",
}


def make_site(bus: Bus, board: Board, *, token: str, cookie: str, is_local: bool, counters: Counter[str]) -> Starlette:
    """`is_local`: only this machine can connect, and its Prometheus needs no token."""

    async def show_metrics(_: Request) -> Response:
        try:
            figures = await gather(bus)
        except BusError as fault:
            return PlainTextResponse(f"{fault.message}\n", 503)
        return Response(metrics.exposition(figures), media_type=metrics.CONTENT_TYPE)

    async def open_session(_: Request) -> Response:
        """The door has seen the token in the request's head: let the browser keep it where no script can read it."""
        response = Response(status_code=204)
        response.set_cookie(cookie, token, httponly=True, samesite="strict")
        return response

    async def show_events(_: Request) -> Response:
        if board.is_full:
            counters["refused_watcher"] += 1
            return PlainTextResponse("enough others watch already\n", 503)
        return _Events(board.watch(), media_type="text/event-stream")

    files = {("/" if path.name == "index.html" else f"/{path.name}"): path for path in PAGE.iterdir()}
    # The page itself says nothing of the node: what it shows comes by events.
    open_paths = {*files, *(["/metrics"] if is_local else [])}
    door = Middleware(Door, token=token, cookie=cookie, open_paths=open_paths, counters=counters)
    routes = [
        Route("/metrics", show_metrics),
        Route("/session", open_session, methods=["POST"]),
        Route("/events", show_events),
        *(Route(path, _showing(file)) for path, file in files.items()),
    ]
    return Starlette(routes=routes, middleware=[door])


def _showing(file: Path) -> Callable[[Request], Response]:
    def show(_: Request) -> Response:
        return Response(file.read_bytes(), media_type=KINDS[file.suffix])

    return show


class _Events(StreamingResponse):
    """Whatever ends the answer, the watcher is gone at once."""

    async def stream_response(self, send: Send) -> None:
        async with aclosing(cast(AsyncGenerator[bytes], self.body_iterator)):
            await super().stream_response(send)
