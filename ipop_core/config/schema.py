"""The schema of one node's whole configuration: the controller's own and a section for each module.

A module's schema stays a resource of its own, so that `#/$defs/...` in it means its own definitions.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator, SchemaError

from ipop_core.contract import ModuleSpec
from ipop_core.errors import ConfigError
from ipop_core.faults import show_value


def controller_schema() -> dict[str, Any]:
    """The controller's own part, without modules."""
    schema: dict[str, Any] = json.loads((files("ipop_schemas") / "controller.json").read_text())
    return schema


def compose(specs: Iterable[ModuleSpec]) -> dict[str, Any]:
    """The schema of a configuration with these modules."""
    schema = controller_schema()
    schema["properties"]["modules"]["properties"] = {spec.name: _section_schema(spec) for spec in specs}
    return schema


def fill_defaults(document: Any, schema: Mapping[str, Any]) -> Any:
    """A copy of the document with every `default` of the schema that it leaves out; whatever has a wrong type stays."""
    return _fill(copy.deepcopy(document), schema, schema)


def check_schema(spec: ModuleSpec) -> None:
    """Raise ConfigError when the module's schema is no schema, or its own defaults break it."""
    place = f"modules.{spec.name}"
    try:
        Draft202012Validator.check_schema(dict(spec.schema), format_checker=Draft202012Validator.FORMAT_CHECKER)
    except SchemaError as error:
        where = "/".join(str(step) for step in error.absolute_path)
        raise ConfigError(place, f"the module's schema is no JSON schema, at {show_value(where)}") from None
    except Exception as error:  # a stranger's object, of any shape
        raise ConfigError(place, f"the module's schema is no JSON schema: {type(error).__name__}") from None


def _section_schema(spec: ModuleSpec) -> dict[str, Any]:
    section = copy.deepcopy(dict(spec.schema))
    section.setdefault("$id", f"urn:ipop:module:{spec.name}")
    section["type"] = "object"
    if "unevaluatedProperties" not in section:
        section.setdefault("additionalProperties", False)
    section["properties"] = {
        **section.get("properties", {}),
        "isolation": {
            "description": "a process of its own, or the controller's",
            "enum": ["process", "inline"],
            "default": "inline" if spec.inline else "process",
        },
    }
    return section


def _fill(value: Any, schema: Any, root: Mapping[str, Any]) -> Any:
    schema, root = _follow(schema, root)
    if not isinstance(schema, Mapping):
        return value
    if isinstance(value, dict):
        for key, inner in schema.get("properties", {}).items():
            target, _ = _follow(inner, root)
            if key not in value:
                default = inner if "default" in inner else target
                if "default" not in default:
                    continue
                value[key] = copy.deepcopy(default["default"])
            value[key] = _fill(value[key], inner, root)
    elif isinstance(value, list) and "items" in schema:
        return [_fill(item, schema["items"], root) for item in value]
    return value


def _follow(schema: Any, root: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """The schema that a local reference means, and the resource that its own references start from."""
    if not isinstance(schema, Mapping):
        return schema, root
    if "$id" in schema:
        root = schema
    reference = schema.get("$ref", "")
    if not reference.startswith("#/$defs/"):
        return schema, root
    return root.get("$defs", {}).get(reference.removeprefix("#/$defs/"), schema), root
