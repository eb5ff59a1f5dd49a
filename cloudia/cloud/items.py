"""DynamoDB items: plain dictionaries to and from the attribute values of the wire."""

from __future__ import annotations

import base64
import binascii
import json
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from cloudia.errors import InvalidRequestError

__all__ = ["decode_cursor", "encode_cursor", "from_item", "to_item", "values"]

_serializer = TypeSerializer()
_deserializer = TypeDeserializer()
_MAX_CURSOR = 512


def to_item(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the item of `fields`; what is None is left out."""
    return {name: _serializer.serialize(_decimal(value)) for name, value in fields.items() if value is not None}


def values(**placeholders: Any) -> dict[str, Any]:
    """Return `ExpressionAttributeValues`: `values(now=1)` is `{":now": {"N": "1"}}`."""
    return {f":{name}": _serializer.serialize(_decimal(value)) for name, value in placeholders.items()}


def from_item(item: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an item; numbers are `int` where they are whole."""
    return {name: _number(_deserializer.deserialize(value)) for name, value in item.items()}


def _decimal(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {name: _decimal(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_decimal(inner) for inner in value]
    return value


def _number(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _number(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_number(inner) for inner in value]
    return value


def encode_cursor(*keys: str) -> str:
    """Return an opaque cursor of sort keys. The partition key is never in it: it comes from the caller's own identity."""
    return base64.urlsafe_b64encode(json.dumps(keys).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, count: int) -> list[str]:
    """Return the `count` keys of a cursor. `InvalidRequestError` where it is none of ours."""
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        keys = (
            json.loads(base64.b64decode(padded, altchars=b"-_", validate=True)) if len(cursor) <= _MAX_CURSOR else None
        )
    except (ValueError, binascii.Error, RecursionError):
        keys = None
    # All our keys are ASCII; JSON can spell half of a surrogate pair, which DynamoDB refuses.
    if (
        isinstance(keys, list)
        and len(keys) == count
        and all(isinstance(key, str) and key.isascii() and key for key in keys)
    ):
        return keys
    raise InvalidRequestError(
        "the cursor is not one of ours", hint="Use next_cursor of the page before, as it is.", code="bad_cursor"
    )
