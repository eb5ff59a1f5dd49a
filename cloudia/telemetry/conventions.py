"""The names of spans, metrics and attributes, in one place. Nothing is imported here.

OpenTelemetry's semantic conventions v1.44 (HTTP, messaging) and those of generative AI, in development
(https://github.com/open-telemetry/semantic-conventions-genai). Metrics of generative AI have the names that
`opentelemetry-util-genai` 1.3b0 emits; they are being renamed there.
"""

from __future__ import annotations

ACCEPT = "POST /messages"
DELIVER = "deliver"
MESSAGE = "message"
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
BYTES = "cloudia.delivery.bytes"
CONVERSATION = "gen_ai.conversation.id"
COST = "cloudia.cost.usd"
DESTINATION = "messaging.destination.name"
ERROR = "error.type"
FRAMES = "cloudia.delivery.frames"
FINISH = "gen_ai.response.finish_reasons"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
JOB = "cloudia.job.id"
LLM_CALLS = "cloudia.llm.calls"
MESSAGING_SYSTEM = "messaging.system"
MODEL = "gen_ai.request.model"
OPERATION = "gen_ai.operation.name"
OUTCOME = "cloudia.attempt.outcome"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
PROVIDER = "gen_ai.provider.name"
STATUS = "cloudia.job.status"
SWITCHES = "cloudia.llm.switches"
TOOL = "gen_ai.tool.name"
WORKER = "cloudia.worker.id"

METRICS: dict[str, tuple[str, str, str]] = {
    "cloudia.jobs.accepted": ("counter", "{job}", "Messages that were accepted"),
    "cloudia.jobs.ended": ("counter", "{job}", "Jobs that ended, by `cloudia.job.status` and `error.type`"),
    "cloudia.attempts.failed": ("counter", "{attempt}", "Attempts that failed, by `error.type` and what follows"),
    "cloudia.queue.wait": ("histogram", "s", "From the acceptance to the lease of the first attempt"),
    "cloudia.job.duration": ("histogram", "s", "From the acceptance to the end of a job"),
    "gen_ai.client.operation.duration": ("histogram", "s", "Requests to LLMs, whole"),
    "gen_ai.client.operation.time_to_first_chunk": ("histogram", "s", "Requests to LLMs, until their first piece"),
    "gen_ai.client.token.usage": ("histogram", "{token}", "Tokens of a request, by `gen_ai.token.type`"),
}
"""By name: kind, unit, and what it counts. Their attributes never bear an id of a user, a conversation or a job."""

TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - no secret
DURATION_BUCKETS = tuple(0.01 * 2**power for power in range(14))
"""Seconds: 0.01 doubling to 81.92, as the conventions advise."""
