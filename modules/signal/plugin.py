"""The hooks of signal."""

from __future__ import annotations

import json
from pathlib import Path

from ipop_core.contract import ModuleSpec, hookimpl


@hookimpl
def ipop_module() -> ModuleSpec:
    return ModuleSpec(
        name="signal",
        contract=1,
        role="signal",
        needs=("link",),
        schema=json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8")),
        settings="ipop_modules.signal.settings:Settings",
        factory="ipop_modules.signal.module:Signal",
        live=("bootstraps",),
        preload=("ipop_modules.signal.module",),
    )
