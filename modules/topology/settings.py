"""The settings of topology, as its section of the configuration gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Settings:
    """Built from the section `modules.topology`."""

    lease: int = 600
    """Seconds for which the directory keeps what this node registers, unless it renews."""
    shortcuts: int = 64
    """Direct links that traffic may ask for at the same time."""
    long_links: int | Literal["auto"] = "auto"
    """Links across the ring that this node opens; "auto": as many as the ring's size asks for."""
    leaf: bool = False
    """Take a place in the ring, but carry and store nothing for others."""
    name: str | None = None
    """This node's host name in the namespace."""
