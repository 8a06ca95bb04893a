"""What may be asked of the benchmark."""

from __future__ import annotations

import pytest

from benchmarks import throughput
from benchmarks.peers import PEERS


def test_every_peer_has_a_name_of_its_own_and_says_what_to_install() -> None:
    names = [peer.name for peer in PEERS]
    assert len(set(names)) == len(names)
    assert [peer.name for peer in PEERS if not peer.packages] == ["raw", "ipop"]


def test_an_unknown_peer_is_named_beside_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        throughput.main(["--peers", "raw,zerotier"])
    printed = capsys.readouterr().err
    assert "no peer zerotier" in printed
    assert "nebula" in printed


def test_loss_on_a_relay_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        throughput.main(["--path", "relay", "--loss", "1"])
    assert "direct" in capsys.readouterr().err
