from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_core.lab.errors import LabError
from ipop_core.lab.names import RunName


def test_two_runs_of_one_process_have_different_names() -> None:
    assert RunName.of_this_process() != RunName.of_this_process()


def test_a_name_tells_whose_it_is() -> None:
    run = RunName.of_this_process()

    assert RunName.parse(run.of("alice-router")) == run
    assert RunName.parse(run.text) == run
    assert run.pid == os.getpid()
    assert run.is_alive()


def test_a_run_whose_process_is_gone_is_dead() -> None:
    assert not RunName("ipoplab-4194305-00000000", 4194305).is_alive()  # above the largest pid that Linux gives


@pytest.mark.parametrize(
    "name", ["alice", "ipoplab-", "ipoplab-x-00000000-a", "ipoplab-1-0000-a", "xipoplab-1-00000000"]
)
def test_foreign_names_belong_to_no_run(name: str) -> None:
    assert RunName.parse(name) is None


@pytest.mark.parametrize("host", ["", "-a", "Alice", "a/b", "../a", "a b", "a" * 33, "a\n"])
def test_a_host_name_that_cannot_be_is_refused_by_name(host: str) -> None:
    with pytest.raises(LabError, match="host name"):
        RunName.of_this_process().of(host)


@given(st.text())
def test_no_name_breaks_the_parser(name: str) -> None:
    RunName.parse(name)
