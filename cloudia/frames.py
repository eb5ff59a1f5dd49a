"""The frames of the WebSocket, field by field: what `docs/protocol.md` and its AsyncAPI document are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CLOSES",
    "CLOSE_BAD_FRAME",
    "CLOSE_HELLO_TIMEOUT",
    "CLOSE_REPLACED",
    "CLOSE_SLOW",
    "CLOSE_TRY_AGAIN",
    "CLOSE_UNAUTHORIZED",
    "EVENTS",
    "HELLO",
    "PLACE",
    "Close",
    "EventType",
    "Field",
]

# Close codes of the WebSocket, from the range that RFC 6455 leaves to applications (and 1013, "try again later").
CLOSE_BAD_FRAME = 4400
CLOSE_UNAUTHORIZED = 4401
CLOSE_HELLO_TIMEOUT = 4408
CLOSE_REPLACED = 4409
CLOSE_SLOW = 4429
CLOSE_TRY_AGAIN = 1013


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a frame: its JSON Schema, and what it says."""

    name: str
    schema: Mapping[str, Any]
    doc: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class EventType:
    """What an event says, and the fields that it has beside `type` and those of its place."""

    doc: str
    fields: tuple[Field, ...] = ()
    of: Literal["connection", "job", "both"] = "job"
    """Whether it is about a job and bears its place in the session, or about the connection, or now this, now that."""


Retry: TypeAlias = Literal["yes", "another token", "no"]


@dataclass(frozen=True, slots=True)
class Close:
    """Why a gateway closes a connection, and what a client does about it."""

    doc: str
    retry: Retry
    advice: str
    codes: tuple[str, ...] = ()
    """Codes that the `error` before it may have; none comes where there are none."""


_TEXT: Mapping[str, Any] = {"type": "string"}
_MAYBE_TEXT: Mapping[str, Any] = {"type": ["string", "null"]}
_EVENT_ID: Mapping[str, Any] = {"type": "string", "pattern": "^[0-9]{1,20}-[0-9]{1,20}$"}
_COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 1}
_MAX_ATTEMPTS = Field("max_attempts", _COUNT, "how many attempts the worker makes at most")
_TRACE = Field(
    "traceparent",
    _TEXT,
    "the W3C trace context of the request that was accepted, for who joins its own spans to it",
    required=False,
)
_FINISH = "why the model stopped: `stop`, `length`, `content_filter`, `refusal`, `tool_calls`, `error`; null where nobody told"

HELLO = (
    Field("type", {"const": "hello"}, "`hello`"),
    Field("token", {"type": "string", "minLength": 1, "maxLength": 8192}, "the bearer token, as in the HTTP API"),
    Field(
        "session_id",
        _MAYBE_TEXT,
        "the session to go on with, of an earlier `ready`; none makes a new one",
        required=False,
    ),
    Field(
        "last_event_id",
        {"type": ["string", "null"], "pattern": _EVENT_ID["pattern"]},
        "the id of the last event that was taken; the session's events after it are sent, and without it all that are kept",
        required=False,
    ),
)

PLACE = (
    Field("id", _EVENT_ID, "the event's id: its place in the session; greater ones come later"),
    Field("after", _EVENT_ID, "the id of the event before it in the session, `0-0` where there is none"),
    Field("job_id", _TEXT, "the job that it is about"),
    Field("conversation_id", _TEXT, "the job's conversation"),
    Field("attempt", _COUNT, "the attempt at the job, counted from 1"),
)
"""What each event of a job has."""

