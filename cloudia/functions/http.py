"""The ring around a function: an API Gateway event in, a response out, every error as JSON."""

from __future__ import annotations

import base64
import binascii
import json
import logging
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, TypeAlias

from cloudia import ids, telemetry
from cloudia.cloud.identity import bearer
from cloudia.errors import (
    CloudiaError,
    InvalidRequestError,
    RefusedError,
    RequestError,
    UnavailableError,
    UsageError,
)
from cloudia.functions.services import in_lambda, services

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.cloud.cloud import Cloud

__all__ = ["Answer", "Event", "Request", "conversation_id_of", "function", "job_id_of"]

Event: TypeAlias = dict[str, Any]
Answer: TypeAlias = tuple[int, dict[str, Any]]
"""A status and a JSON body."""

_HEADERS = {"content-type": "application/json; charset=utf-8", "cache-control": "no-store"}
_MAX_PAGE = 100
_LIMIT_DIGITS = 3
_DEFAULT_PAGE = 50
_SERVER_ERROR = 500
_INTERNAL = CloudiaError("the function failed", hint="Its log says why.", code="internal").to_json()
_LISTENER_SECONDS = 0.25
"""How long a request waits, at most, for a listener to be told of it."""


@dataclass(frozen=True)
class Request:
    """A request as a function sees it."""

    event: Event
    services: Cloud

    @cached_property
    def user_id(self) -> str:
        """The caller. `UnauthorizedError` where the token is missing or refused."""
        return self.services.identity.user(bearer(self._header("authorization")))

    @cached_property
    def operator_id(self) -> str:
        """The operator who calls. As `user_id`; `ForbiddenError` where the token is a user's."""
        return self.services.identity.operator(bearer(self._header("authorization")))

    @cached_property
    def body(self) -> bytes:
        """The body's bytes, empty where there is none."""
        raw = self.event.get("body") or ""
        if not self.event.get("isBase64Encoded"):
            return str(raw).encode()
        try:
            return base64.b64decode(raw, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidRequestError("the body cannot be read") from error

    @cached_property
    def query(self) -> dict[str, str]:
        """The query's parameters."""
        return dict(self.event.get("queryStringParameters") or {})

    @property
    def is_own(self) -> bool:
        """Whether the edge of a local stack knows the caller as its own user; API Gateway never says so."""
        authorizer = self.event.get("requestContext", {}).get("authorizer", {})
        return bool(authorizer.get("lambda", {}).get("is_own"))

    @property
    def traceparent(self) -> str | None:
        """The caller's trace context."""
        return self._header("traceparent")

    def path_parameter(self, name: str) -> str:
        """Return a part of the path."""
        return str((self.event.get("pathParameters") or {}).get(name, ""))

    def page(self, *known: str) -> tuple[int, str | None]:
        """Return `(limit, cursor)` of a list's query, and refuse parameters that are neither these nor `known`."""
        unknown = sorted(set(self.query) - {"limit", "cursor", *known})
        if unknown:
            raise InvalidRequestError(f"unknown query parameter {unknown[0][:64]!r}", code="unknown_parameter")
        raw = self.query.get("limit", str(_DEFAULT_PAGE))
        if not (raw.isascii() and raw.isdigit() and len(raw) <= _LIMIT_DIGITS and 1 <= int(raw) <= _MAX_PAGE):
            raise InvalidRequestError(f"limit is not a number from 1 to {_MAX_PAGE}", code="bad_limit")
        return int(raw), self.query.get("cursor") or None

    def _header(self, name: str) -> str | None:
        # Payload format 2.0 lowers the names of headers.
        value = (self.event.get("headers") or {}).get(name)
        return None if value is None else str(value)


def function(work: Callable[[Request], Answer]) -> Callable[[Event, Any], dict[str, Any]]:
    """Make a Lambda handler of `work`. What it raises becomes a status and `{"error": {"code", "message", "hint"}}`."""

    @wraps(work)
    def handler(event: Event, context: Any) -> dict[str, Any]:  # noqa: ARG001
        retry_after: int | None = None
        try:
            status, body = work(Request(event, services()))
        except RequestError as error:
            status, body, retry_after = error.status, error.to_json(), error.retry_after
        except (UsageError, RefusedError) as error:  # Ours: it names a setting or a grant, and nothing of a request.
            telemetry.log(
                "request failed", level=logging.ERROR, function=work.__module__, code=error.code, reason=error.message
            )
            status, body = 500, _INTERNAL
        except UnavailableError as error:
            telemetry.log("request failed", level=logging.WARNING, function=work.__module__, code=error.code)
            status, body = 503, error.to_json()
        except Exception as error:  # noqa: BLE001 - the caller gets an answer whatever happens, the log the reason
            telemetry.log("request failed", level=logging.ERROR, function=work.__module__, exc_info=error)
            status, body = 500, _INTERNAL
        if in_lambda():  # It freezes the process, with the listener's thread in it, until the next request.
            telemetry.flush(_LISTENER_SECONDS)
        if status >= _SERVER_ERROR:
            retry_after = 1
        headers = {**_HEADERS, "retry-after": str(retry_after)} if retry_after is not None else _HEADERS
        return {"statusCode": status, "headers": headers, "body": json.dumps(body, ensure_ascii=False)}

    return handler


def job_id_of(request: Request) -> str:
    """Return the job id of a request's path. `InvalidRequestError` where it is none."""
    job_id = request.path_parameter("id")
    if not ids.is_id(job_id, "job"):
        raise InvalidRequestError("that is not the id of a job", code="bad_job_id")
    return job_id


def conversation_id_of(request: Request) -> str:
    """Return the conversation id of a request's path. `InvalidRequestError` where it is none."""
    conversation_id = request.path_parameter("id")
    if not ids.is_id(conversation_id, "cnv"):
        raise InvalidRequestError("that is not the id of a conversation", code="bad_conversation_id")
    return conversation_id
