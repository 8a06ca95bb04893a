"""How a router that speaks UPnP is found: SSDP (UPnP Device Architecture 1.1, section 1.3).

`upnp.py` sends the search, to the group and to the router itself, and hands in what comes. Anybody on the link may
answer, so an answer counts only where it leads to the router that packets go by.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Final
from urllib.parse import urlsplit

SSDP_PORT: Final = 1900
GROUP: Final = ("239.255.255.250", SSDP_PORT)
_DEVICE: Final = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
"""Later versions answer to the first one's name, too."""
_LONGEST: Final = 2048
_LONGEST_LOCATION: Final = 256


def search(host: str) -> bytes:
    """The question for gateways, to `host`."""
    lines = ("M-SEARCH * HTTP/1.1", f"HOST: {host}:{SSDP_PORT}", 'MAN: "ssdp:discover"', "MX: 1", f"ST: {_DEVICE}")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def location(data: bytes, router: IPv4Address) -> str | None:
    """Where the router describes itself, by its answer; None when this is no answer that leads to `router`."""
    if len(data) > _LONGEST:
        return None
    status, *lines = data.decode("latin-1").split("\r\n")
    if not status.startswith("HTTP/1.1 200"):
        return None
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "InternetGatewayDevice" not in headers.get("st", ""):
        return None
    url = headers.get("location", "")
    return url if len(url) <= _LONGEST_LOCATION and leads_to(url, router) else None


def leads_to(url: str, router: IPv4Address) -> bool:
    """Whether it is an HTTP URL of the router's own, by its address."""
    if not (url.isascii() and url.isprintable() and url.startswith("http://")):
        return False
    try:
        parts = urlsplit(url)
        return parts.hostname == str(router) and parts.port != 0 and parts.username is None
    except ValueError:
        return False
