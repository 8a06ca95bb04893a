"""How faults are written: the place, the value there, and several faults as one error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ipop_core.errors import ConfigError

LONGEST_VALUE: Final = 60
PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_$-]{1,60}")


class CombinedConfigError(ConfigError):
    """Every fault that was found, one a line, sorted."""

    def __init__(self, faults: Iterable[ConfigError]) -> None:
        lines = {str(fault): fault for fault in faults}
        self.faults: tuple[ConfigError, ...] = tuple(lines[line] for line in sorted(lines))
        super().__init__(self.faults[0].place, self.faults[0].fault)

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)


def raise_faults(faults: Sequence[ConfigError]) -> None:
    """Raise what was found; nothing when nothing was."""
    if faults:
        raise CombinedConfigError(faults)


def show_place(path: Iterable[str | int]) -> str:
    """`modules.signal.bootstraps[0]` for a path of keys and indexes; empty for the whole document."""
    place = ""
    for step in path:
        if isinstance(step, int):
            place += f"[{step}]"
            continue
        place += ("." if place else "") + show_key(step)
    return place


def show_key(key: str) -> str:
    return key if PLAIN_KEY.fullmatch(key) else show_value(key)


def show_value(value: Any) -> str:
    """A value as JSON, shortened; of an object or a list only what it is, for there may be secrets in it."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False)
    text = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 4]}..." + ('"' if text[0] == '"' else "")
