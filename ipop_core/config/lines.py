"""Which line of a configuration file a fault is on. The text is JSON that was read before, so it is sound."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]  # the standard library's own, without a stub
from typing import Final

from ipop_core.errors import ConfigError
from ipop_core.faults import CombinedConfigError, show_place

_BLANK: Final = re.compile(r"[ \t\r\n]*")
_SCALAR: Final = re.compile(r"[^\s,\]}]+")
_LAST_STEP: Final = re.compile(r'(?:\.?(?:[A-Za-z0-9_$-]+|"(?:[^"\\]|\\.)*")|\[\d+\])$')

Steps = tuple[str | int, ...]


def with_line(error: ConfigError, text: str, name: str) -> ConfigError:
    """The error, with the file's name and the line before every fault whose place is in the text."""
    faults = error.faults if isinstance(error, CombinedConfigError) else (error,)
    try:
        lines = place_lines(text)
    except (ValueError, RecursionError):  # a file that is no JSON: the fault says where
        return error
    return CombinedConfigError([_located(fault, lines, name) for fault in faults])


def place_lines(text: str) -> dict[str, int]:
    """The line, from 1, of every place as faults name it. Raises ValueError where the text is no JSON."""
    json.loads(text)
    return {show_place(path): text.count("\n", 0, start) + 1 for path, start in _Walk(text).places()}


def _located(fault: ConfigError, lines: dict[str, int], name: str) -> ConfigError:
    place = fault.place
    while place and place not in lines:
        shorter = _LAST_STEP.sub("", place)
        place = shorter if shorter != place else ""
    return ConfigError(f"{name}:{lines[place]}: {fault.place}", fault.fault) if place else fault


class _Walk:
    """One pass over the text; `at` is the next character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def places(self, path: Steps = ()) -> Iterator[tuple[Steps, int]]:
        """Every path with where it starts, of the value that comes next."""
        match self._peek():
            case "{":
                yield from self._members(path)
            case "[":
                yield from self._items(path)
            case '"':
                self._string()
            case _:
                self._at = _SCALAR.match(self._text, self._at).end()  # type: ignore[union-attr]  # it is sound JSON

    def _members(self, path: Steps) -> Iterator[tuple[Steps, int]]:
        self._at += 1
        while self._peek() != "}":
            start = self._at
            inner = (*path, self._string())
            yield inner, start
            self._peek()
            self._at += 1  # the colon
            yield from self.places(inner)
            self._comma()
        self._at += 1

    def _items(self, path: Steps) -> Iterator[tuple[Steps, int]]:
        self._at += 1
        index = 0
        while self._peek() != "]":
            yield (*path, index), self._at
            yield from self.places((*path, index))
            self._comma()
            index += 1
        self._at += 1

    def _peek(self) -> str:
        blank = _BLANK.match(self._text, self._at)
        self._at = blank.end() if blank else self._at
        return self._text[self._at]

    def _comma(self) -> None:
        if self._peek() == ",":
            self._at += 1

    def _string(self) -> str:
        text, self._at = scanstring(self._text, self._at + 1)
        return str(text)
