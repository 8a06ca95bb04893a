from __future__ import annotations

import pytest

from ipop_modules.tincan.link.protocol.estranged import Estranged


@pytest.fixture
def unaided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody greets a peer that seems to have other keys."""
    monkeypatch.setattr(Estranged, "came", lambda self, source, now: None)
