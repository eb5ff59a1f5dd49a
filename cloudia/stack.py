"""The one definition of the cloud: queues, tables, parameters and routes.

Provisioning makes what stands here; the services in `cloudia.cloud` take their names from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Index", "Parameter", "Queue", "Route", "Stack", "Table"]

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Queue:
    """An SQS FIFO queue in high-throughput mode (one order per message group, i.e. per conversation).

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/high-throughput-fifo.html
    """

    name: str
    dead_letters: str | None = None
    """The name of the queue that takes what was received `max_receive_count` times and never deleted."""
    max_receive_count: int = 50
    """The backstop for a job that kills its worker before its attempt is counted. Far above the attempts a job has, because
    a job behind a failing one of its conversation is received and handed back untouched."""
    visibility_seconds: int = 60
    retention_seconds: int = 4 * DAY

    def attributes(self, dead_letter_arn: str | None) -> dict[str, str]:
        """Return the attributes of `CreateQueue` and `SetQueueAttributes`."""
        attributes = {
            "FifoQueue": "true",
            "ContentBasedDeduplication": "false",
            "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId",
            "VisibilityTimeout": str(self.visibility_seconds),
            "MessageRetentionPeriod": str(self.retention_seconds),
        }
        if dead_letter_arn:
            attributes["RedrivePolicy"] = (
                f'{{"deadLetterTargetArn":"{dead_letter_arn}","maxReceiveCount":"{self.max_receive_count}"}}'
            )
        return attributes


@dataclass(frozen=True, slots=True)
class Index:
    """A global secondary index over string attributes, with every attribute projected."""

    name: str
    partition_key: str
    sort_key: str


@dataclass(frozen=True, slots=True)
class Table:
    """A DynamoDB table, paid per request; keys are strings."""

    name: str
    partition_key: str
    sort_key: str | None = None
    indexes: tuple[Index, ...] = ()
    ttl_attribute: str | None = None
    """The attribute with the epoch second after which DynamoDB may drop an item."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An SSM SecureString."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the HTTP API and the function behind it: module `cloudia.functions.{function}`, attribute `handler`."""

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    function: str


class Stack:
    """The cloud of one name: every resource bears it, so that several stacks share an account."""

    def __init__(self, name: str = "cloudia") -> None:
        self.name = name
        self.dead_letters = Queue(f"{name}-jobs-dlq.fifo", retention_seconds=14 * DAY)
        self.jobs_queue = Queue(f"{name}-jobs.fifo", dead_letters=self.dead_letters.name)
        self.conversations = Table(
            f"{name}-conversations",
            partition_key="user_id",
            sort_key="conversation_id",
            indexes=(Index("by_activity", "user_id", "updated_at"),),
        )
        self.messages = Table(f"{name}-messages", partition_key="conversation_id", sort_key="message_id")
        self.jobs = Table(f"{name}-jobs", partition_key="job_id", ttl_attribute="expires_at")
        self.idempotency = Table(f"{name}-idempotency", partition_key="key", ttl_attribute="expires_at")
        self.presence = Table(f"{name}-presence", partition_key="part", sort_key="id", ttl_attribute="expires_at")
        self.token_secret = Parameter(f"/{name}/token-secret", "signs the bearer tokens (HS256)")
        self.session_secret = Parameter(f"/{name}/session-secret", "signs session ids")
        self.openai_api_key = Parameter(f"/{name}/openai-api-key", "API key of OpenAI")
        self.anthropic_api_key = Parameter(f"/{name}/anthropic-api-key", "API key of Anthropic")

    @property
    def queues(self) -> tuple[Queue, ...]:
        """The queues, a queue of dead letters before the one that names it."""
        return (self.dead_letters, self.jobs_queue)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables."""
        return (self.conversations, self.messages, self.jobs, self.idempotency, self.presence)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters; a key that nobody gave is not provisioned."""
        return (self.token_secret, self.session_secret, self.openai_api_key, self.anthropic_api_key)

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes of the HTTP API."""
        return (
            Route("POST", "/messages", "post_message"),
            Route("GET", "/conversations", "list_conversations"),
            Route("PATCH", "/conversations/{id}", "rename_conversation"),
            Route("DELETE", "/conversations/{id}", "delete_conversation"),
            Route("GET", "/conversations/{id}/messages", "list_messages"),
            Route("GET", "/jobs/{id}", "get_job"),
            Route("POST", "/jobs/{id}/cancel", "cancel_job"),
            Route("GET", "/health", "health"),
        )

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions behind the routes."""
        return tuple(dict.fromkeys(route.function for route in self.routes))

    def function_name(self, function: str) -> str:
        """Return the name that a function bears in Lambda."""
        return f"{self.name}-{function}"

    @property
    def log_groups(self) -> tuple[str, ...]:
        """The log group of each function.

        https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-loggroups.html
        """
        return tuple(f"/aws/lambda/{self.function_name(function)}" for function in self.functions)
