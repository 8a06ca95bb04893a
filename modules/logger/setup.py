"""Sets up Python's `logging` in one process of the node."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ipop_core.errors import ConfigError
from ipop_modules.logger.journal import journal_entry
from ipop_modules.logger.lines import json_line, text_line
from ipop_modules.logger.outputs import Descriptor, File, Journal, Output
from ipop_modules.logger.recent import Recent
from ipop_modules.logger.settings import Settings
from ipop_modules.logger.tally import Tally
from ipop_modules.logger.writer import Render, Writer

STDERR: Final = 2


def set_up_logging(process: str, settings: Mapping[str, Any], run: Path) -> None:
    """`settings` is the whole validated configuration, `run` the node's run folder.

    Raises ConfigError when the file can't be written.
    """
    section = {key: value for key, value in settings["modules"]["logger"].items() if key != "isolation"}
    ours = msgspec.convert(section, Settings)
    render, output, fault = _choose_output(ours)
    writer = Writer(process, render, output, _make_recent(run, process), Tally(run, process))
    if fault:
        writer.warn(fault)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, Writer)]:
        root.removeHandler(handler)
        handler.close()
    writer.addFilter(_is_worth_a_line)
    root.addHandler(writer)
    root.setLevel(ours.levels.get(process, ours.level).upper())
    for module in _inline_modules(settings):
        if module in ours.levels:
            logging.getLogger(f"ipop.{module}").setLevel(ours.levels[module].upper())
    logging.captureWarnings(True)


def installed_writer() -> Writer | None:
    """The handler that `set_up_logging` made in this process."""
    return next((handler for handler in logging.getLogger().handlers if isinstance(handler, Writer)), None)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Libraries' debugging is not ours: one netlink request would fill a page."""
    return record.levelno >= logging.INFO or record.name.startswith("ipop")


def _inline_modules(settings: Mapping[str, Any]) -> list[str]:
    return [name for name, section in settings["modules"].items() if section.get("isolation") == "inline"]


def _make_recent(run: Path, process: str) -> Recent | None:
    try:
        return Recent(run, process)
    except (ConfigError, OSError):
        return None


def _stderr_is_the_journal() -> bool:
    """Whether systemd has connected it there (systemd.exec(5), JOURNAL_STREAM); then lines keep their fields."""
    stderr = os.fstat(STDERR)
    return os.environ.get("JOURNAL_STREAM") == f"{stderr.st_dev}:{stderr.st_ino}"


def _choose_output(settings: Settings) -> tuple[Render, Output, str]:
    """How lines are written, where, and why it is not where they should go."""
    lines: Render = json_line if settings.format == "json" else text_line
    if settings.to == "stderr" and not (settings.format == "text" and _stderr_is_the_journal()):
        return lines, Descriptor(STDERR), ""
    if settings.to not in ("stderr", "journal"):
        return lines, File(Path(settings.to)), ""
    try:
        return journal_entry, Journal(), ""
    except OSError as error:
        fault = f"no journal on this machine ({error.strerror}), so the log goes to stderr"
        return lines, Descriptor(STDERR), fault
