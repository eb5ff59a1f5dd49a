"""The one definition of the cloud: queues, tables, parameters, routes, functions, services, and what each may do.

Provisioning makes what stands here; the services in `cloudia.cloud` take their names from here. What a function, the worker
or the gateway has in its environment follows from `cloudia.settings`, where each setting says who reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from cloudia.providers import PROVIDERS

__all__ = ["Cors", "Function", "Grant", "Index", "Parameter", "Queue", "Route", "Service", "Stack", "Table"]

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Queue:
    """An SQS FIFO queue in high-throughput mode (one order per message group, i.e. per conversation).

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/high-throughput-fifo.html
    """

    service: ClassVar = "sqs"
    name: str
    dead_letters: str | None = None
    """The name of the queue that takes what was received `max_receive_count` times and never deleted."""
    max_receive_count: int = 50
    """The backstop for a job that kills its worker before its attempt is counted; SQS counts receives, and no attempts."""
    visibility_seconds: int = 60
    retention_seconds: int = 4 * DAY

    @property
    def worn_receive_count(self) -> int:
        """Receives after which a worker that hands a message back untouched sends it anew, so that it counts from 1 again.

        What is received behind a failing turn, or while DynamoDB is away, has no part in the backstop. The other half is for
        the attempts of its own that follow.
        """
        return self.max_receive_count // 2

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
    """A global secondary index over string attributes."""

    name: str
    partition_key: str
    sort_key: str
    projects: Literal["ALL", "KEYS_ONLY"] = "ALL"
    """What an entry holds beside the keys. With the keys alone, a write that changes none of them costs the index nothing."""


@dataclass(frozen=True, slots=True)
class Table:
    """A DynamoDB table, paid per request; keys are strings."""

    service: ClassVar = "dynamodb"
    name: str
    partition_key: str
    sort_key: str | None = None
    indexes: tuple[Index, ...] = ()
    ttl_attribute: str | None = None
    """The attribute with the epoch second after which DynamoDB may drop an item."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An SSM SecureString."""

    service: ClassVar = "ssm"
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the HTTP API and the function behind it: module `cloudia.functions.{function}`, attribute `handler`."""

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    function: str


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to do something with one resource, and with no other.

    A transaction takes the actions of its items, and SQS' batches those of one message:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
    """

    resource: Queue | Table | Parameter
    actions: tuple[str, ...]
    """As IAM names them, such as `dynamodb:GetItem`."""
    index: Index | None = None
    """The index that is meant, in place of its table."""


