"""Who may come in: decided from the head of a request, before anything is done for it.

- The `Host` must be an IP address or `localhost`. A foreign page that had its own name point here (DNS rebinding) sends
  that name, and gets nothing.
- What shows the node asks for the token: as `Authorization: Bearer TOKEN`, or in a cookie that the page gets for it.
  It never stands in a path or query, where logs and histories would keep it.
"""

from __future__ import annotations

import hmac
import secrets
from collections import Counter
from collections.abc import Container
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ipop_core.files import write_private

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Connection": "close",
}
"""On every answer. One request a connection, so that a deadline for the connection is one for the request."""
TOKEN_BYTES: Final = 18


def keep_token(path: Path) -> str:
    """The node's token: made once, 144 random bits. Raises ConfigError when it can't be written."""
    for _ in range(2):
        try:
            token = path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            token = ""
        if len(token) * 3 // 4 == TOKEN_BYTES:
            return token
        write_private(path, secrets.token_urlsafe(TOKEN_BYTES).encode())
    return path.read_text(encoding="ascii")


def is_safe_host(host: str) -> bool:
    """Whether a `Host` header names an address itself: no name of somebody else's choice leads here."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        port = port.removeprefix(":") if port.startswith(":") or not port else "?"
        if not bracket or ":" not in name:
            return False
    else:
        name, _, port = host.partition(":")
    if port and not (port.isascii() and port.isdigit()):
        return False
    if name == "localhost":
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class Door:
    """Wraps the site. `cookie` is the token's name in cookies; `open_paths` need no token."""

    def __init__(
        self, app: ASGIApp, *, token: str, cookie: str, open_paths: Container[str], counters: Counter[str]
    ) -> None:
        self._app = app
        self._token = token.encode()
        self._cookie = cookie
        self._open_paths = open_paths
        self._counters = counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        app = self._app if scope["type"] != "http" else self._refusal(scope) or self._app
        await app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not is_safe_host(hosts[0]):
            self._counters["refused_host"] += 1
            return PlainTextResponse("ask by IP address or as localhost\n", 421)
        if scope["path"] in self._open_paths or self._is_known(headers):
            return None
        self._counters["refused_token"] += 1
        wanted = {"WWW-Authenticate": "Bearer"}
        return PlainTextResponse("the token is missing or wrong; `ipop monitor` tells it\n", 401, wanted)

    def _is_known(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._is_token(token.strip())
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return morsel is not None and self._is_token(morsel.value)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token)
