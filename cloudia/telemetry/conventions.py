"""The names of spans, metrics, attributes and log lines, in one place. Nothing is imported here.

OpenTelemetry's semantic conventions v1.44 (HTTP, messaging, processes) and those of generative AI, in development
(https://github.com/open-telemetry/semantic-conventions-genai). Metrics of generative AI have the names that
`opentelemetry-util-genai` 1.3b0 emits; they are being renamed there.

`docs/make_observability.py` makes the tables of docs/observability.md from these.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

ACCEPT = "POST /messages"
DELIVER = "deliver"
MESSAGE = "message"
QUEUE = "queue"
LEASE = "lease"
CONTEXT = "read context"
RECORD = "record"
SYSTEM = "aws_sqs"


def send(queue: str) -> str:
    """Return the name of a PRODUCER span."""
    return f"send {queue}"


def process(queue: str) -> str:
    """Return the name of a CONSUMER span, one an attempt."""
    return f"process {queue}"


def chat(model: str) -> str:
    """Return the name of a CLIENT span: one request to an LLM."""
    return f"chat {model}"


def execute_tool(tool: str) -> str:
    """Return the name of an INTERNAL span: one call of a tool."""
    return f"execute_tool {tool}"


ATTEMPT = "cloudia.attempt"
BACK_OFF_SECONDS = "cloudia.back_off.seconds"
BREAKER_STATE = "cloudia.breaker.state"
BYTES = "cloudia.delivery.bytes"
CONVERSATION = "gen_ai.conversation.id"
COST = "cloudia.cost.usd"
CPU_MODE = "cpu.mode"
DESTINATION = "messaging.destination.name"
ERROR = "error.type"
FRAME = "cloudia.frame.type"
FRAMES = "cloudia.delivery.frames"
FINISH = "gen_ai.response.finish_reasons"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
JOB = "cloudia.job.id"
LLM_CALLS = "cloudia.llm.calls"
MESSAGING_NAME = "messaging.operation.name"
MESSAGING_SYSTEM = "messaging.system"
MESSAGING_TYPE = "messaging.operation.type"
MODEL = "gen_ai.request.model"
OPERATION = "gen_ai.operation.name"
OUTCOME = "cloudia.attempt.outcome"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
PROVIDER = "gen_ai.provider.name"
REASON = "cloudia.llm.rejection.reason"
REFUSED = "cloudia.frame.refused"
RESUMED = "cloudia.connection.resumed"
STATUS = "cloudia.job.status"
SWITCHES = "cloudia.llm.switches"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - no secret
TOOL = "gen_ai.tool.name"
TRIGGER = "faas.trigger"
WORKER = "cloudia.worker.id"

DURATION_BUCKETS = tuple(0.01 * 2**power for power in range(14))
"""Seconds: 0.01 doubling to 81.92, as the conventions advise."""


class SpanRow(NamedTuple):
    """What one span is."""

    kind: Literal["SERVER", "PRODUCER", "CONSUMER", "CLIENT", "INTERNAL"]
    doc: str
    attributes: tuple[str, ...]
    """Those that it may have; each has some of them."""


_MESSAGING = (MESSAGING_SYSTEM, DESTINATION, MESSAGING_TYPE, MESSAGING_NAME)
_CHAT = (OPERATION, PROVIDER, MODEL)

SPANS: dict[str, SpanRow] = {
    ACCEPT: SpanRow(
        "SERVER",
        "the function: the record, and the queue; in Lambda named after the function, as `faas.name` of its resource",
        (HTTP_METHOD, HTTP_ROUTE, HTTP_STATUS, TRIGGER, JOB, CONVERSATION),
    ),
    send("{queue}"): SpanRow("PRODUCER", "SQS, within it", _MESSAGING),
    QUEUE: SpanRow("INTERNAL", "from the acceptance to the lease of the first attempt", ()),
    process("{queue}"): SpanRow(
        "CONSUMER",
        "one an attempt; parent and link is the request. The first text is an event of it",
        (
            *_MESSAGING,
            ATTEMPT,
            WORKER,
            JOB,
            CONVERSATION,
            OUTCOME,
            ERROR,
            BACK_OFF_SECONDS,
            LLM_CALLS,
            STATUS,
            COST,
        ),
    ),
    LEASE: SpanRow("INTERNAL", "the conditional write that takes the job", ()),
    CONTEXT: SpanRow("INTERNAL", "the messages before it, from the cache or DynamoDB", ()),
    chat("{model}"): SpanRow(
        "CLIENT",
        "one request to the LLM, within its attempt",
        (*_CHAT, CONVERSATION, FIRST_CHUNK, INPUT_TOKENS, OUTPUT_TOKENS, FINISH, HTTP_STATUS, ERROR),
    ),
    execute_tool("{tool}"): SpanRow("INTERNAL", "one call of a tool", (OPERATION, TOOL, ERROR)),
    RECORD: SpanRow("INTERNAL", "the answer and the job's end, in one transaction, with all tries", ()),
    DELIVER: SpanRow(
        "INTERNAL",
        "the gateway: from the first frame of the job that a client was handed to its last, also over attempts",
        (FRAMES, BYTES, JOB),
    ),
}
"""By name; the words in braces are filled in."""

MetricKind: TypeAlias = Literal["counter", "histogram", "gauge"]


class MetricRow(NamedTuple):
    """What one metric is. A gauge that nobody has told of for a minute is not exported."""

    kind: MetricKind
    unit: str
    doc: str
    attributes: tuple[str, ...] = ()
    """All that it may have: never an id of a user, a conversation or a job."""


METRICS: dict[str, MetricRow] = {
    "cloudia.jobs.accepted": MetricRow("counter", "{job}", "Messages that were accepted"),
    "cloudia.jobs.ended": MetricRow(
        "counter", "{job}", "Jobs that ended; those `dead_lettered` by the code they died of", (STATUS, ERROR)
    ),
    "cloudia.attempts.failed": MetricRow(
        "counter", "{attempt}", "Attempts that failed; those with the outcome `retry` come again", (ERROR, OUTCOME)
    ),
    "cloudia.queue.wait": MetricRow("histogram", "s", "From the acceptance to the lease of the first attempt"),
    "cloudia.job.duration": MetricRow("histogram", "s", "From the acceptance to the end of a job", (STATUS, ERROR)),
    "cloudia.queue.visible": MetricRow("gauge", "{message}", "Messages that wait, as SQS says", (DESTINATION,)),
    "cloudia.queue.in_flight": MetricRow("gauge", "{message}", "Messages that workers have", (DESTINATION,)),
    "cloudia.queue.dead_letters": MetricRow("gauge", "{message}", "Dead letters", (DESTINATION,)),
    "cloudia.queue.oldest.age": MetricRow(
        "gauge", "s", "Age of the oldest job that has not ended, in work or not; 0 where there is none", (DESTINATION,)
    ),
    "cloudia.worker.jobs": MetricRow("gauge", "{job}", "Jobs that this worker has in work"),
    "cloudia.breaker.state": MetricRow("gauge", "{state}", "0 closed, 1 half-open, 2 open", (PROVIDER, MODEL)),
    "cloudia.breaker.errors": MetricRow("gauge", "{error}", "Errors in the breaker's window", (PROVIDER, MODEL)),
    "cloudia.breaker.changes": MetricRow(
        "counter", "{change}", "New states of breakers", (PROVIDER, MODEL, BREAKER_STATE)
    ),
    "cloudia.llm.rejections": MetricRow(
        "counter",
        "{request}",
        "Requests that were not made: the breaker was open (`breaker_open`), or the provider wants a pause (`paused`)",
        (PROVIDER, MODEL, REASON),
    ),
    "gen_ai.client.operation.duration": MetricRow("histogram", "s", "Requests to LLMs, whole", (*_CHAT, ERROR)),
    "gen_ai.client.operation.time_to_first_chunk": MetricRow(
        "histogram", "s", "Requests to LLMs, until their first piece", _CHAT
    ),
    "gen_ai.client.token.usage": MetricRow("histogram", "{token}", "Tokens of a request", (*_CHAT, TOKEN_TYPE)),
    "cloudia.frames.logged": MetricRow(
        "counter", "{frame}", "Frames that a worker gave to the event log", (FRAME, REFUSED)
    ),
    "cloudia.frames.log.duration": MetricRow("histogram", "s", "The round trip in which a job's last frame was logged"),
    "cloudia.frames.delivered": MetricRow("counter", "{frame}", "Frames that clients' sockets were handed", (FRAME,)),
    "cloudia.frames.replayed": MetricRow("counter", "{frame}", "Those of them that were read from the event log"),
    "cloudia.frames.lag": MetricRow(
        "histogram", "s", "From the event log to the socket, of frames that were not replayed; by two clocks"
    ),
    "cloudia.connections.open": MetricRow("gauge", "{connection}", "Connections that this gateway has"),
    "cloudia.connections.opened": MetricRow("counter", "{connection}", "Connections that began", (RESUMED,)),
    "cloudia.telemetry.dropped": MetricRow("counter", "{event}", "Events that found no room at this listener"),
    "process.cpu.time": MetricRow("counter", "s", "CPU seconds of this process", (CPU_MODE,)),
    "process.memory.usage": MetricRow("gauge", "By", "Physical memory of this process; on Linux"),
}
"""By name."""

BREAKER_STATES = {"closed": 0, "half-open": 1, "open": 2}

LINES: dict[str, str] = {
    # Functions
    "job accepted": "a message was accepted; `again` where its request had come before",
    "cancel requested": "a user pressed stop",
    "stop not published": "workers see the stop by their poll",
    "conversation deleted": "by its owner",
    "dead letters redriven": "by an operator: how many",
    "dead letters purged": "by an operator: how many",
    "request failed": "with 500 or 503; `code`, or the exception's place",
    "listener not loaded": "this function's zip lacks it; messages are accepted",
    # Worker: a job
    "attempt failed": "`code`, `reason`, and what follows (`then`, `delay`)",
    "job ended": "`status`, times in milliseconds, usage, requests to LLMs",
    "dead letter": "a job's letter was written",
    "job is held by another worker": "its message goes back for as long",
    "job was delivered again": "it had ended; its client is told once more",
    "job is for a later version": "it waits for a worker of that version",
    "job not begun": "nothing was asked of an LLM; its message goes back",
    "job was left behind": "the reconciler found it (`then` says what it did)",
    "another worker has the job": "this attempt is given up",
    "lease lost": "another worker has taken the job",
    "lease not renewed": "it is tried again before it runs out",
    "lease ran out": "the attempt is given up",
    "answer cut": "it was longer than can be recorded",
    "answer not recorded yet": "DynamoDB is away; it is tried again",
    "outcome not recorded": "the message comes back, whoever takes it sees what was recorded",
    "reasoning is in the answer": "a responder had changed it, so it was not taken back",
    "the responder does not stop": "it is left to itself",
    "events not logged yet": "the job goes on without",
    "context not cached": "the next turn reads DynamoDB",
    "context shortened": "the provider refused its length",
    "tool failed": "the exception's type and place",
    # Worker: the LLM
    "breaker {state}": "a breaker has a new state: closed, half-open, open",
    "fallback": "the next route was asked, and why",
    "left out of requests from now on": "the server refuses this field",
    "prices are old": "older than 90 days",
    "prices not read": "costs are unknown",
    # The worker itself
    "worker started": "its id and model",
    "worker ready": "it has polled",
    "worker stopped": "all was finished or handed back",
    "worker failed": "it could not start: `reason`, `hint`",
    "finishing": "it was asked to stop, and has so many jobs",
    "left behind; the queue gives it out again": "what did not end in time",
    "queue is away": "polls fail",
    "queue is back": "they do no longer",
    "messages not {what}": "deleted, handed back or renewed; visibility decides",
    "messages not sent anew": "they are handed back instead",
    "event log is away; answers are recorded all the same": "Redis is away",
    "event log is back": "what was missed is sent",
    "cancel flags not read": "stops come later",
    "stops are polled for": "Redis tells of none",
    "jobs not reconciled": "it is tried again",
    "queue not sampled": "its gauges are not told",
    "presence not recorded": "`status` does not see this worker",
    "refused": "AWS refuses something for good; what it was doing is in `doing`",
    "no longer refused": "it is over",
    "secret not read again": "the one that was read goes on being used",
    # Gateway
    "gateway started": "its id and port",
    "gateway stopped": "all connections are closed",
    "gateway failed": "it could not start: `reason`",
    "subscribed": "Redis tells it of events, again or for the first time",
    "connected": "a client said hello; `resumed` where nothing can be missing",
    "disconnected": "with the WebSocket's code",
    "connection refused": "with the code that the client was told",
    "sending failed": "the client is told `internal`, and resumes",
    "Redis is away": "clients resume when it is back",
    # Any
    "the listener failed": "told once; jobs go on",
    "the listener is too slow; events are dropped": "told once; jobs go on",
    "the listener missed events": "at the end: how many",
    "telemetry is not sent": "OpenTelemetry is not installed: `hint`",
    "uncaught exception": "the last words of a process or a thread",
    "spans were lost": "at the end: how many did not arrive",
    "python warns": "a warning's kind and place",
}
"""Each event that functions, worker and gateway log; the words in braces are filled in. A name stays what it is."""
