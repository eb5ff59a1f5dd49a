"""A dead letter: what it says of its death, and the line of an export that it is carried in."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cloudia import ids, telemetry
from cloudia.cloud.queue import MOST_ATTRIBUTES, REFUSED, Attribute, Sending
from cloudia.errors import CloudiaError, InvalidRequestError
from cloudia.protocol import QueuedJob, decode_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudia.cloud.queue import QueueMessage
    from cloudia.protocol import Job

__all__ = ["Letter", "attributes_to_json", "decode_export", "read_letter"]

NOT_A_JOB = "not_a_job"
UNKNOWN_JOB = "unknown_job"
RECEIVED_TOO_OFTEN = "received_too_often"
_EXPORT_VERSION = 1
_DAY = 86_400
_ATTRIBUTE = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_TYPE = re.compile(r"(?:String|Number|Binary)(?:\.[\x20-\x7e]{1,200})?")

BuriedBy: TypeAlias = Literal["worker", "sqs"]


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, and what is known of its job."""

    message: QueueMessage
    job: QueuedJob | None
    """None where the body is no job of ours."""
    record: Job | None = None
    """None where there is no such job, or it was not asked for."""
    looked_up: bool = False

    @property
    def id(self) -> str:
        """The job's id; the message's where it is no job."""
        return self.job.job_id if self.job else self.message.message_id

    @property
    def buried_by(self) -> BuriedBy:
        """Who put it here: a worker, which says why; or SQS, which gave up on a message that was never deleted."""
        return "worker" if "error_type" in self.message.attributes else "sqs"

    @property
    def redrivable(self) -> bool:
        """Whether there is a job to redrive."""
        return self.job is not None and not (self.looked_up and self.record is None)

    @property
    def error_type(self) -> str:
        """Why it died, as a word."""
        told = self.message.told("error_type")
        if told:
            return told
        if self.job is None:
            return NOT_A_JOB
        return RECEIVED_TOO_OFTEN if self.redrivable else UNKNOWN_JOB

    @property
    def error_message(self) -> str:
        """Why it died, as a sentence."""
        told = self.message.told("error_message")
        if told or self.buried_by == "worker":
            return told or ""
        if self.job is None:
            return "This is not a job of ours."
        if not self.redrivable:
            return "There is no record of this job."
        last = (self.record.error or {}).get("message", "") if self.record else ""
        return f"It was received too often and never deleted: its workers died, or were cut off from it. {last}".strip()

    @property
    def attempts(self) -> int | None:
        """How many attempts were made; None where nobody counted."""
        told = self.message.told("attempts")
        if told.isascii() and told.isdigit():
            return int(told[:9])
        return self.record.attempts if self.record else None

    @property
    def died_at(self) -> float:
        """When it came here, in epoch seconds."""
        with suppress(ValueError, OverflowError):
            died_at = datetime.fromisoformat(self.message.told("failed_at")).timestamp()
            if 0 <= died_at < time.time() + _DAY:
                return died_at
        return self.message.sent_at

    @property
    def trace_id(self) -> str | None:
        """The trace of the request that was accepted."""
        told = self.message.told("traceparent") or (self.job.traceparent if self.job else None)
        return telemetry.trace_id(told)

    @property
    def conversation_id(self) -> str:
        """The conversation; of what is no job, the message group."""
        return self.job.conversation_id if self.job else self.message.group

    def to_json(self, *, now: float) -> dict[str, Any]:
        """Return what a list shows: no text of the message."""
        return {
            "id": self.id,
            "job_id": self.job.job_id if self.job else None,
            "message_id": self.message.message_id,
            "conversation_id": self.conversation_id,
            "user_id": self.job.user_id if self.job else None,
            "buried_by": self.buried_by,
            "error_type": self.error_type,
            "error_message": self.error_message,
            "attempts": self.attempts,
            "accepted_at": _accepted_at(self.job),
            "failed_at": ids.iso(self.died_at),
            "age_seconds": round(max(0.0, now - self.died_at), 1),
            "job_status": self.record.status if self.record else None,
            "redrivable": self.redrivable,
            "trace_id": self.trace_id,
            "visible": self.message.visible,
        }

    def export(self) -> dict[str, Any]:
        """Return all that is needed to put it back: body, group and attributes as they are."""
        message = self.message
        return {
            "v": _EXPORT_VERSION,
            "id": self.id,
            "group": message.group,
            "body": message.body,
            "attributes": attributes_to_json(message.attributes),
        }


def _accepted_at(job: QueuedJob | None) -> str | None:
    if job is None:
        return None
    with suppress(ValueError, OverflowError, OSError):
        return ids.iso(job.accepted_at)
    return None


def read_letter(message: QueueMessage) -> Letter:
    """Read a message of the DLQ, whatever it is."""
    try:
        job = QueuedJob.decode(message.body)
        job.encode().encode()  # JSON can spell half of a surrogate pair, which can be neither sent nor printed.
    except (CloudiaError, UnicodeEncodeError):
        return Letter(message, None)
    return Letter(message, job)


def decode_export(line: str) -> Sending:
    """Read one line of an export. `InvalidRequestError` says what is wrong with it."""
    value = decode_object(line, what="the line")
    if value.get("v") != _EXPORT_VERSION:
        raise InvalidRequestError("this is no line of an export of version 1", code="bad_version")
    body, group, attributes = value.get("body"), value.get("group"), value.get("attributes")
    if not isinstance(body, str) or not body or REFUSED.search(body):
        raise InvalidRequestError("body is not a text that SQS takes", code="wrong_type")
    if not isinstance(group, str) or not (0 < len(group) <= 128 and group.isascii() and group.isprintable()):  # noqa: PLR2004
        raise InvalidRequestError("group is not the id of a message group", code="wrong_type")
    if not isinstance(attributes, dict) or len(attributes) > MOST_ATTRIBUTES:
        raise InvalidRequestError("attributes is not an object of at most 10", code="wrong_type")
    if not all(map(_ATTRIBUTE.fullmatch, attributes)):
        raise InvalidRequestError("attributes has names that SQS does not take", code="wrong_type")
    read = {name: _attribute(value) for name, value in attributes.items()}
    return Sending(body, group, secrets.token_hex(16), read)


def attributes_to_json(attributes: Mapping[str, Attribute]) -> dict[str, Any]:
    """Return attributes as JSON: a text as it is, a number as `{"type", "value"}`, bytes as `{"type", "base64"}`."""
    return {name: _to_json(attribute) for name, attribute in attributes.items()}


def _to_json(attribute: Attribute) -> Any:
    if isinstance(attribute.value, bytes):
        return {"type": attribute.type, "base64": base64.b64encode(attribute.value).decode()}
    return attribute.value if attribute.type == "String" else {"type": attribute.type, "value": attribute.value}


def _attribute(value: Any) -> Attribute:
    """Read an attribute as `attributes_to_json` gives it."""
    match value:
        case str():
            return Attribute(value)
        case {"type": str(kind), "value": str(text)} if len(value) == 2 and _TYPE.fullmatch(kind):  # noqa: PLR2004
            return Attribute(text, kind)
        case {"type": str(kind), "base64": str(text)} if len(value) == 2 and _TYPE.fullmatch(kind):  # noqa: PLR2004
            with suppress(binascii.Error, ValueError):
                return Attribute(base64.b64decode(text, validate=True), kind)
    raise InvalidRequestError("attributes has one that is neither a text nor a type with its value", code="wrong_type")
