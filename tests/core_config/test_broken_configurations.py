from __future__ import annotations

import contextlib
import io
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipop_core.config import load
from ipop_core.config.build import build, print_schema, read_node
from ipop_core.config.formats import Endpoint, parse_endpoint
from ipop_core.errors import ConfigError
from ipop_core.loader import Registry

from .conftest import Install
from .test_document import json_values

pytestmark = pytest.mark.usefixtures("roots")

LINK = {"address": "192.168.10.10/24"}
CIDR = "an address with a prefix length such as 192.168.10.10/24"
ENDPOINT = "an endpoint such as 203.0.113.7:4741, [2001:db8::1]:4741 or bootstrap.example.org:4741"


def fault_of(document: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        build(document, Path("c.json"), Registry())
    return str(caught.value)


def with_link(**section: Any) -> dict[str, Any]:
    return {"modules": {"fakelink": section}}


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize(
    ("document", "lines"),
    [
        ({}, "modules: is required, but missing"),
        ({"modules": {}}, "modules: an object has fewer than 1 key"),
        ({"modules": 5}, "modules: 5 is not an object"),
        ({"modules": {"fakelink": []}}, "modules.fakelink: a list is not an object"),
        (with_link(mtu=99999), "modules.fakelink.mtu: 99999 is greater than 65521"),
        (with_link(mtu=1), "modules.fakelink.mtu: 1 is less than 576"),
        (with_link(mtu="big"), 'modules.fakelink.mtu: "big" is not an integer'),
        (with_link(mtu=1500.0), "modules.fakelink.mtu: 1500.0 is not an integer"),
        (with_link(mtu=True), "modules.fakelink.mtu: true is not an integer"),
        (with_link(mtuu=1), "modules.fakelink.mtuu: unknown key; did you mean mtu?"),
        (with_link(xyzzy=1), "modules.fakelink.xyzzy: unknown key"),
        (with_link(card=5), "modules.fakelink.card: 5 is not a string or null"),
        (with_link(card="x" * 99), 'modules.fakelink.card: "' + "x" * 55 + '..." is longer than 15 characters'),
        (with_link(card="a\nb" * 6), 'modules.fakelink.card: "' + "a\\nb" * 6 + '" is longer than 15 characters'),
        (with_link(kind="tun"), 'modules.fakelink.kind: "tun" is not one of "tap", "user"'),
        (with_link(timers={"rekey": 0}), "modules.fakelink.timers.rekey: 0 is not greater than 0"),
        (with_link(isolation="vm"), 'modules.fakelink.isolation: "vm" is not one of "process", "inline"'),
        (with_link(address="192.168.300.1/24"), f'modules.fakelink.address: "192.168.300.1/24" is not {CIDR}'),
        (with_link(address="192.168.10.10"), f'modules.fakelink.address: "192.168.10.10" is not {CIDR}'),
        (
            with_link(address="192.168.10.0/24"),
            'modules.fakelink.address: "192.168.10.0/24" is the network itself, not an address in it'
            " such as 192.168.10.1/24",
        ),
        (with_link(via="::1::"), 'modules.fakelink.via: "::1::" is not an IP address such as 192.168.10.10'),
        (with_link(pin="secret pin"), "modules.fakelink.pin: the value is longer than 4 characters"),
        (
            {"modules": {"fakelink": {}, "fakesignal": {"bootstraps": ["a:1", "a:0"]}}},
            'modules.fakesignal.bootstraps[1]: "a:0" has port 0; ports go from 1 to 65535',
        ),
        (
            {"modules": {"fakelink": {}, "fakesignal": {"bootstraps": ["1.2.3.400:9"]}}},
            f'modules.fakesignal.bootstraps[0]: "1.2.3.400:9" is not {ENDPOINT}',
        ),
        (
            {"modules": {"fakelink": {}, "fakesignal": {"bootstraps": ["a:1", "a:1"]}}},
            "modules.fakesignal.bootstraps: a list has the same item twice",
        ),
        ({"modules": {"fakelink": {}, "fakesignal": {"via": 0}}}, "modules.fakesignal.via: 0 is less than 1"),
        (
            {"modules": {"fakelink": {}, "fakesignal": {"via": None}}},
            "modules.fakesignal.via: null is in none of the forms allowed here",
        ),
        ({"modules": {"fakesignal": {}}}, "modules.fakesignal: needs the role link, which no module fills"),
        (
            {"modules": {"fakelinc": {}}},
            "modules.fakelinc: no module of this name is installed; did you mean fakelink?",
        ),
        (
            {"modules": {"fakesignal": {}, "fakelinc": {}}},
            "modules.fakelinc: no module of this name is installed; did you mean fakelink?",
        ),
        ({"node": {"name": "Alice"}, **with_link()}, 'node.name: "Alice" does not match ^[a-z0-9-]{1,40}$'),
        ({"node": {"name": "alice\n"}, **with_link()}, 'node.name: "alice\\n" does not match ^[a-z0-9-]{1,40}$'),
        ({"nodes": {}, **with_link()}, "nodes: unknown key; did you mean node?"),
        ({"namespace": 5, **with_link()}, "namespace: 5 is not a string or an object"),
        ({"namespace": "a b", **with_link()}, 'namespace: "a b" does not match ^[!-~]{1,64}$'),
        ({"namespace": {"secret": "0" * 32}, **with_link()}, "namespace.name: is required, but missing"),
        (
            {"namespace": {"name": "n", "secret": "hunter2"}, **with_link()},
            "namespace.secret: the value does not match ^[0-9a-f]{32}$",
        ),
        (
            {"namespace": {"name": "n", "secret": "0" * 32, "passphrase": "swordfish"}, **with_link()},
            "namespace: has secret and passphrase; give only one of them",
        ),
        (
            {"namespace": "", "modules": {"fakelink": {"mtu": 1, "mtuu": 2}, "fakesigna": {}}},
            "modules.fakelink.mtu: 1 is less than 576\n"
            "modules.fakelink.mtuu: unknown key; did you mean mtu?\n"
            "modules.fakesigna: no module of this name is installed; did you mean fakesignal?\n"
            'namespace: "" does not match ^[!-~]{1,64}$',
        ),
    ],
)
def test_every_fault_is_a_line_of_its_own(document: dict[str, Any], lines: str) -> None:
    assert fault_of(document) == lines


@pytest.mark.usefixtures("modules")
def test_secrets_are_never_shown() -> None:
    for namespace in [{"name": "n", "secret": 5_318_008}, ["5318008"], {"name": "n", "secrte": "5318008"}]:
        assert "5318008" not in fault_of({"namespace": namespace, **with_link()})


@pytest.mark.usefixtures("modules")
def test_a_sound_configuration_has_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    document = {
        "node": {"name": "alice", "run": "here"},
        "namespace": {"name": "n", "authority": "ca.pem"},
        "modules": {"fakesignal": {}, "fakelink": {**LINK, "timers": {}, "isolation": "inline"}},
    }
    path.write_text(json.dumps(document))
    configuration = load(path, Registry())
    assert configuration.node.name == "alice"
    assert configuration.node.run == tmp_path / "here"
    assert configuration.node.state == tmp_path / "state" / "alice"
    assert configuration.namespace is not None
    assert configuration.namespace.authority == tmp_path / "ca.pem"
    link, signal = configuration.modules  # the order of `needs`, not of the file
    assert (link.spec.name, link.isolation) == ("fakelink", "inline")
    assert (signal.spec.name, signal.isolation) == ("fakesignal", "process")
    assert link.section == {
        "address": "192.168.10.10/24",
        "mtu": 1500,
        "card": "tapipop",
        "port": 0,
        "kind": "tap",
        "timers": {"rekey": 120},
    }
    assert configuration.raw["modules"]["fakesignal"]["bootstraps"] == []
    assert read_node(path) == configuration.node


@pytest.mark.usefixtures("modules")
def test_the_composed_schema_is_printed() -> None:
    schema = json.loads(print_schema(Registry(), ["fakelink"]))
    section = schema["properties"]["modules"]["properties"]["fakelink"]
    assert section["properties"]["mtu"]["default"] == 1500
    assert section["additionalProperties"] is False


SETTINGS = """
from dataclasses import dataclass
from pathlib import Path

@dataclass(frozen=True)
class Settings:
    folder: Path
    sizes: tuple[int, ...] = ()

    def __post_init__(self):
        if len(self.sizes) > 2:
            raise ValueError("more than two sizes")
"""


def test_a_section_becomes_its_dataclass(install: Install) -> None:
    install("fakebox", schema={"properties": {"folder": {}, "sizes": {}}}, more=SETTINGS)

    def settings_of(section: dict[str, Any]) -> Any:
        document = {"modules": {"fakebox": section}}
        return build(document, Path("c.json"), Registry()).modules[0].settings()

    made = settings_of({"folder": "/x", "sizes": [1, 2]})
    assert (made.folder, made.sizes) == (Path("/x"), (1, 2))
    for section, line in [
        ({"folder": "/x", "sizes": [1, "b"]}, "modules.fakebox.sizes[1]: Expected `int`, got `str`"),
        ({"folder": "/x", "sizes": [1, 2, 3]}, "modules.fakebox: more than two sizes"),
        ({}, "modules.fakebox: Object missing required field `folder`"),
    ]:
        with pytest.raises(ConfigError) as caught:
            settings_of(section)
        assert str(caught.value) == line


@pytest.mark.parametrize("schema", ["{'type': 'strin'}", "{'pattern': '('}", "5", "{'properties': []}"])
def test_a_module_with_a_bad_schema_is_named(install: Install, schema: str) -> None:
    install("fakebox", schema=Source(schema))
    assert fault_of({"modules": {"fakebox": {}}}).startswith("modules.fakebox: the module's schema is no JSON schema")


def test_a_schema_fetches_nothing(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_: io.BytesIO(b"{}"))
    install("fakebox", schema={"properties": {"a": {"$ref": "http://192.0.2.1/x.json"}}})
    line = 'c.json: the schema refers to "http://192.0.2.1/x.json", which it does not contain'
    assert fault_of({"modules": {"fakebox": {"a": 1}}}) == line


class Source(str):
    """Python source that stands for itself in the plugin."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


documents = st.fixed_dictionaries(
    {"modules": st.fixed_dictionaries({}, optional={"fakelink": json_values, "fakesignal": json_values}) | json_values},
    optional={"node": json_values, "namespace": json_values, "other": json_values},
)


@pytest.fixture
def registry(modules: None) -> Registry:
    return Registry()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(document=documents)
def test_random_documents_give_config_errors_or_a_configuration(registry: Registry, document: dict[str, Any]) -> None:
    try:
        build(document, Path("c.json"), registry)
    except ConfigError as error:
        assert all(line.isprintable() for line in str(error).splitlines())


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("example.org:1", Endpoint("example.org", 1)),
        ("1.2.3.4:65535", Endpoint("1.2.3.4", 65535)),
        ("[2001:DB8::1]:4741", Endpoint("2001:db8::1", 4741)),
        (f"{'ab' * 20}@[::1]:4741", Endpoint("::1", 4741, b"\xab" * 20)),
    ],
)
def test_endpoints(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint


@given(st.text() | st.from_regex(r"[0-9a-f@.:\[\]-]{1,60}"))
def test_an_endpoint_is_one_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 1 <= parse_endpoint(text).port <= 65535
