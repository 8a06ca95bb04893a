import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.signal.protocol.addresses import format_endpoint, interleave
from ipop_modules.signal.protocol.bootstrap import Bootstrap, parse_bootstrap

NODE = "ab" * 20


@pytest.mark.parametrize(
    ("text", "host", "port", "node"),
    [
        ("boot.example.org:5000", "boot.example.org", 5000, None),
        ("boot.example.org", "boot.example.org", 4741, None),
        ("boot.example.org.:1", "boot.example.org.", 1, None),
        ("1.2.3.4:4741", "1.2.3.4", 4741, None),
        ("1.2.3.4", "1.2.3.4", 4741, None),
        ("[2001:db8::1]:65535", "2001:db8::1", 65535, None),
        ("[2001:db8::1]", "2001:db8::1", 4741, None),
        ("2001:db8::1", "2001:db8::1", 4741, None),
        (f"{NODE}@host:7", "host", 7, NODE),
        (f"{NODE.upper()}@[::1]", "::1", 4741, NODE),
    ],
)
def test_a_bootstrap_is_read_as_people_write_it(text: str, host: str, port: int, node: str | None) -> None:
    assert parse_bootstrap(text) == Bootstrap(text, host, port, node)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "host"),
        ("host:", "port ''"),
        ("host:0", "port '0'"),
        ("host:65536", "port '65536'"),
        ("host:٤٧", "port '٤٧'"),
        ("host:+7", "port '+7'"),
        ("[2001:db8::1", "port"),
        ("[2001:db8::1]4741", "port"),
        ("[boot]:4741", "'boot' is not an IPv6 address"),
        ("1.2.3:x:y", "IPv6"),
        ("1.2.3.400:4741", "1.2.3.400"),
        ("-host", "'-host'"),
        ("ho st", "'ho st'"),
        ("a" * 64, "name of a host"),
        (".".join(["abc"] * 64), "name of a host"),
        ("abcd@host:1", "'abcd' before the @"),
        ("@host:1", "before the @"),
    ],
)
def test_what_is_no_bootstrap_is_refused_with_the_reason(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        parse_bootstrap(text)


@given(st.text(max_size=80) | st.from_regex(r"([0-9a-f]{38,42}@)?[\[\]:.a-z0-9-]{0,40}(:[0-9]{0,6})?"))
def test_no_text_raises_anything_but_value_error(text: str) -> None:
    try:
        bootstrap = parse_bootstrap(text)
    except ValueError:
        return
    assert bootstrap.host
    assert 1 <= bootstrap.port <= 65_535


def test_addresses_of_both_families_are_tried_in_turn() -> None:
    addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "192.0.2.1", "192.0.2.3", "2001:db8::2"]
    assert interleave(addresses) == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "192.0.2.3"]
    assert interleave([]) == []


def test_an_ipv6_endpoint_has_brackets() -> None:
    assert format_endpoint("2001:db8::1", 1) == "[2001:db8::1]:1"
    assert format_endpoint("192.0.2.1", 1) == "192.0.2.1:1"
