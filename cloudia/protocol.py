"""What goes over a wire: HTTP bodies, queue messages and WebSocket frames, with one version number.

`frames.py` has the fields of the frames, one by one.

Everything here is a frozen value that owns its encoding. Decoding refuses what is wrong, with an error that names the field, so
that no other place validates again. What a client sends may have no unknown field. What our own parts tell each other, or have
stored, may: a part of another version wrote it, and what it added is passed over; what cannot be has a higher version.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from unicodedata import category

from cloudia import ids
from cloudia.errors import InvalidRequestError, TooLargeError
from cloudia.frames import EVENTS, HELLO, PLACE

if TYPE_CHECKING:
    from cloudia.codes import ErrorCode

__all__ = [
    "EVENT_TYPES",
    "MAX_DELTA_CHARACTERS",
    "MAX_FRAME_BYTES",
    "MAX_TITLE",
    "START",
    "TERMINAL_EVENTS",
    "TERMINAL_STATUSES",
    "VERSION",
    "Accepted",
    "AttemptOutcome",
    "AttemptRecord",
    "Conversation",
    "Event",
    "Hello",
    "Job",
    "JobStatus",
    "LaterVersionError",
    "Message",
    "Page",
    "PostMessage",
    "QueuedJob",
    "RenameConversation",
    "UnknownEventError",
    "check_version",
    "decode_object",
    "event_order",
    "told_usage",
]

VERSION = 1

JobStatus: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled", "dead_lettered"]
TERMINAL_STATUSES: frozenset[str] = frozenset({"done", "failed", "cancelled", "dead_lettered"})

EVENT_TYPES: frozenset[str] = frozenset(EVENTS)
TERMINAL_EVENTS: frozenset[str] = frozenset({"done", "error", "cancelled"})

START = "0-0"
"""The id that stands before every event's."""

MAX_FRAME_BYTES = 16 * 1024
"""The largest frame a client may send: a hello with a long token fits."""
MAX_DELTA_CHARACTERS = 5_000
"""Text of one delta; at six bytes a character, the most that JSON makes of one, it stays under API Gateway's 32 KB frame."""

