"""What all watchers see, in sections, and who watches. A slow watcher misses steps in between and holds nobody up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

import msgspec

MAX_WATCHERS: Final = 8


class Board:
    """`watched` is called with True when the first watcher comes, and with False when the last has gone."""

    def __init__(self, watched: Callable[[bool], None]) -> None:
        self.watchers = 0
        self._watched = watched
        self._sections: dict[str, bytes] = {}
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def is_full(self) -> bool:
        return self.watchers >= MAX_WATCHERS

    def put(self, section: str, value: Any) -> None:
        encoded = msgspec.json.encode(value)
        if self._sections.get(section) != encoded:
            self._sections[section] = encoded
            self._wake()

    def close(self) -> None:
        """Send everybody away."""
        self._closed = True
        self._wake()

    async def watch(self) -> AsyncGenerator[bytes]:
        """Server-sent events (WHATWG HTML, section 9.2): each section now, and again whenever it has changed."""
        self.watchers += 1
        if self.watchers == 1:
            self._watched(True)
        sent: dict[str, bytes] = {}
        try:
            while not self._closed:
                changed = self._changed
                news = {name: data for name, data in self._sections.items() if sent.get(name) is not data}
                for name, data in news.items():
                    yield b"event: %s\ndata: %s\n\n" % (name.encode(), data)
                sent |= news
                await changed.wait()
        finally:
            self.watchers -= 1
            if self.watchers == 0:
                self._sections.clear()
                self._watched(False)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
