"""The contracts of the bus: which actions and events a role has, and what their bodies look like.

Shared contracts lie in `schemas/messages/ROLE.json`; a module brings its own by `ModuleSpec.messages`. A document:

    {"role": "link", "doc": "...", "$defs": {...},
     "actions": {"probe": {"doc": "...", "frames": 0, "request": SCHEMA, "response": SCHEMA, "response_frames": 0}},
     "events": {"link.up": {"doc": "...", "frames": 0, "body": SCHEMA}}}

Schemas are JSON Schema 2020-12 and may refer to the document's own `#/$defs/NAME`, not recursively. Every message is
checked twice, so jsonschema-rs decides, which takes a hundredth of jsonschema's time; what is wrong, jsonschema says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jsonschema
import jsonschema_rs
import msgspec

import ipop_schemas
from ipop_core.errors import BusError, ConfigError

HEARTBEAT: Final = "heartbeat"
"""The action that every role has: the bus client answers it, not the module."""
RECONFIGURE: Final = "reconfigure"
"""The action by which the controller hands a module new settings: the hall serves it (`ModuleSpec.live`)."""

_SHOWN: Final = 160
_REFERENCE: Final = "#/$defs/"
_NOTHING: Final[Mapping[str, Any]] = {"type": "object", "additionalProperties": False}


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be asked of a role."""

    doc: str
    request: dict[str, Any]
    response: dict[str, Any]
    frames: int = 0
    response_frames: int = 0


class EventContract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a role publishes."""

    doc: str
    body: dict[str, Any]
    frames: int = 0


class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One document: everything that a role says and hears."""

    role: str
    doc: str = ""
    defs: dict[str, Any] = msgspec.field(name="$defs", default_factory=dict)
    actions: dict[str, Action] = {}
    events: dict[str, EventContract] = {}