MAX_TITLE = 200
"""Characters of a conversation's title."""
_NO_LINE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of characters that no title has: controls, halves of a pair, and what ends a line."""
_MAX_KEY = 128
_END_OF_TIME = 253_402_300_800
"""Epoch seconds of the year 10000, which ISO 8601 cannot write."""
_MAX_EVENT_NUMBER = 2**64 - 1


def decode_object(raw: str | bytes | None, *, what: str = "the body") -> dict[str, Any]:
    """Decode one JSON object. `InvalidRequestError` where it is not UTF-8, not JSON, or no object."""
    try:
        text = raw.decode() if isinstance(raw, bytes) else raw or ""
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            f"{what} is not UTF-8", hint="Send JSON encoded as UTF-8.", code="not_utf8"
        ) from error
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{what} is not JSON", hint="Send one JSON object.", code="not_json") from error
    if not isinstance(value, dict):
        raise InvalidRequestError(f"{what} is not a JSON object", hint='Send an object such as {"content": "hello"}.')
    return value


def _refuse_unknown(value: dict[str, Any], known: frozenset[str], what: str) -> None:
    unknown = sorted(set(value) - known)
    if unknown:
        raise InvalidRequestError(
            f"{what} has an unknown field {unknown[0][:64]!r}",
            hint=f"Known fields: {', '.join(sorted(known))}.",
            code="unknown_field",
        )


def check_version(version: object, *, what: str) -> None:
    """Hold that what another part wrote can be read. `LaterVersionError` where not, `InvalidRequestError` for no version."""
    if type(version) is not int or version < 1:
        raise InvalidRequestError(f"{what} has no protocol version", code="bad_version")
    if version > VERSION:
        raise LaterVersionError(
            f"{what} has protocol version {version}, and {VERSION} is known here",
            hint="Update cloudia here.",
            code="bad_version",
        )


def _text(value: dict[str, Any], name: str) -> str | None:
    """Return an optional string field; None where it is absent or null."""
    text = value.get(name)
    if text is not None and not isinstance(text, str):
        raise InvalidRequestError(f"{name} is not a string", hint=f"Send {name} as a JSON string.", code="wrong_type")
    return text


def _identifier(value: dict[str, Any], name: str, prefix: str, code: ErrorCode) -> str | None:
    text = _text(value, name)
    if text is not None and not ids.is_id(text, prefix):
        raise InvalidRequestError(f"{name} is not the id of a {name.removesuffix('_id')}", code=code)
    return text


class LaterVersionError(InvalidRequestError):
    """A later version wrote this for its own kind: it is ours, and not for us."""


@dataclass(frozen=True, slots=True)
class PostMessage:
    """The body of `POST /messages`."""

    content: str
    conversation_id: str | None = None
    session_id: str | None = None
    idempotency_key: str | None = None

    @classmethod
    def decode(cls, raw: str | bytes | None, *, max_content_bytes: int) -> PostMessage:
        """Validate a request body. `InvalidRequestError` names the field; `TooLargeError` the limit."""
        value = decode_object(raw)
        _refuse_unknown(value, frozenset(field.name for field in fields(cls)), "the body")
        content = _text(value, "content")
        if content is None or not content.strip():
            raise InvalidRequestError(
                "content is empty", hint="Send the message's text in `content`.", code="empty_content"
            )
        try:
            size = len(content.encode())
        except UnicodeEncodeError as error:  # JSON can spell half of a surrogate pair, and UTF-8 cannot.
            raise InvalidRequestError("content is not valid Unicode", code="not_utf8") from error
        if size > max_content_bytes:
            raise TooLargeError(
                f"content has {size} bytes; {max_content_bytes} are allowed",
                hint="Shorten the message, or raise limits.content_bytes.",
                code="content_too_large",
            )
        key = _text(value, "idempotency_key")
        if key is not None and not (0 < len(key) <= _MAX_KEY and key.isascii() and key.isprintable()):
            raise InvalidRequestError(
                f"idempotency_key is not 1 to {_MAX_KEY} printable ASCII characters", code="bad_idempotency_key"
            )
        session = _text(value, "session_id")
        return cls(content, _identifier(value, "conversation_id", "cnv", "bad_conversation_id"), session, key)

    def to_json(self) -> dict[str, Any]:
        """Return the body, without what was left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class RenameConversation:
    """The body of `PATCH /conversations/{id}`."""

    title: str

    @classmethod
    def decode(cls, raw: str | bytes | None) -> RenameConversation:
        """Validate a request body; white space around the title goes. `InvalidRequestError` names the field."""
        value = decode_object(raw)
        _refuse_unknown(value, frozenset({"title"}), "the body")
        title = (_text(value, "title") or "").strip()
        if not title or len(title) > MAX_TITLE or any(category(character) in _NO_LINE for character in title):
            raise InvalidRequestError(
                f"title is not one line of 1 to {MAX_TITLE} characters", hint="Send it in `title`.", code="bad_title"
            )
        return cls(title)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The body of a 202: the job exists, is queued, and will end."""

    job_id: str
    conversation_id: str
    message_id: str

    def to_json(self) -> dict[str, Any]:
        """Return the body."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """The body of a queue message: all that a worker needs to answer, so that a receive costs no read."""

    job_id: str
    conversation_id: str
    message_id: str
    user_id: str
    content: str
    accepted_at: float
    """Epoch seconds."""
    session_id: str | None = None
    previous_message_id: str | None = None
    """The user message of the turn before; a cached context that ends there is fresh."""
    traceparent: str | None = None
    """W3C trace context of the request that was accepted."""
    model: str | None = None
    """The model that answers, in place of the configured one: an operator may name it when the job is redriven."""

    def encode(self) -> str:
        """Return the JSON text of the queue message's body."""
        fields_ = asdict(self)
        if self.model is None:  # A worker of an earlier version refuses what it does not know.
            del fields_["model"]
        text = json.dumps({"v": VERSION, **fields_}, ensure_ascii=False, separators=(",", ":"))
        # SQS refuses these two, which JSON leaves as they are:
        # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
        return text.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")

    @classmethod
    def decode(cls, raw: str) -> QueuedJob:
        """Decode a queue message's body; what a later version added is passed over.

        `LaterVersionError` where a later version says that this one cannot do without; `InvalidRequestError` where it is
        not one of ours.
        """
        value = decode_object(raw, what="the queue message")
        check_version(value.get("v"), what="the queue message")
        try:
            job = cls(**{field.name: value[field.name] for field in fields(cls) if field.name in value})
        except TypeError as error:
            raise InvalidRequestError("the queue message lacks a field", code="missing_field") from error
        required = (job.job_id, job.conversation_id, job.message_id, job.user_id, job.content)
        optional = (job.session_id, job.previous_message_id, job.traceparent, job.model)
        if not (
            all(isinstance(text, str) for text in required)
            and all(text is None or isinstance(text, str) for text in optional)
            and type(job.accepted_at) in {int, float}
            and 0 <= job.accepted_at < _END_OF_TIME
            and ids.is_id(job.job_id, "job")
            and ids.is_id(job.message_id, "msg")
            and ids.is_id(job.conversation_id, "cnv")
        ):
            raise InvalidRequestError("a field of the queue message has the wrong type", code="wrong_type")
        return job


