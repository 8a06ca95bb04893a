"""Kernel tests run inside User-Mode Linux, all in one boot, and are reported as if they had run here.

Outside, the tests marked `uml` that were selected are handed to a pytest inside; it writes every report as a line of
JSON into a folder that both see, and the outer pytest shows them under the same names.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import CallInfo

from ipop_core.lab import Laboratory
from ipop_core.lab.errors import LabError
from ipop_core.lab.uml import OUTPUT_FILE, run_in_uml, uml_right
from tests.uml.overlay import Overlay
from tests.uml.town import Town, confine_charon

INSIDE = "IPOP_INSIDE_UML"
REPORTS = "reports"
BOOT_SECONDS = 1500.0
LAST_LINES = 40
GROUP = "uml"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "uml: runs inside User-Mode Linux, whose kernel has ESP")
    config.addinivalue_line("markers", "xdist_group: which tests one worker runs, where pytest-xdist is used")


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in a hook of its own
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if INSIDE in os.environ:
        return
    for item in _marked(items):
        item.add_marker(pytest.mark.timeout(0))  # the first one waits for all
        item.add_marker(pytest.mark.xdist_group(GROUP))


def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    if INSIDE in os.environ or item.get_closest_marker("uml") is None:
        return None
    results = _results(item.session)
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in results.get(_name(item)) or [_missing(item, results)]:
        report.nodeid = item.nodeid
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if folder := os.environ.get(INSIDE):
        with (Path(folder) / REPORTS).open("a") as reports:
            reports.write(json.dumps(report._to_json()) + "\n")


@pytest.fixture(scope="package", autouse=True)
def confined() -> None:
    if INSIDE in os.environ:
        confine_charon()


@pytest.fixture(scope="package")
def town() -> Iterator[Town]:
    """Alice and Bob, both with IPsec on; whoever changes something puts it right again."""
    with Laboratory() as lab:
        town = Town(lab)
        for member in town.members:
            member.begin()
        for member in town.members:
            member.ready()
        yield town


@pytest.fixture(scope="package")
def overlay() -> Iterator[Overlay]:
    with Laboratory() as lab:
        overlay = Overlay(lab)
        yield overlay
        overlay.stop()


_KEY = pytest.StashKey[dict[str, Any]]()


def _results(session: pytest.Session) -> dict[str, Any]:
    """Reports by test; under `fault`, why there are none."""
    if _KEY not in session.stash:
        session.stash[_KEY] = _boot(session)
    return session.stash[_KEY]


def _boot(session: pytest.Session) -> dict[str, Any]:
    right = uml_right()
    if not right:
        return {"absent": right.reason}
    names = [_name(item) for item in _marked(session.items)]
    root = session.config.rootpath
    with tempfile.TemporaryDirectory(prefix="ipop-uml-") as folder:
        shared = Path(folder)
        env = {INSIDE: folder, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        options = ["-p", "no:cacheprovider", "--rootdir", str(root), "-q"]
        fault = ""
        try:
            command = [sys.executable, "-m", "pytest", *options, *names]
            run_in_uml(command, shared=shared, folder=root, env=env, timeout=BOOT_SECONDS)
        except LabError as error:
            fault = str(error)
        output = shared / OUTPUT_FILE
        said = output.read_text(errors="replace").splitlines()[-LAST_LINES:] if output.exists() else []
        results: dict[str, Any] = {"fault": "\n".join([fault, *said])}
        reports = shared / REPORTS
        for line in reports.read_text().splitlines() if reports.exists() else []:
            report = pytest.TestReport._from_json(json.loads(line))
            results.setdefault(report.nodeid, []).append(report)
    return results


def _missing(item: pytest.Item, results: dict[str, Any]) -> pytest.TestReport:
    """The report of a test that did not run."""

    def explain() -> None:
        if "absent" in results and not os.environ.get("CI"):
            pytest.skip(results["absent"])
        pytest.fail(f"did not run in User-Mode Linux: {results.get('absent') or results['fault']}", pytrace=False)

    call = CallInfo.from_call(explain, when="call")
    report: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
    return report


def _name(item: pytest.Item) -> str:
    """As it is called inside, where pytest-xdist has not added its group."""
    return item.nodeid.removesuffix(f"@{GROUP}")


def _marked(items: list[pytest.Item]) -> list[pytest.Item]:
    return [item for item in items if item.get_closest_marker("uml")]
