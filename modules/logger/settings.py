"""The settings of the logger, as its section of the configuration gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from ipop_core.errors import ConfigError

Level: TypeAlias = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True)
class Settings:
    """Built from the section `modules.logger`."""

    format: Literal["text", "json"] = "text"
    to: str = "stderr"
    """`stderr`, `journal` or the absolute path of a file."""
    level: Level = "info"
    levels: Mapping[str, Level] = field(default_factory=dict)
    """By module, or `controller` for its process; they go before `level`."""

    def __post_init__(self) -> None:
        """Raise ConfigError when the folder of the file is missing: the logger makes files, not folders."""
        folder = Path(self.to).parent
        if self.to not in ("stderr", "journal") and not folder.is_dir():
            raise ConfigError("modules.logger.to", f"{self.to}: the folder {folder} does not exist")
