"""The settings of signal, as its section of the configuration gives them."""

from __future__ import annotations

from dataclasses import dataclass

from ipop_core.errors import ConfigError
from ipop_modules.signal.protocol.bootstrap import Bootstrap, parse_bootstrap


@dataclass(frozen=True)
class Settings:
    """Built from the section `modules.signal`; a bootstrap that can't be one is a ConfigError."""

    bootstraps: tuple[str, ...] = ()
    lan: bool = True

    def __post_init__(self) -> None:
        _ = self.parsed

    @property
    def parsed(self) -> tuple[Bootstrap, ...]:
        return tuple(_parse(index, text) for index, text in enumerate(self.bootstraps))


def _parse(index: int, text: str) -> Bootstrap:
    try:
        return parse_bootstrap(text)
    except ValueError as error:
        raise ConfigError(f"modules.signal.bootstraps[{index}]", f"{text!r}: {error}") from None
