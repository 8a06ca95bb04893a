"""Peers of other versions: those in session say which they are, those that are refused are remembered."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ipop_modules.tincan.link.protocol import handshake
from ipop_modules.tincan.link.protocol.lifecycle import MAX_OTHERS

from .net import Net


def test_a_peer_that_speaks_another_protocol_is_remembered_until_it_speaks_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = Net(1)
    a, b = net.peer("10.0.0.1"), net.peer("10.0.0.2")
    real = handshake._decode

    def foreign(data: Any) -> handshake.Hello:
        return msgspec.structs.replace(real(data), version=7)

    with monkeypatch.context() as patch:
        patch.setattr(handshake, "_decode", foreign)
        a.machine.contact(b.endpoint, None, net.now)
        net.run(8)
    assert dict(a.machine.other_versions) == {b.id: 7}
    assert a.machine.counters["refused_version"] >= 1
    assert not a.machine.sessions
    a.machine.contact(b.endpoint, None, net.now)
    net.run(1)
    assert a.machine.sessions[b.id].direct
    assert not a.machine.other_versions


def test_those_that_are_remembered_are_few() -> None:
    a = Net(1).peer("10.0.0.1")
    for number in range(MAX_OTHERS + 9):
        a.machine._lifecycle.speaks_otherwise(number.to_bytes(20), 2)
    assert [int.from_bytes(node) for node in a.machine.other_versions] == list(range(9, MAX_OTHERS + 9))
