"""The hooks. Every `ipop` command imports this file, so it imports nothing heavy."""

import json
from importlib.resources import files

from ipop_core.contract import ModuleSpec, hookimpl


@hookimpl
def ipop_module() -> ModuleSpec:
    return ModuleSpec(
        name="fullmesh",
        contract=1,
        role="topology",
        needs=("link",),
        schema=json.loads((files("ipop_fullmesh") / "schema.json").read_text()),
        settings="ipop_fullmesh.module:Settings",
        factory="ipop_fullmesh.module:FullMesh",
    )
