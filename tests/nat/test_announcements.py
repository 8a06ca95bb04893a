"""Anybody on a link can send to the group at which routers announce that they lost their tables."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from ipop_modules.tincan.link.gateway import Gateway, _Announcements


def test_only_the_default_routers_own_announcements_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Gateway(5000, bytes(12), lambda: 7.0, lambda: None)
    monkeypatch.setattr(gateway, "_router", IPv4Address("192.168.1.1"))
    taken: list[bytes] = []
    monkeypatch.setattr(gateway._machine, "announced", lambda data, now: taken.append(data))
    heard = _Announcements(gateway)
    heard.datagram_received(b"a stranger's", ("192.168.1.66", 5351))
    heard.datagram_received(b"the router's", ("192.168.1.1", 5351))
    assert taken == [b"the router's"]
