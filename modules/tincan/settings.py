"""The section `modules.tincan` of the configuration: the card's settings and the links'."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

from ipop_core.errors import ConfigError

from .card.errors import CardError
from .card.settings import CardSettings
from .link.protocol.searching import Limits


@dataclass(frozen=True)
class TincanSettings:
    """As `card/schema.json` and `link/schema.json` describe it."""

    address: str | tuple[str, ...] = ()
    network: str = "192.168.10.0/24"
    card: str | None = "tapipop"
    card_type: str = "tap"
    mtu: int = 1500
    port: int = 4741
    port_mapping: bool = True
    relay_mbps: float | None = None
    search_datagrams: int = 2000
    search_sockets: int = 256

    def __post_init__(self) -> None:
        """Raise ConfigError for what the schema can't say of addresses."""
        try:
            self.card_settings  # noqa: B018 - for its fault
        except CardError as error:
            raise ConfigError("modules.tincan", str(error)) from None

    def check_namespace(self, namespace: str | None) -> None:
        """Implements `NamespaceBound`."""
        if self.card is not None and namespace is None:
            raise ConfigError(
                "namespace", "missing: a node with a card is in a namespace; a bare one has modules.tincan.card: null"
            )

    @property
    def search_limits(self) -> Limits:
        return Limits(self.search_datagrams, self.search_sockets)

    @property
    def card_settings(self) -> CardSettings:
        return CardSettings.parse(asdict(self))


def schema() -> dict[str, Any]:
    """The schema of the whole section, composed of the card's and the links'."""
    properties: dict[str, Any] = {}
    for part in ("card", "link"):
        text = resources.files(__package__).joinpath(part, "schema.json").read_text(encoding="utf-8")
        properties |= json.loads(text)["properties"]
    return {"type": "object", "title": "The virtual card and the links", "properties": properties}
