"""What a provider's refusal means: whether another try can help, and what it is about. Decisions without I/O.

Statuses alone mislead: a 429 may be an empty account, a 400 inside a stream that began with 200 a prompt that is too long.
So the error's own words decide first: its code and type as servers are seen to spell them, then a few phrases of its message.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudia.worker.providers.base import status_kind
from cloudia.worker.providers.pauses import pause_of_body

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from cloudia.worker.providers.base import Cause, FailureKind

__all__ = ["Refusal", "refusal_in_stream", "refusal_of_status"]

_BAD_REQUEST, _UNPROCESSABLE = 400, 422
_NOT_FOUND = 404
_STATUSES = range(400, 600)

_BY_STATUS: dict[int, Cause] = {401: "key", 402: "quota", 403: "forbidden", 404: "url", 405: "url", 413: "context"}
_BY_CODE: dict[str, Cause] = {
    **dict.fromkeys(
        ("authentication_error", "authenticationerror", "invalid_api_key", "incorrect_api_key", "unauthenticated"),
        "key",
    ),
    **dict.fromkeys(
        (
            "insufficient_quota",
            "insufficient_balance",
            "insufficient_credits",
            "exceeded_current_quota_error",
            "billing_error",
            "billing_not_active",
            "billing_hard_limit_reached",
            "payment_required",
        ),
        "quota",
    ),
    **dict.fromkeys(
        ("permission_error", "permissiondeniederror", "permission_denied", "unsupported_country_region_territory"),
        "forbidden",
    ),
    **dict.fromkeys(("model_not_found", "modelnotfounderror", "deploymentnotfound", "invalid_model"), "model"),
    **dict.fromkeys(
        (
            "context_length_exceeded",
            "contextwindowexceedederror",
            "exceed_context_size_error",
            "request_too_large",
            "string_above_max_length",
        ),
        "context",
    ),
    **dict.fromkeys(
        ("content_filter", "content_policy_violation", "contentpolicyviolationerror", "responsibleaipolicyviolation"),
        "policy",
    ),
}
_KIND_BY_CODE: dict[str, FailureKind] = {
    **dict.fromkeys(
        (
            "invalid_request_error",
            "badrequesterror",
            "invalid_argument",
            "not_found_error",
            "notfounderror",
            "unprocessableentityerror",
            "invalid_prompt",
        ),
        "rejected",
    ),
    **dict.fromkeys(
        ("rate_limit_error", "rate_limit_exceeded", "ratelimiterror", "resource_exhausted", "too_many_requests"),
        "rate_limited",
    ),
}
_BY_PHRASE: tuple[tuple[Cause, re.Pattern[str]], ...] = (
    (
        "context",
        re.compile(
            r"context.?(length|window|size|limit)|(prompt|input|request|conversation|messages?) (is|are|was) too (long|large)"
            r"|too many (input )?tokens|maximum (number of )?(input )?tokens|input.{0,20}exceed|token limit"
        ),
    ),
    (
        "quota",
        re.compile(
            r"(credit|account) balance|insufficient.{0,12}(balance|credit|fund|quota)|out of credit|billing hard"
        ),
    ),
    ("policy", re.compile(r"content.?(policy|filter|management)|safety (system|filter)|usage polic")),
    (
        "model",
        re.compile(
            r"(invalid|unknown) model\b|model not (found|exist)|model .{0,60}(does not exist|not found)|not a valid model"
            r"|model identifier is invalid|no models? (is |are )?(currently )?loaded"
        ),
    ),
    ("key", re.compile(r"api.?key.{0,20}(not valid|invalid)|(incorrect|invalid) api.?key")),
)
_CODES = ("code", "type", "status", "status_code", "http_status_code")
_MODEL = re.compile(r"\b(model|deployment)")
_FAULT = re.compile(
    r"unsupported|not supported|n.t support|unknown|unrecognized|unexpected|extra|not permitted|not allowed|forbidden"
    r"|invalid|deprecated|not enabled|too large|cannot|must be|must not|at most|exceed|maximum"
)
_SYSTEM = re.compile(
    r"system (role|message|prompt|instruction)|developer instruction|[\"'`]system[\"'`]|role.{0,3}[:=].{0,3}system"
)
_TOOLS = re.compile(
    r"n.t support(ed)?.{0,20}(tool|function)|not support(ed)?.{0,20}(tool|function)|(tool|function).{0,40}"
    r"(not (be )?supported|unsupported|n.t support|not enabled|requires)|support (tool|function)"
)
_CONTENT = re.compile(
    r"\bcontent\b.{0,60}\b(empty|null|none|blank|string|str|required|missing)\b"
    r"|\b(empty|null|none|blank|missing)\b.{0,40}\bcontent\b|content blocks? must be non-empty|missing field .content"
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a refusal says."""

    kind: FailureKind
    cause: Cause | None = None
    field: str | None = None
    """The field of the request that it names as what is wrong, of those that were sent."""
    pause: float | None = None
    """Seconds for which it asks to be left alone."""


