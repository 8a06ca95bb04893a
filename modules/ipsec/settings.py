"""The settings of ipsec, as its section of the configuration gives them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Built from the section `modules.ipsec`."""

    vici: str | None = None
    """Control socket of a charon that is there already."""
    charon: str = "/usr/lib/ipsec/charon"
    rekey: int = 3600
    """Seconds."""
