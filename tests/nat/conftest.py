"""Networks of these tests' own: they renumber and move what others share.

Those of the town go on where the one before ended, since ten nodes take long to start.
"""

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


@pytest.fixture(scope="module")
def town(allowed: None) -> Iterator[Town]:
    with Laboratory() as laboratory:
        yield Town(laboratory)