def refusal_of_status(status: int, body: bytes, *, sent: Collection[str] = ()) -> Refusal:
    """Return what an HTTP status and the body of its answer say. `sent` are the fields that the request can do without."""
    return _refusal(status, _facts(_parsed(body)), sent)


def refusal_in_stream(error: Any) -> Refusal:
    """Return what an error says that came as an event of a stream: it has no status, unless it names one."""
    facts = _facts({"error": error})
    status = next((int(code) for code in facts.codes if code.isdecimal() and int(code) in _STATUSES), None)
    return _refusal(status, facts, ())


@dataclass(frozen=True, slots=True)
class _Facts:
    """The words of an error, in lower case."""

    codes: tuple[str, ...]
    message: str
    named: tuple[str, ...]
    """What it says is wrong, as `messages[0].role`."""
    pause: float | None


def _refusal(status: int | None, facts: _Facts, sent: Collection[str]) -> Refusal:
    cause = next((_BY_CODE[code] for code in facts.codes if code in _BY_CODE), None)
    told = next((_KIND_BY_CODE[code] for code in facts.codes if code in _KIND_BY_CODE), None)
    kind = status_kind(status) if status else told or "unavailable"
    if "tools" in sent and _TOOLS.search(facts.message):
        return Refusal("rejected", "tools")
    if cause is None and status in {_BAD_REQUEST, _UNPROCESSABLE} and (field := _field(facts, sent)):
        return Refusal("rejected", "field", field)
    if cause is None:
        cause = _phrase(facts.message, kind)
    if cause is None and status:
        cause = _BY_STATUS.get(status)
    missing = status == _NOT_FOUND or "not_found_error" in facts.codes or "notfounderror" in facts.codes
    if missing and cause in {None, "url"} and _MODEL.search(facts.message):
        cause = "model"
    return Refusal("rejected" if cause else kind, cause, pause=facts.pause)


def _phrase(message: str, kind: FailureKind) -> Cause | None:
    """Return what the message is about. Of a server's own trouble, or a busy one, only what no other try can mend counts."""
    only: dict[FailureKind, Cause] = {"rate_limited": "quota", "unavailable": "context"}
    for cause, pattern in _BY_PHRASE:
        if only.get(kind, cause) == cause and pattern.search(message):
            return cause
    return None


def _field(facts: _Facts, sent: Collection[str]) -> str | None:
    """Return the field that an error names, of those that the request can do without.

    `system` is the role of that name, `content` that of a message which has calls of tools and no text.
    """
    if "content" in sent and (_CONTENT.search(facts.message) or any(name.endswith("content") for name in facts.named)):
        return "content"
    for name in facts.named:
        top = re.split(r"[.\[]", name)[0]
        if top in sent:
            return top
    if "system" in sent and _SYSTEM.search(facts.message) and _FAULT.search(facts.message):
        return "system"
    for name in sent:
        if (
            name not in {"system", "content"}
            and re.search(rf"\b{re.escape(name)}\b", facts.message)
            and _FAULT.search(facts.message)
        ):
            return name
    return None


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body[:4096].decode(errors="replace")


def _facts(value: Any) -> _Facts:
    """Return the words of an error, whichever of its usual forms it has.

    `{"error": {...}}`, `{"error": "text"}`, `{"detail": [{"loc", "msg"}]}`, `{"message", "type", "code"}`, or a list of these.
    """
    codes: list[str] = []
    messages: list[str] = []
    named: list[str] = []
    for level in _levels(value):
        if isinstance(level, str):
            messages.append(level)
            continue
        codes += [str(level[key]).lower() for key in _CODES if isinstance(level.get(key), str | int)]
        messages += [level[key] for key in ("message", "msg") if isinstance(level.get(key), str)]
        if isinstance(level.get("param"), str):
            named.append(level["param"])
        if isinstance(level.get("loc"), list):
            named.append(".".join(str(step) for step in level["loc"] if step != "body"))
    return _Facts(tuple(codes), " ".join(messages).lower()[:4096], tuple(named), pause_of_body(_levels(value)))


def _levels(value: Any, depth: int = 0) -> Iterator[dict[str, Any] | str]:
    """Yield the objects and texts of an error, the innermost first: that is the most exact."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value[:8]:
            yield from _levels(item, depth + 1)
    elif isinstance(value, dict) and depth < 6:  # noqa: PLR2004 - no server nests its errors deeper
        for key in ("innererror", "error", "detail", "details", "errors", "metadata"):
            if value.get(key):
                yield from _levels(value[key], depth + 1)
        yield value
