"""What one process of a node does with its log, in a process of the test's own."""

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click.testing
import jsonschema
import msgspec
import pytest

from ipop_core.bus.contracts import Contracts
from ipop_core.errors import BusError, ConfigError
from ipop_modules.logger import commands, outputs, setup
from ipop_modules.logger.module import Logger
from ipop_modules.logger.plugin import ipop_commands, ipop_module, ipop_process_started
from ipop_modules.logger.settings import Settings
from ipop_modules.logger.writer import Writer

NO_RUN_FOLDER = Path("/nowhere")
"""Costs the recent lines alone."""


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    logging.getLogger("ipop.signal").setLevel(logging.NOTSET)
    logging.captureWarnings(False)
    for handler in [handler for handler in root.handlers if isinstance(handler, Writer)]:
        root.removeHandler(handler)
        handler.close()


def configuration(**section: Any) -> dict[str, Any]:
    modules = {"logger": {"isolation": "inline", **section}, "tincan": {"isolation": "process"}}
    return {"modules": {**modules, "signal": {"isolation": "inline"}}}


def said(process: str, settings: dict[str, Any]) -> str:
    """What a process that logs at several levels writes to stderr."""
    program = f"""if True:
        import logging, warnings
        from ipop_modules.logger.plugin import ipop_process_started
        from pathlib import Path
        ipop_process_started({process!r}, {settings!r}, Path({str(NO_RUN_FOLDER)!r}))
        log = logging.getLogger("ipop.{process}")
        log.debug("detail")
        logging.getLogger("library").debug("library's internals")
        log.info("link up", extra={{"fields": {{"node": "ab"}}}})
        logging.getLogger("ipop.signal").debug("signal's detail")
        warnings.warn("old")
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr


def test_text_goes_to_stderr() -> None:
    lines = said("tincan", configuration()).splitlines()
    assert lines[0].endswith("tincan   info    link up node=ab")
    assert "old" in lines[1]
    assert not any("detail" in line for line in lines)


def test_json_goes_to_stderr() -> None:
    lines = [json.loads(line) for line in said("tincan", configuration(format="json")).splitlines()]
    assert [(line["process"], line["level"]) for line in lines] == [("tincan", "info"), ("tincan", "warning")]


def test_levels_are_those_of_the_process_and_of_the_modules_in_it() -> None:
    settings = configuration(level="warning", levels={"tincan": "debug", "signal": "debug"})
    in_tincan = said("tincan", settings)
    assert "tincan   debug   detail" in in_tincan
    assert "library" not in in_tincan
    in_controller = said("controller", settings)
    assert "signal's detail" in in_controller
    assert "link up" not in in_controller


def test_a_file_takes_the_lines_of_several_processes(tmp_path: Path) -> None:
    path = tmp_path / "ipop.log"
    for process in ("tincan", "topology"):
        assert said(process, configuration(to=str(path))) == ""
    assert [line.split()[1] for line in path.read_text().splitlines() if "link up" in line] == ["tincan", "topology"]


def test_where_there_is_no_journal_stderr_takes_its_place(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup, "Journal", lambda: outputs.Journal("/nowhere/socket"))
    ipop_process_started("tincan", configuration(to="journal"), NO_RUN_FOLDER)
    logging.getLogger("ipop.tincan").warning("here")
    lines = capfd.readouterr().err.splitlines()
    assert "no journal on this machine" in lines[0]
    assert lines[1].endswith("tincan   warning here")


def test_stderr_that_is_the_journal_gets_fields(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "journal"))
        monkeypatch.setattr(setup, "Journal", lambda: outputs.Journal(str(tmp_path / "journal")))
        stderr = os.fstat(2)
        for stream, heard in ((f"{stderr.st_dev}:{stderr.st_ino}", True), ("1:2", False)):
            monkeypatch.setenv("JOURNAL_STREAM", stream)
            ipop_process_started("tincan", configuration(), NO_RUN_FOLDER)
            logging.getLogger("ipop.tincan").warning("here", extra={"fields": {"node": "ab"}})
            journal.setblocking(False)
            try:
                assert (b"IPOP_NODE=ab\n" in journal.recv(4096)) == heard
            except BlockingIOError:
                assert not heard


def test_a_forked_process_has_one_handler_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    ipop_process_started("controller", configuration(), NO_RUN_FOLDER)
    ipop_process_started("tincan", configuration(), NO_RUN_FOLDER)
    logging.getLogger("asyncio").error("once")
    assert [line.split()[1] for line in capfd.readouterr().err.splitlines()] == ["tincan"]


def test_the_module_tells_its_status() -> None:
    served: dict[str, Any] = {}
    ipop_process_started("controller", configuration(level="error", levels={"signal": "debug"}), NO_RUN_FOLDER)
    context: Any = SimpleNamespace(
        bus=SimpleNamespace(serve=served.__setitem__), settings=Settings(level="error"), run=NO_RUN_FOLDER
    )

    async def story() -> Any:
        module = Logger(context)
        await module.start()
        answer = await served["status"](None)
        await module.stop()
        return answer

    answer = asyncio.run(story())
    contracts = Contracts(ipop_module().messages)
    contracts.check_response("logger", "status", answer, 0)
    assert answer["levels"] == {"root": "error", "ipop.signal": "debug"}


def test_new_levels_are_told_to_every_process_those_of_modules_last() -> None:
    asked: list[Any] = []

    async def request(*question: Any) -> None:
        asked.append(question)
        if question[2].get("module") == "gone":
            raise BusError("refused", "module: 'gone' is not one of tincan")

    context: Any = SimpleNamespace(bus=SimpleNamespace(request=request), settings=Settings(), run=NO_RUN_FOLDER)
    wanted = Settings(level="warning", levels={"gone": "debug", "tincan": "debug"})
    asyncio.run(Logger(context).reconfigure(wanted))
    assert asked == [
        ("core", "levels", {"level": "warning"}),
        ("core", "levels", {"module": "gone", "level": "debug"}),
        ("core", "levels", {"module": "tincan", "level": "debug"}),
    ]


def test_log_level_asks_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(commands, "ask", lambda _, *question: asked.append(question))
    (command,) = ipop_commands()
    runner = click.testing.CliRunner()
    assert runner.invoke(command, ["debug", "--module", "tincan"]).output == "tincan logs from debug on\n"
    assert runner.invoke(command, ["info"]).exit_code == 0
    assert runner.invoke(command, ["loud"]).exit_code == 2
    assert asked == [
        ("core", "levels", {"level": "debug", "module": "tincan"}),
        ("core", "levels", {"level": "info"}),
    ]


@pytest.mark.parametrize(
    "section",
    [{"to": "stdout"}, {"to": "relative/path"}, {"format": "xml"}, {"level": "loud"}, {"levels": {"a": 1}}, {"x": 1}],
)
def test_the_schema_refuses_what_the_settings_can_not_be(section: dict[str, Any]) -> None:
    schema = ipop_module().schema
    jsonschema.validate({"to": "/var/log/ipop.log", "format": "json", "level": "debug"}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(section, schema)


def test_a_file_in_a_folder_that_is_not_there_is_an_error_before_anything_starts() -> None:
    with pytest.raises(ConfigError) as caught:
        msgspec.convert({"to": "/nowhere/at/all/ipop.log"}, Settings)
    assert str(caught.value) == (
        "modules.logger.to: /nowhere/at/all/ipop.log: the folder /nowhere/at/all does not exist"
    )


def test_the_defaults_of_schema_and_settings_agree() -> None:
    defaults = {key: entry["default"] for key, entry in ipop_module().schema["properties"].items()}
    assert msgspec.convert(defaults, Settings) == Settings()
