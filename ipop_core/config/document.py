"""One JSON file (RFC 8259), read strictly: what another reader might take differently is a fault here.

So: UTF-8 without a byte order mark, no key twice in an object, no NaN or Infinity, no number beyond 64 bits, no lone
surrogates, at most 32 levels and 1 MB.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ipop_core.errors import ConfigError
from ipop_core.faults import raise_faults, show_key, show_place

LARGEST_FILE: Final = 1_000_000
DEEPEST: Final = 32
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

Steps = tuple[str | int, ...]


def read_document(path: Path) -> dict[str, Any]:
    """The object that the file holds. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(str(path), "no such file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(str(path), f"can't be read: {reason}") from None
    return parse_document(data, str(path))


def parse_document(data: bytes, name: str) -> dict[str, Any]:
    """The object that `data` holds; `name` stands for the file in faults. Raises ConfigError."""
    if len(data) > LARGEST_FILE:
        raise ConfigError(name, f"is larger than {LARGEST_FILE} bytes")
    if data.startswith(BYTE_ORDER_MARK):
        raise ConfigError(name, "starts with a byte order mark; save it as UTF-8 without one")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(name, f"is not UTF-8 (byte {error.start})") from None
    try:
        document = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{name}:{error.lineno}:{error.colno}", f"not JSON: {error.msg}") from None
    except RecursionError:
        raise ConfigError(name, f"is nested deeper than {DEEPEST} levels") from None
    if not isinstance(document, dict):
        raise ConfigError(name, "must hold a JSON object: { ... }")
    raise_faults([ConfigError(show_place(path) or name, fault) for path, fault in _faults(document, (), 1)])
    return document


class _Repeating(dict[str, Any]):
    """An object in which keys came twice: noted while parsing, reported with its place afterwards."""

    repeated: tuple[str, ...] = ()


class _NoNumber(str):
    """A number that Python's reader takes, and this one doesn't, as it was written."""

    __slots__ = ()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) == len(pairs):
        return document
    times = Counter(key for key, _ in pairs)
    repeating = _Repeating(document)
    repeating.repeated = tuple(key for key in document if times[key] > 1)
    return repeating


def _integer(text: str) -> int | _NoNumber:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        return _NoNumber(text)
    return int(text)


def _float(text: str) -> float | _NoNumber:
    number = float(text)
    return number if math.isfinite(number) else _NoNumber(text)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_NoNumber
)


def _faults(value: Any, path: Steps, depth: int) -> Iterator[tuple[Steps, str]]:
    if isinstance(value, dict | list) and depth > DEEPEST:
        yield (), f"is nested deeper than {DEEPEST} levels"
        return
    if isinstance(value, _NoNumber):
        shown = value if len(value) <= 24 else f"{value[:20]}..."
        yield path, f"{shown} is not a number that JSON and 64 bits can hold"
    elif isinstance(value, str) and _has_surrogate(value):
        yield path, "holds half a surrogate pair, which is no character"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _faults(item, (*path, index), depth + 1)
    elif isinstance(value, dict):
        for key in value.repeated if isinstance(value, _Repeating) else ():
            yield (*path, key), "this key is there twice"
        for key, item in value.items():
            if _has_surrogate(key):
                yield path, f"the key {show_key(key)} holds half a surrogate pair, which is no character"
                continue
            yield from _faults(item, (*path, key), depth + 1)


def _has_surrogate(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text)
