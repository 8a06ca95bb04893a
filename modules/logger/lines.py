"""How a log record becomes a line: text for people, JSON for programs.

A record's own fields come by `extra={"fields": {...}}`. What peers say may be in a message or a field, so no control
character reaches a terminal and no record makes a second line that looks like another record.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

_PLAIN: Final = frozenset("-_.,:;/@+*()[]{}<>%#!?~^&|")
_RESERVED: Final = ("time", "process", "logger", "level", "message", "exception")


def text_line(record: logging.LogRecord, process: str) -> bytes:
    """`12:00:01.234 tincan   info    message key=value`, in local time; a traceback follows, indented."""
    time = datetime.fromtimestamp(record.created).astimezone()
    clock = f"{time:%H:%M:%S}.{time.microsecond // 1000:03}"
    words = [f"{clock} {origin(record, process):<8} {level_name(record):<7} {escape(record.getMessage())}"]
    words += [f"{escape(key)}={_quote(show(value))}" for key, value in fields_of(record).items()]
    trace = "".join(f"\n    {escape(line)}" for line in traceback_of(record).splitlines())
    return f"{' '.join(words)}{trace}\n".encode("utf-8", "replace")


def json_line(record: logging.LogRecord, process: str) -> bytes:
    """One object a line: time (RFC 3339, UTC), process, logger, level, message, exception and the record's own fields.

    A field of its own whose name is one of those gets an underscore behind it.
    """
    time = datetime.fromtimestamp(record.created, UTC)
    line: dict[str, Any] = {
        "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "process": process,
        "logger": record.name,
        "level": level_name(record),
        "message": record.getMessage(),
    }
    if trace := traceback_of(record):
        line["exception"] = trace
    for key, value in fields_of(record).items():
        line[f"{key}_" if key in _RESERVED else key] = _jsonable(value)
    return json.dumps(line).encode() + b"\n"


def origin(record: logging.LogRecord, process: str) -> str:
    """The module that speaks, which may run inline in another's process; else the process."""
    root, _, module = record.name.partition(".")
    return module.partition(".")[0] if root == "ipop" and module else process


def level_name(record: logging.LogRecord) -> str:
    return record.levelname.lower()


def fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    fields = getattr(record, "fields", None)
    return {str(key): value for key, value in fields.items()} if isinstance(fields, Mapping) else {}


def traceback_of(record: logging.LogRecord) -> str:
    return logging.Formatter().formatException(record.exc_info) if record.exc_info else ""


def escape(text: str) -> str:
    r"""Control characters, line ends among them, as `\n` or `\x1b`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def show(value: object) -> str:
    """A field's value in one line; bytes in hexadecimal digits."""
    return escape(bytes(value).hex() if isinstance(value, bytes | bytearray | memoryview) else str(value))


def _quote(text: str) -> str:
    if text and all(char.isalnum() or char in _PLAIN for char in text):
        return text
    return '"' + text.replace('"', '\\"') + '"'


def _jsonable(value: object) -> Any:
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # JSON has no NaN and no infinity
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, Mapping):
        return {str(key): _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_jsonable(inner) for inner in value]
    return str(value)
