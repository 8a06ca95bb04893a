"""The tutorial's commands, from its page, each run where the page says and in the page's order."""

from __future__ import annotations

import pytest

from ipop_core.lab import Laboratory
from tests.tutorial_page import Machines, commands

pytestmark = [pytest.mark.uml, pytest.mark.net, pytest.mark.slow, pytest.mark.timeout(300)]


def test_every_command_of_the_tutorial() -> None:
    with Laboratory() as lab:
        machines = Machines(lab, lab.segment())
        try:
            machines.type(commands())
        finally:
            machines.leave()
