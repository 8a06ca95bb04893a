from __future__ import annotations

import json
from importlib.resources import files
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from ipop_core.controller.main import main as controller
from ipop_modules.tincan import card
from ipop_modules.tincan.card.errors import CardError
from ipop_modules.tincan.card.settings import CardSettings

SCHEMA = json.loads((files(card) / "schema.json").read_text())
VALIDATOR = Draft202012Validator({"type": "object", "additionalProperties": False, **SCHEMA})


def test_defaults_agree_with_the_schema() -> None:
    defaults = {key: value["default"] for key, value in SCHEMA["properties"].items() if "default" in value}
    settings = CardSettings.parse({"address": "192.168.10.10/24"})
    assert defaults.pop("network") == "192.168.10.0/24"
    assert settings == CardSettings(interfaces=(ip_interface("192.168.10.10/24"),), **defaults)


def test_an_automatic_address_lies_in_the_network() -> None:
    section = {"address": "auto", "network": "10.77.0.0/16"}
    VALIDATOR.validate(section)
    settings = CardSettings.parse(section)
    assert (settings.interfaces, settings.network) == ((), ip_network("10.77.0.0/16"))
    with pytest.raises(CardError, match="is not a network"):
        CardSettings.parse({"address": "auto", "network": "10.77.0.1/16"})


def test_every_property_is_described() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    for value in SCHEMA["properties"].values():
        assert value["title"]
        assert value["description"]


@pytest.mark.parametrize(
    "section",
    [
        {"address": "192.168.10.10/24"},
        {"address": ["192.168.10.10/24", "fd00::10/64"], "card": "ipop0", "card_type": "user", "mtu": 65521},
        {"card": None},
    ],
)
def test_good_sections(section: dict[str, Any]) -> None:
    VALIDATOR.validate(section)
    settings = CardSettings.parse(section)
    assert settings.card == section.get("card", "tapipop")
    assert [str(interface) for interface in settings.interfaces] == (
        [section["address"]] if isinstance(section.get("address"), str) else section.get("address", [])
    )


@pytest.mark.parametrize(
    "section",
    [
        {"address": 10},
        {"address": "192.168.10.10"},
        {"address": []},
        {"address": "automatic"},
        {"address": "auto", "network": "home"},
        {"card": "a" * 16},
        {"card": ""},
        {"card": "a b"},
        {"card": "a/b"},
        {"card": ".."},
        {"card": "tap%d"},
        {"card_type": "tun"},
        {"mtu": 1279},
        {"mtu": 65522},
        {"mtu": "1500"},
    ],
)
def test_what_the_schema_refuses(section: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(section)


@pytest.mark.parametrize(
    "address",
    ["192.168.10.256/24", "192.168.10.10/33", "192.168.10.0/24", "192.168.10.255/24", "127.0.0.1/8", "224.0.0.1/24"],
)
def test_what_is_no_host_address(address: str) -> None:
    VALIDATOR.validate({"address": address})
    with pytest.raises(CardError, match=f'^address: "{address}"'):
        CardSettings.parse({"address": address})


def test_a_card_needs_an_address() -> None:
    with pytest.raises(CardError, match=r"^address: missing"):
        CardSettings.parse({})


@pytest.mark.parametrize(
    ("namespace", "section", "fault"),
    [
        ({}, {"address": "192.168.10.10/24"}, "namespace: missing: a node with a card is in a namespace"),
        ({"namespace": "town"}, {}, "modules.tincan: address: missing"),
        ({"namespace": "town"}, {"address": "192.168.10.255/24"}, 'modules.tincan: address: "192.168.10.255/24" is'),
        ({}, {"card": None}, None),
    ],
)
def test_check_says_what_the_schema_can_t(
    tmp_path: Path, namespace: dict[str, str], section: dict[str, Any], fault: str | None
) -> None:
    path = tmp_path / "controller.json"
    node = {"name": "alice", "state": "state", "run": "run"}
    path.write_text(json.dumps({"node": node, **namespace, "modules": {"tincan": section}}))
    checked = CliRunner().invoke(controller, ["-c", str(path), "--check"])
    assert (checked.exit_code, checked.output.count("\n")) == (2 if fault else 0, 1)
    assert checked.output.startswith(fault or f"{path} is valid")
