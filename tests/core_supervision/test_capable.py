"""`--check` asks those who guard the card whether this machine lets them, and nobody else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ipop_core.contract import CheckContext, Finding
from ipop_core.controller.capable import check_guards
from ipop_core.errors import ConfigError

GOOD = Finding(check="nft", verdict="good", found="there")
UNKNOWN = Finding(check="kernel", verdict="unknown", found="only root may see", mend="run as root")
BAD = Finding(check="kernel", verdict="bad", found="has no such thing", mend="take another")


class Answers:
    """Stands in for the registry: what each module's checks find."""

    def __init__(self, **found: list[Finding]) -> None:
        self._found = found

    def checks(self, name: str, context: CheckContext) -> list[Finding]:
        assert context.settings == "settings"
        assert context.ask("link", "status") is None
        return self._found[name]


def configuration(folder: Path, **guards: tuple[str, ...]) -> Any:
    modules = [
        SimpleNamespace(spec=SimpleNamespace(name=name, guards=roles), settings=lambda: "settings")
        for name, roles in guards.items()
    ]
    return SimpleNamespace(node=SimpleNamespace(name="node", run=folder / "run"), modules=modules)


def test_what_a_guard_lacks_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    node = configuration(tmp_path, wall=("link",), other=())
    with pytest.raises(ConfigError) as raised:
        check_guards(node, Answers(wall=[GOOD, BAD], other=[]))  # type: ignore[arg-type]
    line = "modules.wall: kernel: has no such thing; to mend: take another"
    assert str(raised.value) == line


def test_what_is_good_or_could_not_be_found_out_is_none(tmp_path: Path) -> None:
    check_guards(configuration(tmp_path, wall=("link",)), Answers(wall=[GOOD, UNKNOWN]))  # type: ignore[arg-type]


def test_what_others_lack_is_none_of_it(tmp_path: Path) -> None:
    check_guards(configuration(tmp_path, wall=()), Answers(wall=[BAD]))  # type: ignore[arg-type]