class Contracts:
    """The contracts of every role that this process knows."""

    def __init__(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Raises ConfigError for a document that is no contract, or a second one for the same role."""
        self._roles: dict[str, Contract] = {}
        self._validators: dict[tuple[str, str, str], jsonschema_rs.Draft202012Validator] = {}
        for document in documents:
            self._add(document)

    def roles(self) -> Mapping[str, Contract]:
        """Every contract by its role: the source of the documentation."""
        return self._roles

    def action(self, role: str, action: str) -> Action | None:
        """None: the role has no such action, or no contract here."""
        contract = self._roles.get(role)
        return contract.actions.get(action) if contract else None

    def check_request(self, role: str, action: str, body: Mapping[str, Any], frames: int) -> None:
        """Raises BusError `unknown-action` or `invalid`. A role without a contract here is left to its own process."""
        contract = self._roles.get(role)
        if contract is None or action in (HEARTBEAT, RECONFIGURE):
            return
        known = contract.actions.get(action)
        if known is None:
            raise BusError("unknown-action", f"{role}.{action}: the role has no such action")
        self._check(f"{role}.{action}", (role, action, "request"), known.request, body)
        _check_frames(f"{role}.{action}", known.frames, frames)

    def check_response(self, role: str, action: str, body: Mapping[str, Any], frames: int) -> None:
        """Raises BusError `invalid` when the answer breaks the contract."""
        known = self.action(role, action)
        if known is None:
            return
        self._check(f"answer of {role}.{action}", (role, action, "response"), known.response, body)
        _check_frames(f"answer of {role}.{action}", known.response_frames, frames)

    def check_event(self, topic: str, body: Mapping[str, Any], frames: int) -> None:
        """Raises BusError `invalid` when the event breaks the contract or is not in it."""
        contract = self._roles.get(topic.partition(".")[0])
        if contract is None:
            return
        known = contract.events.get(topic)
        if known is None:
            raise BusError("invalid", f"{topic}: the role has no such event")
        self._check(topic, (contract.role, topic, "event"), known.body, body)
        _check_frames(topic, known.frames, frames)

    def verify(self) -> None:
        """Check every schema against the meta-schema. Raises ConfigError; slow, so for `--check` and tests."""
        for contract in self._roles.values():
            for place, schema in _schemas(contract):
                whole = _inlined(schema, contract.defs)
                try:
                    jsonschema.Draft202012Validator.check_schema(whole)
                    jsonschema_rs.Draft202012Validator(whole)
                except (jsonschema.SchemaError, jsonschema_rs.ValidationError) as error:
                    raise ConfigError(f"contract of the role {contract.role}", f"{place}: {error.message}") from None

    def _add(self, document: Mapping[str, Any]) -> None:
        place = f"contract of the role {document.get('role', '?')}"
        try:
            contract = msgspec.convert(document, Contract)
        except msgspec.ValidationError as error:
            raise ConfigError(place, str(error)) from None
        if contract.role in self._roles:
            raise ConfigError(place, "there is another contract for this role")
        stray = next((topic for topic in contract.events if not topic.startswith(f"{contract.role}.")), None)
        if stray is not None:
            raise ConfigError(place, f"the event {stray} does not begin with {contract.role}.")
        self._roles[contract.role] = contract

    def _check(self, what: str, key: tuple[str, str, str], schema: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        validator = self._validators.get(key)
        if validator is None:
            whole = _inlined(schema, self._roles[key[0]].defs)
            try:
                validator = self._validators[key] = jsonschema_rs.Draft202012Validator(whole)
            except jsonschema_rs.ValidationError as error:
                raise BusError("invalid", f"{what}: its contract is no schema: {error.message}") from None
        try:
            if validator.is_valid(body):
                return
        except ValueError as error:
            raise BusError("invalid", f"{what}: body: not JSON: {error}") from None
        raise BusError("invalid", f"{what}: {_fault(_inlined(schema, self._roles[key[0]].defs), body)}")


def load(modules: Iterable[Sequence[Mapping[str, Any]]] = ()) -> Contracts:
    """The shared contracts and those that modules bring (each module's `ModuleSpec.messages`)."""
    folder = Path(ipop_schemas.__file__).parent / "messages"
    shared = [msgspec.json.decode(path.read_bytes(), type=dict[str, Any]) for path in sorted(folder.glob("*.json"))]
    return Contracts([*shared, *(document for messages in modules for document in messages)])


def _fault(schema: dict[str, Any], body: Mapping[str, Any]) -> str:
    """Where and why a body breaks a schema that it does not pass."""
    fault = next(jsonschema.Draft202012Validator(schema).iter_errors(body), None)
    if fault is not None:
        return f"{_path(fault.absolute_path)}: {_shortened(fault.message)}"
    # Patterns are Python's there, whose `$` passes over a newline at the end, and numbers may be infinite.
    stricter = next(jsonschema_rs.Draft202012Validator(schema).iter_errors(body))
    return f"{_path(stricter.instance_path)}: {_shortened(stricter.message)}"


def _check_frames(what: str, expected: int, got: int) -> None:
    if got != expected:
        raise BusError("invalid", f"{what}: frames: {got} is not {expected}")


def _path(parts: Iterable[str | int]) -> str:
    return "body" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def _shortened(message: str) -> str:
    return message if len(message) <= _SHOWN else f"{message[: _SHOWN // 2]} ... {message[-_SHOWN // 2 :]}"


def _schemas(contract: Contract) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for name, action in contract.actions.items():
        yield f"{name}.request", action.request
        yield f"{name}.response", action.response
    for topic, event in contract.events.items():
        yield topic, event.body


def _inlined(schema: Any, defs: Mapping[str, Any]) -> Any:
    """The schema with its references replaced: following them while validating costs five times as much."""
    if isinstance(schema, list):
        return [_inlined(item, defs) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith(_REFERENCE):
        target = defs.get(reference.removeprefix(_REFERENCE))
        if target is None:
            raise ConfigError("contract", f"{reference} is not in $defs")
        return _inlined({**target, **{key: value for key, value in schema.items() if key != "$ref"}}, defs)
    return {key: _inlined(value, defs) for key, value in schema.items()}
