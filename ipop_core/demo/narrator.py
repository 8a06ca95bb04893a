"""What the demo shows while it runs: on a terminal with colours and a spinner, elsewhere as plain lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from ipop_core.demo.errors import DemoError, NodeError
from ipop_core.errors import IpopError
from ipop_core.lab import LabError


class Narrator:
    def __init__(self, *, to_stderr: bool) -> None:
        self._console = Console(stderr=to_stderr, highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """One step of the story. Raises DemoError, which names it, in place of the errors of a node or a laboratory."""
        try:
            with self._console.status(f"{what} ..."):
                yield
        except NodeError as error:
            log = f"\nthe last lines of its log:\n{error.log}" if error.log else ""
            raise DemoError(f"step failed: {what}: {error}{log}") from error
        except (LabError, IpopError) as error:
            raise DemoError(f"step failed: {what}: {error}") from error

    def heading(self, text: str) -> None:
        self._console.print()
        self._print(text, "bold")

    def line(self, text: str) -> None:
        self._print(f"  {text}", "")

    def command(self, who: str, text: str) -> None:
        """A command as it could be typed."""
        self._print(f"  {who}$ {text}", "cyan")

    def good(self, text: str) -> None:
        self._print(f"  {text}", "green")

    def bad(self, text: str) -> None:
        self._print(f"  {text}", "bold red")

    def _print(self, text: str, style: str) -> None:
        self._console.print(Text(text, style=style))
