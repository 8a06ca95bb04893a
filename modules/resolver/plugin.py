"""The hooks of the resolver."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipop_core.contract import CheckContext, Finding, ModuleSpec, hookimpl


@hookimpl
def ipop_module() -> ModuleSpec:
    return ModuleSpec(
        name="resolver",
        contract=1,
        role="resolver",
        needs=("link", "topology"),
        schema=_read("schema.json"),
        settings="ipop_modules.resolver.settings:Settings",
        factory="ipop_modules.resolver.module:Resolver",
        messages=(_read("messages.json"),),
        preload=("ipop_modules.resolver.module",),
    )


@hookimpl
def ipop_checks(context: CheckContext) -> Sequence[Finding]:
    from ipop_modules.resolver.checks import examine  # noqa: PLC0415 - only for the doctor

    return examine(context)


def _read(name: str) -> Any:
    return json.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))
