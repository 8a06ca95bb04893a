"""Configurations made from the templates in `schemas/templates/`: which modules there are by default is data there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any


def default_modules() -> list[str]:
    """The modules of a usual node."""
    return list(load_template("node")["modules"])


def templates() -> list[str]:
    """Those of nodes whose namespace has an authority."""
    folder = files("ipop_schemas") / "templates"
    return sorted(item.name.removesuffix(".json") for item in folder.iterdir() if '"$authority"' in item.read_text())


def fill_template(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The template with every `"$key"` replaced by its value; keys whose value is None are left out."""
    filled: dict[str, Any] = _substitute(load_template(name), values)
    return filled


def asked_for(name: str, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By module, what the template takes from `values`, and what it leaves out on purpose (null): not its defaults."""
    modules: dict[str, dict[str, Any]] = load_template(name)["modules"]
    filled: dict[str, dict[str, Any]] = fill_template(name, values)["modules"]
    return {
        module: {
            key: filled[module][key] for key, item in settings.items() if _is_asked(item) and key in filled[module]
        }
        for module, settings in modules.items()
    }


def _is_asked(item: Any) -> bool:
    return item is None or (isinstance(item, str) and item.startswith("$"))


def load_template(name: str) -> dict[str, Any]:
    template: dict[str, Any] = json.loads((files("ipop_schemas") / "templates" / f"{name}.json").read_text())
    return template


def _substitute(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        filled = {key: _substitute(item, values) for key, item in value.items()}
        return {key: item for key, item in filled.items() if item is not None or value[key] is None}
    if isinstance(value, str) and value.startswith("$"):
        return values[value[1:]]
    return value
