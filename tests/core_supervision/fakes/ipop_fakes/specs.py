from ipop_core.contract import CONTRACT_VERSION, ModuleSpec

OBJECT = {"type": "object"}
ACTIONS = ("pid", "wait", "hang", "die", "keep", "held", "break", "refuse", "lie", "ask", "level", "mood")


def spec(name: str, role: str, needs: tuple[str, ...] = ()) -> ModuleSpec:
    return ModuleSpec(
        name=name,
        contract=CONTRACT_VERSION,
        role=role,
        needs=needs,
        schema={
            "type": "object",
            "properties": {
                "fault": {"type": "string", "default": ""},
                "crash_times": {"type": "integer", "default": 0},
                "stop_seconds": {"type": "number", "default": 0},
                "mood": {"type": "string", "default": "calm", "maxLength": 20},
                "nick": {"type": "string"},
            },
        },
        live=("mood", "nick"),
        settings="ipop_fakes.module:Settings",
        factory="ipop_fakes.module:FakeModule",
        messages=[
            {
                "role": role,
                "actions": {action: {"doc": "-", "request": OBJECT, "response": OBJECT} for action in ACTIONS}
                | {"lie": {"doc": "-", "request": OBJECT, "response": {"type": "object", "required": ["truth"]}}},
                "events": {f"{role}.done": {"doc": "-", "body": OBJECT}},
            }
        ],
    )
