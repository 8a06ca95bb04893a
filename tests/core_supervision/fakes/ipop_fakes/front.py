from ipop_core.contract import ModuleSpec, hookimpl
from ipop_fakes.specs import spec


@hookimpl
def ipop_module() -> ModuleSpec:
    return spec("front", "front", ("back",))
