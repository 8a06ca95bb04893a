"""Where a datagram came from: a UDP address, or a neighbour on the overlay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .events import Endpoint


@dataclass(frozen=True, slots=True)
class Overlay:
    """A neighbour handed it over: the claimed sender, the way back, and the links that it took."""

    node: bytes
    via: bytes | None
    link: bytes
    hops: int


Source: TypeAlias = Endpoint | Overlay
