from __future__ import annotations

import os

import pytest

from ipop_core.demo import programs
from ipop_core.lab import capabilities


@pytest.fixture(scope="session")
def demo_allowed() -> None:
    """Skip where there can be no networks of our own; where CI is set, a test that could not run is a failure."""
    rights = capabilities()
    lacking = programs.missing() or rights.laboratory.reason or rights.tun.reason
    if not lacking:
        return
    if os.environ.get("CI"):
        pytest.fail(f"could not run: {lacking}")
    pytest.skip(lacking)