def _grant(resource: Queue | Table | Parameter, *actions: str, index: Index | None = None) -> Grant:
    return Grant(resource, tuple(f"{resource.service}:{action}" for action in actions), index)


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function of the HTTP API, by the name that its routes have for it."""

    name: str
    grants: tuple[Grant, ...]
    publishes: bool = False
    """Whether it tells the workers through Redis, where its environment has `redis.url`."""
    memory_mb: int = 256
    timeout_seconds: int = 29
    """An HTTP API waits for 30: https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html"""


@dataclass(frozen=True, slots=True)
class Service:
    """What runs all the time, `python -m cloudia.{name}`."""

    name: Literal["worker", "gateway"]
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class Cors:
    """What a page of another origin may do with the HTTP API."""

    methods: tuple[str, ...]
    headers: tuple[str, ...] = ("authorization", "content-type", "traceparent")
    exposed_headers: tuple[str, ...] = ("date", "retry-after")
    max_age_seconds: int = 600

    def configuration(self, origins: list[str]) -> dict[str, Any]:
        """Return the `CorsConfiguration` of API Gateway for pages of these origins."""
        return {
            "AllowOrigins": origins,
            "AllowMethods": list(self.methods),
            "AllowHeaders": list(self.headers),
            "ExposeHeaders": list(self.exposed_headers),
            "MaxAge": self.max_age_seconds,
        }


class Stack:
    """The cloud of one name: every resource bears it, so that several stacks share an account."""

    def __init__(self, name: str = "cloudia", *, operator: bool = False) -> None:
        self.name = name
        self.operator = operator
        """Whether the operator API is one of the routes, with its function."""
        self.dead_letters = Queue(f"{name}-jobs-dlq.fifo", retention_seconds=14 * DAY)
        self.jobs_queue = Queue(f"{name}-jobs.fifo", dead_letters=self.dead_letters.name)
        self.conversations = Table(
            f"{name}-conversations",
            partition_key="user_id",
            sort_key="conversation_id",
            indexes=(Index("by_activity", "user_id", "updated_at"),),
        )
        self.messages = Table(f"{name}-messages", partition_key="conversation_id", sort_key="message_id")
        self.jobs = Table(
            f"{name}-jobs",
            partition_key="job_id",
            indexes=(Index("by_state", "state", "state_since", projects="KEYS_ONLY"),),
            ttl_attribute="expires_at",
        )
        self.idempotency = Table(f"{name}-idempotency", partition_key="key", ttl_attribute="expires_at")
        self.presence = Table(f"{name}-presence", partition_key="part", sort_key="id", ttl_attribute="expires_at")
        self.token_secret = Parameter(f"/{name}/token-secret", "signs the bearer tokens (HS256)")
        self.session_secret = Parameter(f"/{name}/session-secret", "signs session ids")
        self.api_keys = {
            spec.name: Parameter(f"/{name}/{spec.name}-api-key", f"API key of {spec.title}")
            for spec in PROVIDERS.values()
        }
        """By provider."""
        self.log_retention_days = 30

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
        return (self.token_secret, self.session_secret, *self.api_keys.values())

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
            *(self.operator_routes if self.operator else ()),
        )

    @property
    def operator_routes(self) -> tuple[Route, ...]:
        """The routes of whoever runs the stack; one function has them all."""
        paths: tuple[tuple[Literal["GET", "POST"], str], ...] = (
            ("GET", "/operator/live"),
            ("GET", "/operator/jobs"),
            ("GET", "/operator/jobs/{id}"),
            ("GET", "/operator/costs"),
            ("GET", "/operator/dead-letters"),
            ("GET", "/operator/dead-letters/{id}"),
            ("POST", "/operator/dead-letters/redrive"),
            ("POST", "/operator/dead-letters/purge"),
            ("GET", "/operator/conversations"),
            ("GET", "/operator/conversations/{id}/messages"),
        )
        return tuple(Route(method, path, "operator") for method, path in paths)

    @property
    def functions(self) -> tuple[Function, ...]:
        """The functions behind the routes, each with what it may do."""
        user = _grant(self.token_secret, "GetParameter")
        (by_activity,) = self.conversations.indexes
        return (
            Function(
                "post_message",
                (
                    user,
                    _grant(self.session_secret, "GetParameter"),
                    _grant(self.conversations, "GetItem", "PutItem", "UpdateItem"),
                    _grant(self.messages, "PutItem"),
                    _grant(self.jobs, "GetItem", "BatchGetItem", "PutItem"),
                    _grant(self.idempotency, "GetItem", "PutItem", "UpdateItem"),
                    _grant(self.jobs_queue, "GetQueueUrl", "SendMessage"),
                ),
            ),
            Function(
                "list_conversations",
                (user, _grant(self.conversations, "Query", index=by_activity), _grant(self.messages, "Query")),
            ),
            Function("rename_conversation", (user, _grant(self.conversations, "UpdateItem"))),
            Function(
                "delete_conversation",
                (
                    user,
                    _grant(self.conversations, "GetItem", "DeleteItem"),
                    _grant(self.messages, "Query", "BatchWriteItem"),
                    _grant(self.jobs, "GetItem", "UpdateItem"),
                ),
            ),
            Function("list_messages", (user, _grant(self.conversations, "GetItem"), _grant(self.messages, "Query"))),
            Function("get_job", (user, _grant(self.jobs, "GetItem"), _grant(self.messages, "GetItem"))),
            Function("cancel_job", (user, _grant(self.jobs, "GetItem", "UpdateItem")), publishes=True),
            Function("health", (user, _grant(self.presence, "Query"), _grant(self.jobs_queue, "GetQueueUrl"))),
            *((self._operator_function,) if self.operator else ()),
        )

    @property
    def _operator_function(self) -> Function:
        (by_activity,), (by_state,) = self.conversations.indexes, self.jobs.indexes
        return Function(
            "operator",
            (
                _grant(self.token_secret, "GetParameter"),
                _grant(self.presence, "Query"),
                _grant(self.jobs, "GetItem", "BatchGetItem", "UpdateItem"),
                _grant(self.jobs, "Query", index=by_state),
                _grant(self.messages, "GetItem", "Query", "PutItem", "UpdateItem", "ConditionCheckItem"),
                _grant(self.conversations, "GetItem", "ConditionCheckItem"),
                _grant(self.conversations, "Query", index=by_activity),
                _grant(self.idempotency, "UpdateItem"),
                _grant(self.jobs_queue, "GetQueueUrl", "GetQueueAttributes", "SendMessage"),
                _grant(
                    self.dead_letters,
                    *("GetQueueUrl", "GetQueueAttributes", "ReceiveMessage", "DeleteMessage"),
                    "ChangeMessageVisibility",
                ),
            ),
            memory_mb=512,
        )

    @property
    def worker(self) -> Service:
        """The worker, with what it may do."""
        return Service(
            "worker",
            (
                _grant(
                    self.jobs_queue,
                    *("GetQueueUrl", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "SendMessage"),
                ),
                _grant(self.dead_letters, "GetQueueUrl", "SendMessage"),
                _grant(self.jobs, "GetItem", "BatchGetItem", "UpdateItem"),
                _grant(self.jobs, "Query", index=self.jobs.indexes[0]),
                _grant(self.messages, "GetItem", "Query", "PutItem"),
                _grant(self.conversations, "ConditionCheckItem"),
                _grant(self.idempotency, "UpdateItem"),
                _grant(self.presence, "PutItem", "DeleteItem"),
                *(_grant(parameter, "GetParameter") for parameter in self.api_keys.values()),
            ),
        )

    @property
    def gateway(self) -> Service:
        """The gateway, with what it may do."""
        return Service(
            "gateway",
            (
                _grant(self.token_secret, "GetParameter"),
                _grant(self.session_secret, "GetParameter"),
                _grant(self.presence, "PutItem", "DeleteItem"),
            ),
        )

    @property
    def cors(self) -> Cors:
        """What pages of other origins may do with the HTTP API."""
        return Cors(methods=tuple(sorted({route.method for route in self.routes})))

    def function_name(self, function: str) -> str:
        """Return the name that a function bears in Lambda."""
        return f"{self.name}-{function}"

    @property
    def log_groups(self) -> tuple[str, ...]:
        """The log group of each function; what is in it is kept for `log_retention_days`.

        https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-loggroups.html
        """
        return tuple(f"/aws/lambda/{self.function_name(function.name)}" for function in self.functions)
