import json
import logging
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.logger.journal import LONGEST_VALUE, journal_entry
from ipop_modules.logger.lines import json_line, text_line

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def record(message: str = "link up", *args: object, name: str = "ipop.tincan", **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.INFO, "file.py", 1, message, args, None)
    made.fields = fields
    return made


def failed() -> logging.LogRecord:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        return logging.LogRecord("ipop.tincan", logging.ERROR, "file.py", 1, "broke", (), sys.exc_info())


def fields_in(entry: bytes) -> dict[str, str]:
    """A reader of the journal's protocol, written from its description."""
    found = {}
    while entry:
        line, _, entry = entry.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(entry[:8], "little")
            value, entry = entry[8 : 8 + length], entry[8 + length + 1 :]
        found[name.decode()] = value.decode()
    return found


def test_a_text_line_is_made_for_people() -> None:
    line = text_line(record("link %s", "up", node=b"\xab\xcd", rtt_ms=1.5, reason="no answer", empty=""), "tincan")
    assert re.fullmatch(
        rb'\d\d:\d\d:\d\d\.\d{3} tincan   info    link up node=abcd rtt_ms=1.5 reason="no answer" empty=""\n', line
    )


def test_an_inline_module_speaks_in_its_own_name_and_a_library_in_the_process() -> None:
    assert b" signal   info" in text_line(record(name="ipop.signal.contact"), "controller")
    assert b" controller info" in text_line(record(name="asyncio"), "controller")


def test_a_peer_can_forge_no_line_and_steer_no_terminal() -> None:
    line = text_line(
        record("hello %s", "\n12:00:00.000 root error \x1b[2J", name="ipop.x", said="\r\n\x1b]0;x\x07"), "x"
    )
    assert line.count(b"\n") == 1
    assert b"\x1b" not in line
    assert rb'said="\r\n\x1b]0;x\x07"' in line


def test_a_json_line_has_the_time_of_rfc_3339_and_the_fields_beside_it() -> None:
    line = json.loads(json_line(record(node=b"\xab", count=3, level="mine", nested={"a": (1, float("nan"))}), "tincan"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "process": "tincan",
        "logger": "ipop.tincan",
        "level": "info",
        "message": "link up",
        "node": "ab",
        "count": 3,
        "level_": "mine",
        "nested": {"a": [1, "nan"]},
    }


def test_a_traceback_is_in_every_form_and_forges_no_line() -> None:
    text = text_line(failed(), "tincan").decode().splitlines()
    assert all(line.startswith("    ") for line in text[1:])
    assert "ValueError: two" in "".join(text)
    assert "ValueError: two\nlines" in json.loads(json_line(failed(), "tincan"))["exception"]
    assert "ValueError: two\nlines" in fields_in(journal_entry(failed(), "tincan"))["MESSAGE"]


def test_the_journal_gets_fields() -> None:
    entry = journal_entry(record("link up", node=b"\xab", why="a\nMESSAGE=forged"), "tincan")
    assert fields_in(entry) == {
        "MESSAGE": "link up node=ab why=a\\nMESSAGE=forged",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "ipop-tincan",
        "IPOP_PROCESS": "tincan",
        "IPOP_LOGGER": "ipop.tincan",
        "IPOP_NODE": "ab",
        "IPOP_WHY": "a\\nMESSAGE=forged",
    }
    assert len(fields_in(journal_entry(record("x" * 1_000_000), "tincan"))["MESSAGE"]) == LONGEST_VALUE


@pytest.mark.parametrize("render", [text_line, json_line, journal_entry])
@given(message=st.text(), fields=st.dictionaries(st.text(), ANYTHING, max_size=3))
def test_whatever_is_logged_makes_one_line(render: Any, message: str, fields: dict[str, Any]) -> None:
    made = record("%s", message)
    made.fields = fields
    line = render(made, "tincan")
    assert line.endswith(b"\n")
    if render is journal_entry:
        assert fields_in(line)["IPOP_PROCESS"] == "tincan"
    else:
        assert line.count(b"\n") == 1
