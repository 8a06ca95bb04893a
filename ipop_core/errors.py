"""The errors that a person sees: each names a place, the value there and what was expected."""

from __future__ import annotations


class IpopError(Exception):
    """Something that the operator can mend; shown as one line, never as a traceback."""


class ConfigError(IpopError):
    """A fault in the configuration, a command line or a file that it names."""

    def __init__(self, place: str, fault: str) -> None:
        super().__init__(f"{place}: {fault}")
        self.place = place
        self.fault = fault


class BusError(IpopError):
    """A request that was not answered as asked.

    `code` is one of `no-role` (no module fills it), `unknown-action`, `invalid` (the body breaks the contract),
    `timeout`, `busy` (a queue is full), `refused` (the module says no) and `failed` (the module broke).
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
