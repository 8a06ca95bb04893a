import contextlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipop_core.bus import contracts
from ipop_core.bus.contracts import Contracts
from ipop_core.errors import BusError, ConfigError

WEATHER: dict[str, Any] = {
    "role": "weather",
    "$defs": {"town": {"type": "string", "minLength": 2}},
    "actions": {
        "ask": {
            "doc": "The weather.",
            "frames": 1,
            "request": {
                "type": "object",
                "required": ["towns"],
                "properties": {"towns": {"type": "array", "items": {"$ref": "#/$defs/town"}}},
            },
            "response": {"type": "object", "required": ["sun"]},
        }
    },
    "events": {"weather.rain": {"doc": "It rains.", "body": {"type": "object", "additionalProperties": False}}},
}


@pytest.fixture
def known() -> Contracts:
    return contracts.load([[WEATHER]])


def test_the_shared_contracts_are_sound() -> None:
    known = contracts.load()
    known.verify()
    assert {"core", "link", "signal", "topology"} <= set(known.roles())
    for contract in known.roles().values():
        assert all(action.doc for action in contract.actions.values())
        assert all(event.doc for event in contract.events.values())


def test_what_a_role_has_can_be_looked_up(known: Contracts) -> None:
    action = known.action("weather", "ask")
    assert action is not None
    assert action.doc == "The weather."
    assert known.action("weather", "tell") is None
    assert list(known.roles()["weather"].events) == ["weather.rain"]


def test_a_good_request_passes(known: Contracts) -> None:
    known.check_request("weather", "ask", {"towns": ["Ulm"]}, 1)
    known.check_request("stranger", "whatever", {}, 3)


@pytest.mark.parametrize(
    ("body", "frames", "line"),
    [
        ({}, 1, "weather.ask: body: 'towns' is a required property"),
        ({"towns": ["Ulm", 5]}, 1, "weather.ask: body.towns[1]: 5 is not of type 'string'"),
        ({"towns": []}, 0, "weather.ask: frames: 0 is not 1"),
    ],
)
def test_the_line_names_the_path(known: Contracts, body: dict[str, Any], frames: int, line: str) -> None:
    with pytest.raises(BusError) as caught:
        known.check_request("weather", "ask", body, frames)
    assert (caught.value.code, caught.value.message) == ("invalid", line)


def test_a_long_value_does_not_make_a_long_line(known: Contracts) -> None:
    with pytest.raises(BusError) as caught:
        known.check_request("weather", "ask", {"towns": "x" * 5000}, 1)
    assert len(caught.value.message) < 250


def test_an_unknown_action(known: Contracts) -> None:
    with pytest.raises(BusError) as caught:
        known.check_request("weather", "tell", {}, 0)
    assert caught.value.code == "unknown-action"


def test_answers_and_events_are_checked(known: Contracts) -> None:
    with pytest.raises(BusError, match="'sun' is a required property"):
        known.check_response("weather", "ask", {}, 0)
    with pytest.raises(BusError, match="unexpected"):
        known.check_event("weather.rain", {"a": 1}, 0)
    with pytest.raises(BusError, match="no such event"):
        known.check_event("weather.snow", {}, 0)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "role"),
        ({"role": "weather", "acts": {}}, "acts"),
        ({"role": "link"}, "another contract"),
        ({"role": "weather", "events": {"sun.up": {"doc": "", "body": {}}}}, "does not begin with weather"),
    ],
)
def test_a_document_that_is_no_contract(document: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        contracts.load([[document]])


def test_a_schema_that_is_no_schema_is_found_by_verify() -> None:
    broken = {"role": "weather", "events": {"weather.rain": {"doc": "", "body": {"type": "objekt"}}}}
    with pytest.raises(ConfigError, match=r"weather\.rain"):
        contracts.load([[broken]]).verify()


def test_a_pattern_that_only_python_understands_is_found_by_verify_and_costs_its_messages_alone() -> None:
    body = {"type": "object", "properties": {"word": {"type": "string", "pattern": "(?P<x>a)(?P=x)"}}}
    known = contracts.load([[{"role": "weather", "events": {"weather.rain": {"doc": "", "body": body}}}]])
    with pytest.raises(ConfigError, match=r"weather\.rain.*is not a .regex"):
        known.verify()
    with pytest.raises(BusError, match=r"weather\.rain: its contract is no schema: .*is not a .regex"):
        known.check_event("weather.rain", {"word": "aa"}, 0)


def test_a_reference_to_nowhere() -> None:
    broken = {"role": "weather", "events": {"weather.rain": {"doc": "", "body": {"$ref": "#/$defs/rain"}}}}
    with pytest.raises(ConfigError, match="rain"):
        contracts.load([[broken]]).verify()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.tuples(st.integers()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["towns", "more"]) | st.integers(), ANYTHING))
def test_whatever_a_module_says_passes_or_breaks_its_contract(known: Contracts, body: dict[str, Any]) -> None:
    with contextlib.suppress(BusError):
        known.check_request("weather", "ask", body, 1)


def test_what_is_no_json_is_said_to_be_none(known: Contracts) -> None:
    with pytest.raises(BusError, match=r"weather\.ask: body: not JSON: .*bytes"):
        known.check_request("weather", "ask", {"towns": [b"Ulm"]}, 1)


def test_a_pattern_means_the_whole_text(known: Contracts) -> None:
    """Python's `$` passes over a newline at the end."""
    with pytest.raises(BusError, match=r"link\.trace: body\.node: "):
        known.check_request("link", "trace", {"node": 40 * "0" + "\n"}, 0)
