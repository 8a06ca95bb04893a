"""The hooks of signal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ipop_core.contract import CheckContext, Finding, ModuleSpec, hookimpl


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


@hookimpl
def ipop_checks(context: CheckContext) -> Sequence[Finding]:
    from ipop_modules.signal.checks import examine  # noqa: PLC0415 - for `ipop doctor` alone

    return examine(context)
