"""The settings of the resolver, as its section of the configuration gives them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Built from the section `modules.resolver`."""

    domain: str = "ipop"
    port: int = 53