AttemptOutcome: TypeAlias = Literal["done", "failed", "cancelled", "dead_lettered", "retried", "handed_back"]


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt at a job, as the job's record keeps it. One that never ended has taken its worker down with it."""

    attempt: int | None
    """Counted from 1, and anew when a dead job is redriven; None where nobody could count it any more."""
    fence: int
    """Counted from 1 over the whole life of the job."""
    worker_id: str
    began_at: float
    """Epoch seconds, by the worker's clock, as all times here."""
    first_text_at: float | None = None
    ended_at: float | None = None
    outcome: AttemptOutcome | None = None
    """The job's status where the job ended with it; `retried` after a failure, `handed_back` where its worker stopped."""
    code: str | None = None
    """Why it failed, and the reason: fit to be shown, it quotes no message."""
    reason: str | None = None
    delay: int | None = None
    """Seconds until the next attempt, where it was retried."""
    provider: str | None = None
    model: str | None = None
    llm_calls: int = 0
    """Requests to providers."""
    usage: dict[str, float] | None = None
    """Of all of them, also of those that failed."""
    finish: str | None = None
    """Why the last answer of a provider ended, where it did."""
    switches: list[str] | None = None
    """The routes that were passed over for the next one, each with the reason: `openai gpt-5-mini: breaker_open`."""

    def to_json(self) -> dict[str, Any]:
        """Return what is known of it."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> AttemptRecord:
        """Read what was stored; what a later version added is passed over."""
        return cls(**{field.name: value[field.name] for field in fields(cls) if field.name in value})


def told_usage(usage: dict[str, float] | None) -> dict[str, float] | None:
    """Return the usage of a job as clients see it: tokens that a provider told, or nothing where it told none."""
    return usage if usage and "input_tokens" in usage else None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is stored and as `GET /jobs/{id}` shows it."""

    job_id: str
    conversation_id: str
    message_id: str
    user_id: str
    status: JobStatus
    created_at: str
    attempts: int = 0
    updated_at: str | None = None
    session_id: str | None = None
    reply_message_id: str | None = None
    provider: str | None = None
    model: str | None = None
    usage: dict[str, float] | None = None
    finish: str | None = None
    """Why the answer ended: `stop`, `length`, `content_filter`, `refusal`, `tool_calls`, `error`; None where nobody told."""
    error: dict[str, Any] | None = None
    cancel_requested: bool = False
    trace_id: str | None = None
    attempt_history: tuple[AttemptRecord, ...] = ()
    """The last attempts of all, oldest first; an operator sees them."""
    hold: dict[str, Any] | None = None
    """What it has leave to spend, while it has not ended: see `cloud/budgets.py`."""

    @property
    def ended(self) -> bool:
        """Whether the job has its final status."""
        return self.status in TERMINAL_STATUSES

    def to_json(self) -> dict[str, Any]:
        """Return what the owner may see."""
        shown = asdict(self)
        del shown["user_id"], shown["session_id"], shown["attempt_history"], shown["hold"]
        shown["usage"] = told_usage(self.usage)
        return shown


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a conversation.

    An answer's `status` is how its turn ended: `done`, `failed`, `cancelled` or `dead_lettered`.
    """

    message_id: str
    conversation_id: str
    role: Literal["user", "assistant"]
    content: str
    created_at: str
    job_id: str
    status: JobStatus | None = None
    error: dict[str, Any] | None = None
    usage: dict[str, float] | None = None
    model: str | None = None
    finish: str | None = None
    """As in the job's record."""

    def to_json(self) -> dict[str, Any]:
        """Return the message as the HTTP API shows it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Message:
        """Read what was stored; what a later version added is passed over."""
        return cls(**{field.name: value[field.name] for field in fields(cls) if field.name in value})


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation in its owner's list."""

    conversation_id: str
    title: str
    created_at: str
    updated_at: str
    snippet: str | None = None
    """Where a message of it has what was searched for."""

    def to_json(self) -> dict[str, Any]:
        """Return the conversation as the HTTP API shows it."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: its items, and the opaque cursor of the next page, None at the end."""

    items: tuple[Any, ...]
    next_cursor: str | None
    conversation: Conversation | None = None
    """The one whose messages these are."""

    def to_json(self, name: str) -> dict[str, Any]:
        """Return `{name: [...], "next_cursor": ...}`, with `conversation` where the items belong to one."""
        of = {} if self.conversation is None else {"conversation": self.conversation.to_json()}
        return {name: [item.to_json() for item in self.items], "next_cursor": self.next_cursor, **of}


