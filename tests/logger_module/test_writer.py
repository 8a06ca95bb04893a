import logging
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipop_core.errors import ConfigError
from ipop_modules.logger.outputs import Descriptor, File, Journal
from ipop_modules.logger.repeats import LONGEST_SILENCE, Repeats
from ipop_modules.logger.writer import Writer


class Memory:
    """An output that fails on demand."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.fault: Exception | None = None

    def write(self, data: bytes) -> None:
        if self.fault:
            raise self.fault
        self.lines.append(data.decode())

    def close(self) -> None:
        self.lines.append("closed")


def message_of(record: logging.LogRecord, _: str) -> bytes:
    return record.getMessage().encode()


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def log(memory: Memory) -> Iterator[logging.Logger]:
    logger = logging.Logger("ipop.test")
    logger.addHandler(Writer("test", message_of, memory))
    yield logger
    logger.handlers[0].close()


def writer_of(log: logging.Logger) -> Writer:
    (writer,) = log.handlers
    assert isinstance(writer, Writer)
    return writer


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("ipop.test", logging.INFO, "file.py", 1, message, (), None)


def test_a_line_that_repeats_is_counted(log: logging.Logger, memory: Memory) -> None:
    for _ in range(5):
        log.info("no answer from %s", "boot", extra={"fields": {"port": 1}})
    log.info("no answer from %s", "boot", extra={"fields": {"port": 2}})
    log.info("up")
    assert memory.lines == [
        "no answer from boot",
        "no answer from boot (repeated 4 times)",
        "no answer from boot",
        "up",
    ]
    assert writer_of(log).counters == {"written": 4, "repeated": 4, "lost": 0}


def test_no_traceback_is_left_out(log: logging.Logger, memory: Memory) -> None:
    for fault in (ValueError("one"), ValueError("two")):
        log.error("broke", exc_info=fault)
    assert memory.lines == ["broke", "broke"]


def test_a_line_that_goes_on_repeating_is_told_now_and_then() -> None:
    repeats = Repeats()
    told = [line.getMessage() for second in range(25) for line in repeats.see(record("x"), float(second))]
    assert LONGEST_SILENCE == 10
    assert told == ["x", "x (repeated 10 times)", "x (repeated 10 times)"]


def test_what_was_held_back_is_told_at_the_end(log: logging.Logger, memory: Memory) -> None:
    log.info("x")
    log.info("x")
    writer_of(log).close()
    assert memory.lines == ["x", "x (repeated 1 times)", "closed"]


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), BrokenPipeError(), ValueError("odd")])
def test_a_line_that_can_not_be_written_breaks_nothing_and_is_told_later(
    log: logging.Logger, memory: Memory, fault: Exception
) -> None:
    log.info("before")
    memory.fault = fault
    log.info("a")
    log.info("b")
    memory.fault = None
    log.info("after")
    assert memory.lines == ["before", "2 log lines were lost here", "after"]
    assert writer_of(log).counters["lost"] == 2


def test_a_message_that_does_not_fit_its_arguments_breaks_nothing(log: logging.Logger, memory: Memory) -> None:
    log.info("%d", "one")
    log.info("%d", "one")
    log.info("fine")
    assert memory.lines[-1] == "fine"


def test_a_pipe_that_nobody_reads_costs_lines_and_no_time() -> None:
    reading, writing = os.pipe()
    log = logging.Logger("ipop.pipe")
    log.addHandler(Writer("test", message_of, Descriptor(writing)))
    for number in range(40):
        log.info("%d %s", number, "x" * 4000)
    lost = writer_of(log).counters["lost"]
    assert 0 < lost < 40
    os.read(reading, 1 << 20)
    log.info("read again")
    assert f"{lost} log lines were lost here".encode() in os.read(reading, 1 << 20)
    os.close(reading)
    log.info("nobody there")
    assert writer_of(log).counters["lost"] == lost + 1
    os.close(writing)


def test_a_file_is_appended_to_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "ipop.log"
    for line in (b"one\n", b"two\n"):
        output = File(path)
        output.write(line)
        output.close()
    assert path.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_was_rotated_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "ipop.log"
    output = File(path)
    output.write(b"one\n")
    path.rename(tmp_path / "ipop.log.1")
    output.write(b"two\n")
    assert path.read_bytes() == b"two\n"
    assert (tmp_path / "ipop.log.1").read_bytes() == b"one\n"
    output.close()


def test_a_full_disk_is_survived() -> None:
    log = logging.Logger("ipop.full")
    log.addHandler(Writer("test", message_of, File(Path("/dev/full"))))
    log.info("x")
    assert writer_of(log).counters == {"written": 0, "repeated": 0, "lost": 1}


def test_a_path_that_can_not_be_written_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError) as caught:
        File(Path("/tmp"))
    assert str(caught.value) == "modules.logger.to: can't append to /tmp: Is a directory"


def test_the_journal_is_found_again_after_its_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")

    def listen() -> socket.socket:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        server.settimeout(5)
        server.bind(path)
        return server

    with listen() as server:
        journal = Journal(path)
        journal.write(b"one")
        assert server.recv(100) == b"one"
    Path(path).unlink()
    with pytest.raises(OSError):
        journal.write(b"nobody")
    with listen() as server:
        journal.write(b"two")
        assert server.recv(100) == b"two"
    journal.close()


def test_no_journal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        Journal(str(tmp_path / "none"))
