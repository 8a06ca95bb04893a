from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ipop_core.lab import Laboratory, Right, Rights, capabilities


@pytest.fixture(scope="session")
def rights() -> Rights:
    return capabilities()


@pytest.fixture(scope="session")
def laboratory_allowed(rights: Rights) -> None:
    require(rights.laboratory)


@pytest.fixture(scope="session")
def user_namespace_allowed(rights: Rights) -> None:
    require(rights.user_namespace)


@pytest.fixture
def lab(laboratory_allowed: None) -> Iterator[Laboratory]:
    with Laboratory() as laboratory:
        yield laboratory


def require(right: Right) -> None:
    """Skip what this machine refuses; where CI is set, a test that could not run is a failure."""
    if right:
        return
    if os.environ.get("CI"):
        pytest.fail(f"could not run: {right.reason}")
    pytest.skip(right.reason)
