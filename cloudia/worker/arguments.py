"""The arguments of a tool call, held to the tool's JSON Schema. No I/O.

jsonschema checks all of a schema, where it is installed. Without it, what schemas of tools are made of is checked here: `type`,
`enum`, `properties`, `required`, `additionalProperties` and `items`; other keywords let anything pass.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ArgumentsError", "parsed", "problems"]

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_SHOWN = 3


class ArgumentsError(ValueError):
    """The arguments are not what the tool takes; the text is for the LLM that wrote them."""


def parsed(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that an LLM wrote as JSON. `ArgumentsError` says what of them is against the schema."""
    try:
        arguments = json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise ArgumentsError("the arguments are not JSON") from None
    if not isinstance(arguments, dict):
        raise ArgumentsError("the arguments are not an object")
    strict = {"additionalProperties": False, **schema} if schema.get("properties") is not None else dict(schema)
    found = list(dict.fromkeys(problems(arguments, strict)))
    if found:
        more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise ArgumentsError(f"wrong arguments: {'; '.join(found[:_SHOWN])}{more}")
    return arguments


def problems(value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield what of a value is against a schema, each in a few words with its place."""
    try:
        from jsonschema.validators import validator_for  # noqa: PLC0415 - where it is installed
    except ImportError:
        yield from _checked(value, schema, "")
        return
    for error in validator_for(schema)(schema).iter_errors(value):
        place = ".".join(str(step) for step in error.absolute_path)
        match error.validator:
            case "required":
                missing = [name for name in error.validator_value if name not in error.instance]
                yield from (f"{_at(place, name)} is missing" for name in missing)
            case "additionalProperties":
                known = error.schema.get("properties", {})
                yield from (f"{_at(place, name)} is not known" for name in error.instance if name not in known)
            case kind:
                yield f"{place or 'it'} is against {kind} {json.dumps(error.validator_value)[:120]}"


def _checked(value: Any, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    """Yield the same by the keywords that are known here."""
    kinds = schema.get("type")
    names = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    if names and not any(_is(value, name) for name in names):
        yield f"{place or 'it'} is against type {json.dumps(kinds)}"
        return
    if isinstance(schema.get("enum"), list) and value not in schema["enum"]:
        yield f"{place or 'it'} is against enum {json.dumps(schema['enum'])[:120]}"
    if isinstance(value, dict):
        known = schema.get("properties") or {}
        yield from (f"{_at(place, name)} is missing" for name in schema.get("required") or () if name not in value)
        for name, inner in value.items():
            if isinstance(known.get(name), dict):
                yield from _checked(inner, known[name], _at(place, name))
            elif name not in known and schema.get("additionalProperties") is False:
                yield f"{_at(place, name)} is not known"
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for number, inner in enumerate(value):
            yield from _checked(inner, schema["items"], _at(place, str(number)))


def _is(value: Any, name: str) -> bool:
    """Tell whether a value is of a type of JSON Schema: true is no number, 2.0 is an integer."""
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(name, (object,)))


def _at(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
