from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from ipop_core.loader import Registry, start_order

from .conftest import Install


def faults_of(*names: str) -> list[str]:
    specs, faults = Registry().select(names)
    return [str(fault) for fault in [*faults, *start_order(specs, complete=not faults)[1]]]


def test_only_selected_modules_are_imported(install: Install) -> None:
    install("fakea")
    install("fakeb")
    specs, faults = Registry().select(["fakea"])
    assert (list(specs), faults) == (["fakea"], [])
    assert "fake_fakea.plugin" in sys.modules
    assert "fake_fakeb.plugin" not in sys.modules


IMPORT = "from ipop_core.contract import ModuleSpec, hookimpl\n"
HOOK = f"{IMPORT}@hookimpl\ndef ipop_module"
MISFIT = "its plugin does not fit: PluginValidationError"


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("1 / 0", "its plugin can't be imported: ZeroDivisionError: division by zero"),
        ("import sys; sys.exit('bye')", "its plugin can't be imported: SystemExit: bye"),
        ("raise ValueError('two\\nlines')", "its plugin can't be imported: ValueError: two lines"),
        ("", "its hook ipop_module returns no ModuleSpec"),
        (HOOK + "(): return {'name': 'x'}", "its hook ipop_module returns no ModuleSpec"),
        (
            HOOK + "(): return 1 / 0",
            "its hook ipop_module failed: ZeroDivisionError: division by zero",
        ),
        (
            IMPORT + "@hookimpl\ndef ipop_modul(): pass",
            "its plugin does not fit: PluginValidationError: unknown hook 'ipop_modul'",
        ),
        (
            HOOK + "(what): pass",
            f"{MISFIT}: Plugin 'fakea'",
        ),
    ],
)
def test_a_plugin_that_is_wrong_is_one_line(install: Install, code: str, line: str) -> None:
    install("fakea", code=code)
    install("fakeb")
    registry = Registry()
    specs, faults = registry.select(["fakea", "fakeb"])
    assert list(specs) == ["fakeb"]
    (fault,) = [str(fault) for fault in faults]
    assert fault.startswith(f"modules.fakea: {line}")
    assert "\n" not in fault
    registry.hook.ipop_process_started(process="controller", settings={}, run=Path("/nowhere"))


def test_another_contract_is_refused_by_name(install: Install) -> None:
    install("fakea", contract=99)
    assert faults_of("fakea") == ["modules.fakea: was written for contract 99; this IPOP has contract 1"]


def test_the_name_in_the_specification_counts(install: Install) -> None:
    install(
        "fakea",
        code=HOOK + "():\n return ModuleSpec(name='other', contract=1, role='r', schema={}, settings='', factory='')",
    )
    assert faults_of("fakea") == ["modules.fakea: calls itself 'other' in its ModuleSpec"]


def test_two_packages_with_one_module(install: Install, tmp_path: Path) -> None:
    install("fakea")
    install("fakeb")
    (tmp_path / "site/fake_fakeb-1.0.dist-info/entry_points.txt").write_text(
        "[ipop.modules]\nfakea = fake_fakeb.plugin\n"
    )
    assert faults_of("fakea") == ["modules.fakea: offered by fake-fakea and fake-fakeb; uninstall one of them"]


def test_roles(install: Install) -> None:
    install("fakea", role="link")
    install("fakeb", role="link")
    install("fakec", role="signal", needs=("link", "topology"))
    assert faults_of("fakea", "fakeb", "fakec") == [
        "modules.fakeb: fills the role link, which modules.fakea fills already; remove one of them",
        "modules.fakec: needs the role topology, which no module fills",
    ]


def test_a_missing_module_is_not_complained_of_twice(install: Install) -> None:
    install("fakec", role="signal", needs=("link",))
    (line,) = faults_of("fakec", "fakeno")
    assert line.startswith("modules.fakeno: no module of this name is installed")


def test_circles(install: Install) -> None:
    install("fakea", role="a", needs=("b",))
    install("fakeb", role="b", needs=("a",))
    (line,) = faults_of("fakea", "fakeb")
    assert line in {
        "modules: need each other in a circle: fakea -> fakeb -> fakea",
        "modules: need each other in a circle: fakeb -> fakea -> fakeb",
    }


def test_needed_modules_start_first(install: Install) -> None:
    install("fakea", role="a", needs=("b", "c"))
    install("fakeb", role="b", needs=("c",))
    install("fakec", role="c")
    specs, _ = Registry().select(["fakea", "fakeb", "fakec"])
    assert [spec.name for spec in start_order(specs)[0]] == ["fakec", "fakeb", "fakea"]


COMMANDS = """
import click

@hookimpl
def ipop_commands():
    return [click.Command(name, callback=lambda: click.echo({says!r})) for name in {names!r}]
"""


def commands(names: list[str], says: str) -> dict[str, Any]:
    return {"more": COMMANDS.format(names=names, says=says)}


def test_modules_bring_commands_and_a_broken_one_is_named(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("fakea", **commands(["peers", "init"], "a"))
    install("fakeb", **commands(["peers", "trace"], "b"))
    install("fakec", code="1 / 0")
    install("faked", code=IMPORT + "@hookimpl\ndef ipop_commands(): return 5")
    install("fakee", code=IMPORT + "@hookimpl\ndef ipop_commands(): return [5]")
    registry = Registry()
    monkeypatch.setattr(registry, "_installed", {k: v for k, v in registry._installed.items() if k.startswith("fake")})
    found, warnings = registry.commands(["fakeb", "absent"], taken={"init"})
    assert sorted(found) == ["peers", "trace"]
    nonsense = "its hook ipop_commands returns something else than a list of click commands"
    assert warnings == [
        "modules.fakea: its command peers is passed over: there is one already",
        "modules.fakea: its command init is passed over: there is one already",
        "modules.fakec: its plugin can't be imported: ZeroDivisionError: division by zero",
        f"modules.faked: {nonsense}",
        f"modules.fakee: {nonsense}",
    ]
    callback = found["peers"].callback
    assert callback is not None
    assert callback.__defaults__ is None
