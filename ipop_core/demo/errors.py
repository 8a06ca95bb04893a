"""What ends the demo early."""

from __future__ import annotations

from ipop_core.errors import IpopError


class DemoError(IpopError):
    """A step of the demo failed; the text says which and why, with the last lines of the log that tells more."""


class NodeError(IpopError):
    """One of the demo's nodes did not do what was expected of it; `log` is the end of what it wrote."""

    def __init__(self, text: str, log: str) -> None:
        super().__init__(text)
        self.log = log
