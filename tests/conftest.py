"""What holds for every test."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says nothing on a busy machine; a failing one is printed so that it can be run again.
settings.register_profile("ipop", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("ipop")


ASIDE = ("tests/benchmarks/", "tests/demo/", "tests/doctor/", "tests/examples/", "tests/lab/")
"""Folders whose tests measure no seconds of nodes, and take about as long as each of the two other groups."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With pytest-xdist, one worker runs all tests with real nodes: they measure seconds, and would disturb each other.

    pytest-xdist reads the groups in a hook of its own, so this one comes first. What runs inside User-Mode
    Linux has a group of its own already. Those ASIDE are a third group, and other slow tests go to whoever is free.
    """
    for item in items:
        grouped = item.get_closest_marker("uml") or item.get_closest_marker("xdist_group")
        if item.get_closest_marker("net") and not grouped:
            item.add_marker(pytest.mark.xdist_group("aside" if item.nodeid.startswith(ASIDE) else "nodes"))
