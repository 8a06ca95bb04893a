"""What a JSON schema forbids, in words for a person: one ConfigError for each violation."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from jsonschema import Draft202012Validator, ValidationError, validators
from referencing import Registry
from referencing.exceptions import Unresolvable

from ipop_core.config.formats import EXPECTED, FORMATS, FormatFault
from ipop_core.errors import ConfigError
from ipop_core.faults import show_key, show_place, show_value

TYPE_NAMES: Final = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


def _is_integer(_: Any, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)  # 1500.0 would not fit a field of type int


def _check_pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    """As jsonschema's own, but `$` is the end of the text and not also the place before a last newline (ECMA 262)."""
    if isinstance(instance, str) and not re.search(re.sub(r"(?<!\\)\$$", r"\\Z", pattern), instance):
        yield ValidationError("does not match")


_Validator: Final[Any] = validators.extend(  # type: ignore[no-untyped-call]  # jsonschema's is not annotated
    Draft202012Validator,
    validators={"pattern": _check_pattern},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def violations(document: Any, schema: Mapping[str, Any], name: str = "configuration") -> list[ConfigError]:
    """Every way in which the document breaks the schema (2020-12); `name` is the place of a fault of the whole.

    Values under a schema with `"writeOnly": true` are secrets and never shown. No reference is fetched from anywhere.
    """
    registry: Registry[Any] = Registry()
    validator = _Validator(schema, format_checker=FORMATS, registry=registry)
    try:
        errors = list(validator.iter_errors(document))
    except Unresolvable as error:
        return [ConfigError(name, f"the schema refers to {show_value(error.ref)}, which it does not contain")]
    return [
        ConfigError(show_place(path) or name, fault)
        for error in errors
        for path, fault in _describe(error, schema, tuple(error.absolute_path))
    ]


Steps = tuple[str | int, ...]
Fault = tuple[Steps, str]


def _describe(error: ValidationError, root: Mapping[str, Any], path: Steps) -> Iterator[Fault]:
    keyword, limit, schema = str(error.validator), cast(Any, error.validator_value), cast(Any, error.schema)
    if keyword in ("additionalProperties", "unevaluatedProperties"):
        yield from _unknown_keys(error, path)
    elif keyword == "required":
        # jsonschema reports each missing key by itself, and names it only in its message.
        missing = next(
            key for key in limit if key not in cast(Any, error.instance) and error.message.startswith(repr(key))
        )
        yield (*path, missing), "is required, but missing"
    elif keyword in ("anyOf", "oneOf"):
        yield from _describe_choice(error, root, path)
    else:
        secret = schema.get("writeOnly") is True or _is_secret(root, path)
        yield path, f"{'the value' if secret else show_value(error.instance)} {_complaint(error, keyword, limit)}"


def _complaint(error: ValidationError, keyword: str, limit: Any) -> str:
    if keyword == "type":
        return f"is not {_type_names(limit)}"
    if keyword == "format":
        return str(error.cause) if isinstance(error.cause, FormatFault) else f"is not {EXPECTED.get(limit, limit)}"
    if keyword == "enum":
        return f"is not one of {', '.join(show_value(item) for item in limit)}"
    phrase = PHRASES.get(keyword)
    return phrase(limit) if phrase else f"breaks the rule `{keyword}` of its schema"


def _times(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


PHRASES: Final[Mapping[str, Callable[[Any], str]]] = {
    "const": lambda limit: f"is not {show_value(limit)}",
    "minimum": lambda limit: f"is less than {limit}",
    "maximum": lambda limit: f"is greater than {limit}",
    "exclusiveMinimum": lambda limit: f"is not greater than {limit}",
    "exclusiveMaximum": lambda limit: f"is not less than {limit}",
    "multipleOf": lambda limit: f"is not a multiple of {limit}",
    "minLength": lambda limit: f"is shorter than {_times(limit, 'character')}",
    "maxLength": lambda limit: f"is longer than {_times(limit, 'character')}",
    "pattern": lambda limit: f"does not match {limit}",
    "minItems": lambda limit: f"has fewer than {_times(limit, 'item')}",
    "maxItems": lambda limit: f"has more than {_times(limit, 'item')}",
    "uniqueItems": lambda _: "has the same item twice",
    "minProperties": lambda limit: f"has fewer than {_times(limit, 'key')}",
    "maxProperties": lambda limit: f"has more than {_times(limit, 'key')}",
}


def _type_names(names: str | Sequence[str]) -> str:
    if isinstance(names, str):
        names = [names]
    return " or ".join(TYPE_NAMES[name] for name in names)


def _unknown_keys(error: ValidationError, path: Steps) -> Iterator[Fault]:
    schema = cast(Any, error.schema)
    known, patterns = list(schema.get("properties", {})), list(schema.get("patternProperties", {}))
    for key in cast(Any, error.instance):
        if key in known or any(re.search(pattern, key) for pattern in patterns):
            continue
        nearest = difflib.get_close_matches(key, known, n=1)
        yield (*path, key), "unknown key" + (f"; did you mean {show_key(nearest[0])}?" if nearest else "")


def _describe_choice(error: ValidationError, root: Mapping[str, Any], path: Steps) -> Iterator[Fault]:
    """Of several forms, complain about the one that was meant: the only one whose type fits."""
    forms: dict[Any, list[ValidationError]] = {}
    for inner in error.context or ():
        forms.setdefault(inner.schema_path[0], []).append(inner)
    meant = [
        inners
        for inners in forms.values()
        if not any(inner.validator == "type" and not inner.relative_path for inner in inners)
    ]
    if len(meant) != 1:
        secret = _is_secret(root, path)
        yield path, f"{'the value' if secret else show_value(error.instance)} is in none of the forms allowed here"
        return
    for inner in meant[0]:
        yield from _describe(inner, root, tuple(inner.absolute_path))


def _is_secret(root: Mapping[str, Any], path: Steps) -> bool:
    schema: Any = root
    for step in path:
        schema = schema.get("items" if isinstance(step, int) else "properties", {})
        if isinstance(step, str):
            schema = schema.get(step)
        if not isinstance(schema, Mapping):
            return False
        if schema.get("writeOnly") is True:
            return True
    return False
