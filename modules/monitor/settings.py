"""The settings of the monitor, as its section of the configuration gives them."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from ipop_core.errors import ConfigError
from ipop_core.identity import Address


@dataclass(frozen=True)
class Settings:
    """Built from the section `modules.monitor`."""

    listen: str = "127.0.0.1:4780"

    def __post_init__(self) -> None:
        """Raise ConfigError where `listen` is no IP address with a port."""
        try:
            self.address  # noqa: B018 - for its fault
        except ValueError:
            fault = f"{self.listen!r} is not an IP address with a port, such as 127.0.0.1:4780 or [::1]:4780"
            raise ConfigError("modules.monitor.listen", fault) from None
        if self.port > 65_535:
            raise ConfigError("modules.monitor.listen", f"{self.port} is not a port: expected 0 to 65535")

    @property
    def address(self) -> Address:
        return ip_address(self.listen.rpartition(":")[0].strip("[]"))

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])
