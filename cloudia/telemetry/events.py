"""What happens to a message on its way from POST to the screen, one frozen value each: ids, times and counts, never text.

So, too, how those are who have to do with it.

`at` is when it was over, in epoch seconds; `seconds` is how long it took, by a clock that only grows. Together they are a
span, and `job.traceparent` says of which trace. Who told it, a worker or a gateway, is the process that tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudia.protocol import JobStatus, QueuedJob

__all__ = [
    "AnswerRecorded",
    "AttemptFailed",
    "AttemptIds",
    "AttemptStopped",
    "BreakerChanged",
    "BreakerState",
    "ConnectionEnded",
    "ConnectionOpened",
    "ContextRead",
    "FirstText",
    "FrameDelivered",
    "FramePushed",
    "GatewaySampled",
    "Happening",
    "JobAccepted",
    "JobEnded",
    "JobIds",
    "JobLeased",
    "MessageReceived",
    "ProviderCalled",
    "QueueSampled",
    "RouteSkipped",
    "RouteState",
    "SkippedFor",
    "StoppedBy",
    "ToolCalled",
    "WorkerSampled",
]

StoppedBy: TypeAlias = Literal["draining", "lost", "not_recorded"]
SkippedFor: TypeAlias = Literal["breaker_open", "paused"]
BreakerState: TypeAlias = Literal["closed", "open", "half-open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobIds:
    """Which job it is."""

    job_id: str
    conversation_id: str
    traceparent: str | None
    """W3C trace context of the request that was accepted: its span is the parent of all that follows."""

    @classmethod
    def of(cls, job: QueuedJob) -> JobIds:
        """Return the ids of a job."""
        return cls(job_id=job.job_id, conversation_id=job.conversation_id, traceparent=job.traceparent)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptIds(JobIds):
    """Which attempt at which job it is."""

    attempt: int
    """Counted from 1, and anew when a dead job is redriven."""
    fence: int
    """Counted from 1 over the whole life of the job: no two attempts have the same."""

    @classmethod
    def at(cls, job: QueuedJob, *, attempt: int, fence: int) -> AttemptIds:
        """Return the ids of an attempt."""
        return cls(
            job_id=job.job_id,
            conversation_id=job.conversation_id,
            traceparent=job.traceparent,
            attempt=attempt,
            fence=fence,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAccepted:
    """A function recorded a message and its job, and put it into the queue; the 202 follows."""

    job: JobIds
    at: float
    seconds: float
    """From the request's validation to its end: both writes."""
    send_seconds: float | None
    """The part of it that was SQS; None where the job was sent before."""
    content_bytes: int
    again: bool
    """Whether a request that was answered before came once more, and its job was under way already."""
    parent: str | None
    """The caller's own trace context, as it came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReceived:
    """A worker received a message; it waits in its conversation's lane until it is leased."""

    message_id: str
    """SQS's, which `JobLeased` has too: the body is not read yet."""
    group: str
    """The message group: of our own messages the conversation's id."""
    queue: str
    worker_id: str
    at: float
    receive_count: int
    """Counted from 1."""
    body_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLeased:
    """A worker took a job, and the attempt counts from now on."""

    job: AttemptIds
    at: float
    seconds: float
    message_id: str
    """SQS's, of `MessageReceived`."""
    receive_count: int
    worker_id: str
    accepted_at: float
    """Epoch seconds."""
    waited_seconds: float
    """Since it was accepted, by two machines' clocks: it may be negative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextRead:
    """What went before in the conversation was read, from the cache or from DynamoDB."""

    job: AttemptIds
    at: float
    seconds: float
    messages: int
    characters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderCalled:
    """One request to an LLM provider is over: answered, failed, or broken off."""

    job: AttemptIds
    at: float
    seconds: float
    number: int
    """Requests of this attempt so far, this one among them: a quick retry and each round of tools is one more."""
    provider: str
    model: str
    first_piece_seconds: float | None
    """From the request to the first piece of its answer, of thinking too; None where none came."""
    input_tokens: int | None
    output_tokens: int | None
    """None where the provider told no usage."""
    tool_calls: int
    error: str | None
    """`unavailable`, `rate_limited`, `rejected`; `cancelled` where we broke it off; None where it was answered."""
    status: int | None
    """The HTTP status of a refusal, where there was one."""
    finish: str | None = None
    """Why the answer ended, as the job's record has it; None where it did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled:
    """The LLM asked for a tool: it was called, or the call refused."""

    job: AttemptIds
    at: float
    seconds: float
    tool: str
    """Its name, of those that the responder offers; empty where it is none of them."""
    error: str | None
    """The kind of what it raised; `cancelled` where we broke it off, `unknown_tool` and `bad_arguments` where it was not
    called, `too_large` where its result was; None where it returned.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstText:
    """The responder yielded the first text of an attempt."""

    job: AttemptIds
    at: float
    seconds: float
    """Since the attempt began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePushed:
    """One frame to the client went into the event log, or was refused there."""

    job: AttemptIds
    at: float
    seconds: float
    """Of the round trip, which the frames of several jobs share."""
    kind: str
    """The event's type: `delta`, `done` …"""
    event_id: str | None
    """None where it was refused."""
    refused: str | None
    """`stale` or `ended`: the log knows a newer attempt, or the end."""
    characters: int
    """Of text in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed:
    """An attempt failed, and it was decided what follows."""

    job: AttemptIds
    at: float
    seconds: float
    """Since the attempt began."""
    code: str
    reason: str
    """Fit to be logged: it quotes no message."""
    decision: str
    """`Retry`; `Fail`: a friendly failure is recorded; `GiveUp`: a dead letter is written."""
    delay: int | None
    """Seconds until the next attempt, where one follows."""
    max_attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStopped:
    """An attempt was broken off without an end of its job: whoever receives the message next goes on."""

    job: AttemptIds
    at: float
    seconds: float
    """Since the attempt began."""
    reason: StoppedBy
    """The worker ends; another worker has the job; or DynamoDB took no outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRecorded:
    """The answer and the end of its job were written, in one transaction."""

    job: AttemptIds
    at: float
    seconds: float
    """With all tries."""
    status: JobStatus
    tries: int
    content_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded:
    """A job ended. Its last event follows."""

    job: AttemptIds
    at: float
    accepted_at: float
    """Epoch seconds, as the two below."""
    began_at: float
    """When the attempt began that ended it."""
    first_text_at: float | None
    """When its first text came; None where none did."""
    status: JobStatus
    code: str | None
    """Why it failed, where it did."""
    provider: str
    model: str
    usage: Mapping[str, float] | None
    """Tokens of this attempt by kind, and `cost_usd` where it is known; None where nothing was counted."""
    llm_calls: int
    """Requests to providers in this attempt."""
    finish: str | None = None
    """Why the answer ended, as the job's record has it; None where it did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameDelivered:
    """A gateway handed one event to a client's socket."""

    job_id: str | None
    """The frame's own, as its kind and attempt; None where it has none."""
    attempt: int | None
    kind: str | None
    event_id: str
    """Of the event log: its first part is when it was logged, in epoch milliseconds by Redis' clock."""
    session_id: str
    connection_id: str
    at: float
    seconds: float
    """How long the socket took it: long where the reader is slow."""
    bytes: int
    traceparent: str | None = None
    """That of the job, on the event with which an attempt begins."""
    replayed: bool = False
    """Whether it was read from the event log, and not handed on as it was published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChanged:
    """The breaker of a route has a new state."""

    at: float
    provider: str
    model: str
    state: BreakerState
    opened: int
    """How often it has opened so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSkipped:
    """A request was not made: its provider is to be left alone. Another route may be asked."""

    at: float
    provider: str
    model: str
    reason: SkippedFor
    """Its breaker is open, or it asked for a pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteState:
    """A route as `WorkerSampled` has it."""

    provider: str
    model: str
    state: BreakerState
    errors: int
    """In the breaker's window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSampled:
    """How a worker is, every few seconds."""

    at: float
    in_work: int
    """Jobs."""
    routes: tuple[RouteState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSampled:
    """What waits in the queue, each worker tells it now and then. Counts are as approximate as SQS'."""

    at: float
    queue: str
    visible: int
    in_flight: int
    dead_letters: int
    oldest_seconds: float
    """Since when the oldest job is open that has not ended; 0 where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySampled:
    """How a gateway is, every few seconds."""

    at: float
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOpened:
    """A client said hello, and its session is registered."""

    at: float
    connection_id: str
    resumed: bool
    """Whether its session's log has all since the last event that it knows."""
    connections: int
    """Of this gateway, with this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionEnded:
    """A connection of a session is over."""

    at: float
    seconds: float
    """How long it was."""
    connection_id: str
    code: int | None
    """The WebSocket's; None where it was not closed in order."""
    connections: int
    """Of this gateway, without this one."""


Happening: TypeAlias = (
    JobAccepted
    | MessageReceived
    | JobLeased
    | ContextRead
    | ProviderCalled
    | ToolCalled
    | FirstText
    | FramePushed
    | AttemptFailed
    | AttemptStopped
    | AnswerRecorded
    | JobEnded
    | FrameDelivered
    | BreakerChanged
    | RouteSkipped
    | WorkerSampled
    | QueueSampled
    | GatewaySampled
    | ConnectionOpened
    | ConnectionEnded
)
