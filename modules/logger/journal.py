"""A log record as the fields of systemd's journal (Native Journal Protocol).

A field is `NAME=value` and a line end; where the value has a line end in it, `NAME`, a line end, the value's length (64
bits, little endian), the value and a line end.
"""

from __future__ import annotations

import logging
from typing import Final

from ipop_modules.logger.lines import escape, fields_of, origin, show, traceback_of

LONGEST_VALUE: Final = 16_384
"""Bytes. A datagram holds some two hundred thousand; more would need a descriptor in its place."""
_PRIORITIES: Final = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def journal_entry(record: logging.LogRecord, process: str) -> bytes:
    """MESSAGE ends with the record's own fields, as in text lines, for `journalctl` shows nothing else."""
    fields = {escape(key): show(value) for key, value in fields_of(record).items()}
    words = [escape(record.getMessage()), *(f"{key}={value}" for key, value in fields.items())]
    trace = traceback_of(record)
    entries = {
        "MESSAGE": " ".join(words) + (f"\n{trace}" if trace else ""),
        "PRIORITY": str(next((number for level, number in _PRIORITIES if record.levelno >= level), 7)),
        "SYSLOG_IDENTIFIER": f"ipop-{origin(record, process)}",
        "IPOP_PROCESS": process,
        "IPOP_LOGGER": record.name,
    }
    for key, value in fields.items():
        entries.setdefault(f"IPOP_{_name(key)}", value)
    return b"".join(_entry(name, value) for name, value in entries.items())


def _name(key: str) -> str:
    return "".join(char if char.isascii() and char.isalnum() else "_" for char in key.upper())[:58]


def _entry(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "replace")[:LONGEST_VALUE]
    if b"\n" in data:
        return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
    return name.encode() + b"=" + data + b"\n"
