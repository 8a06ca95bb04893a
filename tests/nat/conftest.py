"""Networks of these tests' own: they renumber and move what others share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ipop_core.lab import Laboratory
from tests.system.conftest import Town, allowed

__all__ = ["allowed"]


@pytest.fixture
def lab(allowed: None) -> Iterator[Laboratory]:
    with Laboratory() as laboratory:
        yield laboratory


@pytest.fixture
def town(lab: Laboratory) -> Town:
    return Town(lab)