_HELLO = frozenset(field.name for field in HELLO) - {"type"}


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame of a client."""

    token: str
    session_id: str | None = None
    last_event_id: str | None = None

    @classmethod
    def decode(cls, raw: str | bytes) -> Hello:
        """Validate a hello. `InvalidRequestError` says what is wrong with it."""
        if isinstance(raw, bytes):
            raise InvalidRequestError("the frame is binary", hint="Send JSON in a text frame.", code="bad_frame")
        value = decode_object(raw, what="the frame")
        if value.pop("type", None) != "hello":
            raise InvalidRequestError(
                "the first frame is not a hello", hint='Send {"type": "hello", "token": "…"}.', code="no_hello"
            )
        _refuse_unknown(value, _HELLO, "the hello")
        token = _text(value, "token")
        if not token:
            raise InvalidRequestError("the hello has no token", hint="Send the bearer token.", code="no_token")
        last = _text(value, "last_event_id")
        if last is not None and not _is_event_id(last):
            raise InvalidRequestError("last_event_id is not the id of an event", code="bad_last_event_id")
        return cls(token, _text(value, "session_id"), last)

    def encode(self) -> str:
        """Return the frame."""
        present = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps({"type": "hello", **present}, separators=(",", ":"))


def _is_event_id(text: str) -> bool:
    """Tell whether this is an entry id of a Redis stream: `milliseconds-sequence`, each of 64 bits.

    The greatest of all is none: nothing can stand after it, and Redis refuses to look.
    """
    parts = text.split("-")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) <= 20 for part in parts):  # noqa: PLR2004
        return False
    numbers = event_order(text)
    return max(numbers) <= _MAX_EVENT_NUMBER > min(numbers)


def event_order(event_id: str) -> tuple[int, int]:
    """Return what the ids of events sort by."""
    millis, _, sequence = event_id.partition("-")
    return int(millis), int(sequence)


class UnknownEventError(InvalidRequestError):
    """An event has a type that is not known here: one of a later version, which a client passes over."""

    event: Event
    """What is known of it: its place among the others counts."""


_PLACE = frozenset(field.name for field in PLACE)


@dataclass(frozen=True, slots=True)
class Event:
    """One frame to the client. `data` holds the fields that its type has in `frames.EVENTS`."""

    type: str
    job_id: str | None = None
    conversation_id: str | None = None
    attempt: int | None = None
    data: dict[str, Any] | None = None
    id: str | None = None
    """The event log's id; `last_event_id` of a later hello. None on `ready`, heartbeats and errors of the connection itself."""
    after: str | None = None
    """The id of the event before it in its session, `START` where there is none: who has another one has lost some."""

    @property
    def terminal(self) -> bool:
        """Whether the job ends with this event."""
        return self.type in TERMINAL_EVENTS and self.job_id is not None

    def encode(self) -> str:
        """Return the JSON text of the frame, without what is None."""
        head = {
            name: value
            for name in ("type", "id", "after", "job_id", "conversation_id", "attempt")
            if (value := getattr(self, name)) is not None
        }
        return json.dumps({**head, **(self.data or {})}, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def decode(cls, raw: str | bytes, *, event_id: str | None = None) -> Event:
        """Decode a frame, or an entry of the event log whose id is `event_id`. Unknown types are an error."""
        value = decode_object(raw, what="the event")
        kind = value.pop("type", None)
        if not isinstance(kind, str):
            raise InvalidRequestError("the event has no type", code="bad_event")
        job_id, conversation_id = _text(value, "job_id"), _text(value, "conversation_id")
        own_id = _text(value, "id") if event_id is None else event_id
        after = _text(value, "after")
        attempt = value.get("attempt")
        if type(attempt) not in {int, type(None)}:
            raise InvalidRequestError("attempt is not a whole number", code="wrong_type")
        if own_id is not None and not _is_event_id(own_id):
            raise InvalidRequestError("id is not the id of an event", code="bad_event")
        data = {name: field for name, field in value.items() if name not in _PLACE}
        event = cls(kind, job_id, conversation_id, attempt, data, own_id, after)
        if kind not in EVENT_TYPES:
            unknown = UnknownEventError(f"unknown event type {kind[:32]!r}", code="bad_event")
            unknown.event = event
            raise unknown
        return event
