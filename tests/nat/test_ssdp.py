"""Who is taken for a gateway that speaks UPnP, by what it answers to a search."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.link.protocol.ssdp import leads_to, location, search

ROUTER = IPv4Address("192.168.1.1")
GATEWAY = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"


def answer(url: str, device: str = GATEWAY, status: str = "HTTP/1.1 200 OK") -> bytes:
    return f"{status}\r\nCACHE-CONTROL: max-age=120\r\nST: {device}\r\nLocation: {url}\r\n\r\n".encode()


def test_a_search_asks_for_gateways() -> None:
    lines = search("239.255.255.250").decode().split("\r\n")
    assert lines[0] == "M-SEARCH * HTTP/1.1"
    assert f"ST: {GATEWAY}" in lines
    assert lines[-2:] == ["", ""]


def test_the_routers_own_answer_counts() -> None:
    assert location(answer("http://192.168.1.1:5000/rootDesc.xml"), ROUTER) == "http://192.168.1.1:5000/rootDesc.xml"
    assert location(answer("http://192.168.1.1/d"), ROUTER) == "http://192.168.1.1/d"


@pytest.mark.parametrize(
    "data",
    [
        answer("http://192.168.1.2:5000/rootDesc.xml"),
        answer("http://192.168.1.1@10.0.0.1/"),
        answer("http://user@192.168.1.1/"),
        answer("https://192.168.1.1/"),
        answer("file:///etc/passwd"),
        answer("http://192.168.1.1:99999/"),
        answer("http://192.168.1.1:0/"),
        answer("http://192.168.1.1/ x\x01"),
        answer("http://192.168.1.1/" + 300 * "a"),
        answer("http://[192.168.1.1/"),
        answer(""),
        answer("http://192.168.1.1/", device="urn:schemas-upnp-org:device:MediaServer:1"),
        answer("http://192.168.1.1/", status="HTTP/1.1 500 No"),
        answer("http://192.168.1.1/") + bytes(3000),
        search("192.168.1.1"),
    ],
)
def test_what_leads_elsewhere_or_is_no_gateway_does_not(data: bytes) -> None:
    assert location(data, ROUTER) is None


@given(st.binary(max_size=300) | st.text(max_size=80).map(answer))
def test_no_answer_breaks_it(data: bytes) -> None:
    found = location(data, ROUTER)
    assert found is None or leads_to(found, ROUTER)