EVENTS: Mapping[str, EventType] = {
    "ready": EventType(
        "The hello was taken. It is the first frame of every connection that serves.",
        (
            Field("session_id", _TEXT, "the session; keep it, and send it with the next hello and with each message"),
            Field("connection_id", _TEXT, "this connection, for the logs"),
            Field(
                "resumed",
                {"type": "boolean"},
                "whether nothing of the session can be missing; where not, ask `GET /jobs/{job_id}` for each job under way",
            ),
            Field("protocol", _COUNT, "the version of this protocol; a client that knows only lower ones stops here"),
            Field(
                "heartbeat_seconds",
                {"type": "number", "exclusiveMinimum": 0},
                "the interval of heartbeats; absent where the gateway is older than they are",
                required=False,
            ),
        ),
        "connection",
    ),
    "heartbeat": EventType(
        "The connection lives.",
        (Field("after", _EVENT_ID, "the id of the last event that was sent, `0-0` where none was"),),
        "connection",
    ),
    "started": EventType(
        "A worker has begun the job's first attempt.",
        (Field("message_id", _TEXT, "the id that the answer will have"), _MAX_ATTEMPTS, _TRACE),
    ),
    "thinking": EventType(
        "The model reasons.",
        (Field("text", _TEXT, "what it reasons, where `llm.show_reasoning` is on", required=False),),
    ),
    "delta": EventType("More text of the answer.", (Field("text", _TEXT, "what to append"),)),
    "reset": EventType(
        "All text of the answer so far is void. It begins anew with the next `delta`.",
        (
            Field(
                "reason",
                _TEXT,
                "`new_attempt`; `events_interrupted`: the whole text so far follows; `reasoning`: what came was no answer",
            ),
            Field(_MAX_ATTEMPTS.name, _COUNT, f"with `new_attempt`: {_MAX_ATTEMPTS.doc}", required=False),
            Field(_TRACE.name, _TEXT, f"with `new_attempt`: {_TRACE.doc}", required=False),
        ),
    ),
    "done": EventType(
        "The job has ended, and its answer is recorded: the texts since the last `reset`, one after the other.",
        (
            Field("message_id", _TEXT, "the answer's id in its conversation"),
            Field("usage", {"$ref": "#/components/schemas/Usage"}, "tokens and cost; null where nobody told"),
            Field("provider", _MAYBE_TEXT, "who answered"),
            Field("model", _MAYBE_TEXT, "the model that answered"),
            Field("finish", _MAYBE_TEXT, _FINISH),
        ),
    ),
    "error": EventType(
        "Of a job: it has ended without an answer. Without a `job_id`: of the connection, which is closed next.",
        (
            Field(
                "error",
                {"$ref": "#/components/schemas/EventError"},
                "`code` for programs, `message` and `hint` for people; of a job also `retryable`: whether to send the message "
                "again may help, and `retry_after`: in how many seconds, or null",
            ),
            Field("status", {"enum": ["failed", "dead_lettered"]}, "of a job: its last status", required=False),
            Field("finish", _TEXT, "of a job: why the model stopped, where it did", required=False),
        ),
        "both",
    ),
    "cancelled": EventType(
        "The job was stopped.",
        (Field("message_id", _MAYBE_TEXT, "the id of what was kept of the answer; null where nothing was"),),
    ),
}
"""Every event by its type, in the order in which one may meet them."""

CLOSES: Mapping[int, Close] = {
    CLOSE_BAD_FRAME: Close(
        "the hello is none, names a session that is not this user's, or something was sent after it",
        "no",
        "A fault of the client. With `no_session`: forget the session and its last event, and say hello without them, once.",
        (
            "not_json",
            "bad_frame",
            "no_hello",
            "no_token",
            "unknown_field",
            "wrong_type",
            "bad_last_event_id",
            "no_session",
            "unexpected_frame",
            "invalid_request",
        ),
    ),
    CLOSE_UNAUTHORIZED: Close(
        "the token is not good, or has expired, also in mid-connection",
        "another token",
        "Get another token and say hello with it: the session goes on. Two refused in a row: stop.",
        ("bad_token", "token_expired"),
    ),
    CLOSE_HELLO_TIMEOUT: Close(
        "no hello came in time", "yes", "Say hello as soon as the connection opens.", ("hello_timeout",)
    ),
    CLOSE_REPLACED: Close(
        "the session has a newer connection",
        "no",
        "Another client goes on with this session: it is theirs. Take a new one.",
    ),
    CLOSE_SLOW: Close("the client stood still while events waited", "yes", "Reconnect and resume: nothing is lost."),
    CLOSE_TRY_AGAIN: Close(
        "the gateway cannot serve now",
        "yes",
        "Try again with back-off.",
        (
            "unavailable",
            "redis_unavailable",
            "redis_refused",
            "aws_unavailable",
            "aws_refused",
            "not_provisioned",
            "jwks_unavailable",
            "too_many_connections",
            "internal",
        ),
    ),
    1001: Close("the gateway stops", "yes", "Reconnect: another one has the session."),
    1009: Close("the hello is too large", "no", "A fault of the client."),
    1011: Close("no pong came", "yes", "Reconnect and resume."),
}
"""Every close code that a gateway sends. Any other one, and none at all, is a network's: reconnect and resume."""
