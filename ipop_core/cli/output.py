"""How commands print: tables for people, plain columns into pipes, and JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click

UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
"""Every command that reads has it; the command takes `as_json: bool`."""


def print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Cells are shown by `show`. On a terminal a table that fits it, elsewhere columns of whole values."""
    shown = [[show(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        _print_columns([[column.upper() for column in columns], *shown])
        return
    # Imported here: only people need it.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in shown:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))  # Text: "[::1]:4741" is no markup
    Console().print(table)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Lines of a name and a value, the values below each other."""
    _print_columns([[name, show(value)] for name, value in facts])


def show(value: object) -> str:
    """A value for a person. What came over the network can't steer the terminal."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, list | tuple):
        return ", ".join(show(item) for item in value) or "-"
    if isinstance(value, dict):
        return ", ".join(f"{key} {show(item)}" for key, item in value.items()) or "-"
    return "".join(char if char.isprintable() else "?" for char in str(value))


def show_duration(seconds: float) -> str:
    """The two largest units: `3 d 4 h`, `12 s`."""
    rest, parts = max(int(seconds), 0), []
    for size, unit in UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def show_bytes(count: float) -> str:
    """Decimal units: `12.3 kB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _print_columns(rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
