from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_core.config.document import parse_document, read_document
from ipop_core.errors import ConfigError

DEEP = b'{"a":' * 33 + b"1" + b"}" * 33
DEEPEST_ALLOWED = b'{"a":' * 32 + b"1" + b"}" * 32


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", "f.json:1:1: not JSON: Expecting value"),
        (b'{\n  "a": 1,\n}', "f.json:3:1: not JSON: Expecting property name enclosed in double quotes"),
        (b'{"a": 1} x', "f.json:1:10: not JSON: Extra data"),
        (b"\xef\xbb\xbf{}", "f.json: starts with a byte order mark; save it as UTF-8 without one"),
        (b'{"a": "\xff"}', "f.json: is not UTF-8 (byte 7)"),
        (b"[1]", "f.json: must hold a JSON object: { ... }"),
        (b'{"a": {"b": [{"c": 1, "c": 2}]}}', "a.b[0].c: this key is there twice"),
        (
            b'{"a": 1, "a": 2, "b": NaN}',
            "a: this key is there twice\nb: NaN is not a number that JSON and 64 bits can hold",
        ),
        (b'{"a": [-Infinity]}', "a[0]: -Infinity is not a number that JSON and 64 bits can hold"),
        (b'{"a": 1e999}', "a: 1e999 is not a number that JSON and 64 bits can hold"),
        (b'{"a": 9223372036854775808}', "a: 9223372036854775808 is not a number that JSON and 64 bits can hold"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a: 99999999999999999999... is not a number that JSON and 64 bits can hold"),
        (b'{"a b": "\\ud800"}', '"a b": holds half a surrogate pair, which is no character'),
        (b'{"\\ud800": 1}', 'f.json: the key "\\ud800" holds half a surrogate pair, which is no character'),
        (DEEP, "f.json: is nested deeper than 32 levels"),
        (b"[" * 100_000, "f.json: is nested deeper than 32 levels"),
        (b" " * 1_000_001, "f.json: is larger than 1000000 bytes"),
    ],
)
def test_each_fault_is_one_line_that_names_the_place(data: bytes, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_document(data, "f.json")
    assert str(caught.value) == line


def test_what_is_sound_is_read() -> None:
    data = b'{"a": [1, -2.5, true, null, "\xc3\xa4", 9223372036854775807, "\\ud83d\\ude00"], "b": {}}'
    assert parse_document(data, "f") == json.loads(data)
    parse_document(DEEPEST_ALLOWED, "f")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, fault in [(tmp_path / "none", "no such file"), (tmp_path, "can't be read: Is a directory")]:
        with pytest.raises(ConfigError) as caught:
            read_document(path)
        assert str(caught.value) == f"{path}: {fault}"


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_nothing_but_config_errors_leave_the_reader(data: bytes) -> None:
    try:
        document = parse_document(data, "f.json")
    except ConfigError as error:
        assert str(error).isprintable() or "\n" in str(error)
        str(error).encode()
    else:
        assert json.loads(data) == document
