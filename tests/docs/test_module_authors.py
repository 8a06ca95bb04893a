"""The page for module authors says what the code says."""

import subprocess
import sys
from pathlib import Path

import pytest

from ipop_core.contract import Hooks

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "module-authors.md").read_text(encoding="utf-8")


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, DOCS / "generate_reference.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_page_that_is_not_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "examples").symlink_to(DOCS.parent / "examples")
    script = tmp_path / "docs" / "generate_reference.py"
    script.write_text((DOCS / "generate_reference.py").read_text())
    page = tmp_path / "docs" / "module-authors.md"
    for right, wrong in (("BusError", "BusFault"), ("ModuleSpec(", "ModuleSpeck(")):
        page.write_text(PAGE.replace(right, wrong))
        check = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
        assert check.returncode == 1
        assert "out of date" in check.stdout


def test_the_example_in_virtual_time_runs() -> None:
    code = PAGE.partition("<!-- run by tests/docs -->\n```python\n")[2].partition("```")[0]
    assert "world.run" in code
    exec(compile(code, "module-authors.md", "exec"), {})


@pytest.mark.parametrize("hook", [name for name in vars(Hooks) if name.startswith("ipop_")])
def test_every_hook_is_on_the_page(hook: str) -> None:
    assert f"#### `{hook}(" in PAGE
