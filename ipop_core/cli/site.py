"""What all nodes of a site have in common, as a file says it: /etc/ipop/site.json, or the one that $IPOP_SITE names.

`ipop init` and `ipop up` put it into the configurations that they write; a node that runs never reads it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from ipop_core.config.document import parse_document, read_document
from ipop_core.config.violations import violations
from ipop_core.errors import ConfigError

SITE_FILE: Final = Path("/etc/ipop/site.json")


@dataclass(frozen=True)
class Site:
    bootstraps: list[str] = field(default_factory=list)
    modules: dict[str, Any] = field(default_factory=dict)
    """A merge patch (RFC 7396) for a configuration's `modules`: sections and settings to add, null takes one away."""

    def applied_to(self, document: Mapping[str, Any], asked: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """`asked`: by module, what the command line says, which counts before what the site has."""
        modules = _merged(document["modules"], self.modules)
        for module in modules.keys() & asked.keys():
            modules[module] = {**modules[module], **asked[module]}
        return {**document, "modules": modules}


def read_site() -> Site:
    """That of this machine; nothing where there is no file. Raises ConfigError."""
    given = os.environ.get("IPOP_SITE")
    path = Path(given) if given else SITE_FILE
    if not given and not path.exists():
        return Site()
    document = read_document(path)
    schema = parse_document((files("ipop_schemas") / "site.json").read_bytes(), "site.json")
    faults = violations(document, schema, str(path))
    if faults:
        raise ConfigError(str(path), str(faults[0]))
    return Site(document.get("bootstraps", []), document.get("modules", {}))


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged
