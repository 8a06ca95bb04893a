from __future__ import annotations

import json
import sys

import pytest

from ipop_core.cli import output
from ipop_core.cli.output import print_json, print_table, show, show_bytes, show_duration
from ipop_core.cli.status import VIEWS

ROWS = [("tincan", "[2001:db8::1]:4741", None), ("x" * 200, "\x1b[31mred\n", True)]


def test_a_pipe_gets_whole_plain_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "endpoint", "up"), ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "ENDPOINT", "UP"]
    assert lines[1].split() == ["tincan", "[2001:db8::1]:4741", "-"]
    assert lines[2].split() == ["x" * 200, "?[31mred?", "yes"]


def test_a_terminal_gets_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(output.click, "echo", None)
    print_table(("name", "endpoint"), [("[bold]", "[::1]:4741")])
    shown = capsys.readouterr().out
    assert "[bold]" in shown  # no markup
    assert "[::1]:4741" in shown


def test_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [1, "ä"]})
    assert json.loads(capsys.readouterr().out) == {"a": [1, "ä"]}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ("", "-"),
        ([], "-"),
        (False, "no"),
        (1.25, "1.2"),
        ({"a": [1, None]}, "a 1, -"),
        ("a\u202eb", "a?b"),
    ],
)
def test_values(value: object, shown: str) -> None:
    assert show(value) == shown


def test_units() -> None:
    assert [show_duration(s) for s in (-1, 59, 3600, 90061)] == ["0 s", "59 s", "1 h", "1 d 1 h"]
    assert [show_bytes(n) for n in (0, 999, 12_345, 5e15)] == ["0 B", "999 B", "12.3 kB", "5000.0 TB"]


def test_a_bootstrap_that_failed_says_why_and_one_that_is_this_node_is_no_fault() -> None:
    known = [
        {"name": "192.0.2.1:4741", "state": "waiting", "fault": "no answer"},
        {"name": "192.0.2.2:4741", "state": "self", "fault": None},
    ]
    shown = [value for _, value in VIEWS["signal"]({}, {"bootstraps": known})]
    assert shown == ["192.0.2.1:4741 waiting: no answer", "192.0.2.2:4741 is this node itself"]
