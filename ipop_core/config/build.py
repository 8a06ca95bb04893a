"""From a configuration file to frozen settings: read, compose, fill, validate, build."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ipop_core.config.document import read_document
from ipop_core.config.schema import check_schema, compose, fill_defaults
from ipop_core.config.violations import violations
from ipop_core.contract import ModuleSpec, NamespaceBound
from ipop_core.errors import ConfigError
from ipop_core.faults import raise_faults
from ipop_core.folders import bus_socket, run_folder, state_folder
from ipop_core.loader import start_order
from ipop_core.namespace import NamespaceSettings

if TYPE_CHECKING:
    from ipop_core.loader import Registry

Isolation = Literal["process", "inline"]


@dataclass(frozen=True, kw_only=True)
class Node:
    """The node's name and folders, absolute."""

    name: str
    state: Path
    run: Path


@dataclass(frozen=True, kw_only=True)
class ConfiguredModule:
    """One module that the configuration names."""

    spec: ModuleSpec
    section: Mapping[str, Any] = field(repr=False)
    """Its validated section with the defaults, without the core's own key `isolation`."""
    isolation: Isolation

    def settings(self) -> Any:
        """Its frozen dataclass; imports the module's code. Raises ConfigError."""
        return build_settings(self.spec, self.section)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A validated configuration."""

    path: Path
    node: Node
    namespace: NamespaceSettings | None
    """None on a bare overlay node; `build_namespace` makes a Namespace of it."""
    modules: tuple[ConfiguredModule, ...]
    """In the order in which they start."""
    raw: Mapping[str, Any] = field(repr=False)
    """The whole document with its defaults."""

    def check_settings(self) -> None:
        """Build every module's settings, for faults that only its own code knows. Raises ConfigError."""
        faults = []
        namespace = None if self.namespace is None else self.namespace.name
        for module in self.modules:
            try:
                settings = module.settings()
                if isinstance(settings, NamespaceBound):
                    settings.check_namespace(namespace)
            except ConfigError as fault:
                faults.append(fault)
        raise_faults(faults)


def load(path: Path, registry: Registry) -> Configuration:
    """Read and validate a configuration. Raises ConfigError, with every fault as a line of its own."""
    return build(read_document(path), path, registry)


def build(document: Mapping[str, Any], path: Path, registry: Registry) -> Configuration:
    """Validate a document that was read from, or is meant for, `path`. Raises ConfigError."""
    specs, faults = _select(registry, _module_names(document))
    schema = compose(specs.values())
    for name in _module_names(document):  # a module that is not there was complained of once
        schema["properties"]["modules"]["properties"].setdefault(name, {})
    filled = fill_defaults(document, schema)
    order, role_faults = start_order(specs, complete=not faults)
    raise_faults([*faults, *role_faults, *violations(filled, schema, str(path))])
    return Configuration(
        path=path,
        node=build_node(filled["node"], path),
        namespace=_build_namespace_settings(filled.get("namespace"), path),
        modules=tuple(_configured(spec, filled["modules"][spec.name]) for spec in order),
        raw=filled,
    )


def read_node(path: Path) -> Node:
    """Only the node's name and folders, for whoever wants to talk to its controller. Raises ConfigError."""
    document = {"node": read_document(path).get("node", {}), "modules": {}}
    schema = compose(())
    schema["properties"]["modules"].pop("minProperties", None)
    filled = fill_defaults(document, schema)
    raise_faults(violations(filled, schema, str(path)))
    return build_node(filled["node"], path)


def build_node(section: Mapping[str, Any], path: Path) -> Node:
    """Folders count from the configuration file's own folder."""
    base, name = path.absolute().parent, section["name"]
    state = base / section["state"] if "state" in section else state_folder(name).absolute()
    run = base / section["run"] if "run" in section else run_folder(name).absolute()
    bus_socket(run)
    return Node(name=name, state=state, run=run)


def print_schema(registry: Registry, names: Sequence[str]) -> str:
    """The composed schema of a configuration with these modules, as JSON. Raises ConfigError."""
    specs, faults = _select(registry, names)
    raise_faults(faults)
    return json.dumps(compose(specs.values()), indent=2, ensure_ascii=False)


def build_settings(spec: ModuleSpec, section: Mapping[str, Any]) -> Any:
    """The section as an instance of the class that ModuleSpec.settings names. Raises ConfigError."""
    place = f"modules.{spec.name}"
    kind = resolve(spec.settings, place)
    try:
        return msgspec.convert(section, kind, dec_hook=_from_text)
    except msgspec.ValidationError as error:
        fault, _, where = str(error).partition(" - at `$")
        raise ConfigError(place + where.rstrip("`"), fault) from None


def resolve(import_string: str, place: str) -> Any:
    """The object that `package.module:name` names. Raises ConfigError at `place`."""
    module_name, _, name = import_string.partition(":")
    try:
        return getattr(importlib.import_module(module_name), name)
    except (Exception, SystemExit) as error:  # a stranger's code runs here
        raise ConfigError(place, f"can't import {import_string}: {type(error).__name__}: {error}") from None


def _select(registry: Registry, names: Sequence[str]) -> tuple[dict[str, ModuleSpec], list[ConfigError]]:
    specs, faults = registry.select(names)
    for name, spec in list(specs.items()):
        try:
            check_schema(spec)
        except ConfigError as fault:
            faults.append(fault)
            del specs[name]
    return specs, faults


def _module_names(document: Mapping[str, Any]) -> list[str]:
    modules = document.get("modules")
    return list(modules) if isinstance(modules, Mapping) else []


def _configured(spec: ModuleSpec, section: Mapping[str, Any]) -> ConfiguredModule:
    own = {key: value for key, value in section.items() if key != "isolation"}
    return ConfiguredModule(spec=spec, section=own, isolation=section["isolation"])


def _build_namespace_settings(section: Any, path: Path) -> NamespaceSettings | None:
    if section is None:
        return None
    if isinstance(section, str):
        return NamespaceSettings(name=section)
    authority = section.get("authority")
    return NamespaceSettings(
        name=section["name"],
        secret=section.get("secret"),
        passphrase=section.get("passphrase"),
        authority=None if authority is None else path.absolute().parent / authority,
    )


def _from_text(kind: type, value: Any) -> Any:
    """Path, ipaddress and the like are made from their text."""
    if not isinstance(value, str):
        raise NotImplementedError
    return kind(value)
