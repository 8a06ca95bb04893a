from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_core.config.lines import place_lines, with_line
from ipop_core.errors import ConfigError
from ipop_core.faults import CombinedConfigError, show_place

SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
DOCUMENTS = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)

BROKEN = """{
  "modules": {
    "signal": {"bootstraps": ["a:1",
                              "b:2"]},
    "odd key": 1
  }
}
"""


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every path, in the order in which an indented dump writes one a line."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in items for found in [(*path, key), *places(inner, (*path, key))]]


@given(DOCUMENTS)
def test_each_place_is_on_the_line_on_which_it_was_written(document: dict[str, Any]) -> None:
    text = json.dumps(document, indent=2)
    opening = [number for number, line in enumerate(text.split("\n"), 1) if line.strip(" ,") not in ("}", "]")]
    found = place_lines(text)
    assert found == dict(zip(map(show_place, places(document)), opening[1:], strict=True))


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("modules.signal.bootstraps[1]", 4),
        ("modules.signal.bootstraps[1].host", 4),
        ("modules.signal.missing", 3),
        ('modules."odd key".x', 5),
        ("modules", 2),
    ],
)
def test_a_fault_has_the_line_of_its_place_or_of_what_is_around_it(place: str, line: int) -> None:
    assert str(with_line(ConfigError(place, "is bad"), BROKEN, "c.json")) == f"c.json:{line}: {place}: is bad"


def test_every_one_of_several_faults_has_its_line() -> None:
    error = CombinedConfigError([ConfigError("modules.signal", "is bad"), ConfigError("elsewhere.pem", "is worse")])
    assert str(with_line(error, BROKEN, "c.json")).splitlines() == [
        "c.json:3: modules.signal: is bad",
        "elsewhere.pem: is worse",
    ]


def test_the_fault_of_a_file_that_is_no_json_stays_as_it_is() -> None:
    error = ConfigError("c.json:1:2", "not JSON")
    assert with_line(error, "{", "c.json") is error
