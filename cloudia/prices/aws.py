"""What a stack would cost on AWS in a month: requests, bytes and hours, by measurement and assumption, times AWS' prices.

The mix of requests is measured by benchmarks/bench_requests.py, the prices are of aws.json, with their day and sources. Free
tiers, savings plans and taxes are left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["HOURS", "Load", "Part", "Tables", "estimate", "tables"]

HOURS = 730
"""Of a month, as AWS counts."""
_SECONDS = HOURS * 3600
_BUSY = 10
"""Messages a second on the average, from which a worker takes several with each request."""
_GB = 1_000_000_000

_FUNCTION_GB, _FUNCTION_SECONDS = Decimal("0.25"), Decimal("0.1")
_JOB_KB, _ANSWER_KB = 2, 2
_INDEX_WRITES = 5
_MESSAGE_BYTES, _LOG_BYTES, _SENT_BYTES = 5_000, 3_000, 20_000
_READS = ("GetItem", "BatchGetItem", "Query")
_WRITES = {"PutItem": 1, "UpdateItem": _JOB_KB, "DeleteItem": 1, "TransactItems": 2}
"""Write units of each: a transaction takes two for a kilobyte, and whatever else is written is an item of one, or a job."""
_LARGER_ITEMS = 2 * (_JOB_KB - 1) + 2 * (_ANSWER_KB - 1)
"""Write units that a message's end takes beyond a kilobyte an item."""
_SQS = ("SendMessage", "ReceiveMessage", "DeleteMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")
_WORKER, _GATEWAY = (Decimal("0.5"), Decimal(1)), (Decimal("0.25"), Decimal("0.5"))
"""vCPU and GB of each task."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is estimated."""

    messages: int
    """In a month."""
    workers: int
    gateways: int


@dataclass(frozen=True, slots=True)
class Part:
    """One line of an estimate: so much of something, at its price."""

    name: str
    quantity: Decimal
    price: Decimal
    """US dollars of one."""
    because: str
    """Why it is so much."""

    @property
    def dollars(self) -> Decimal:
        """What it costs."""
        return self.quantity * self.price


@dataclass(frozen=True, slots=True)
class Tables:
    """AWS' prices, and what a message takes."""

    prices: Mapping[str, tuple[Decimal, str]]
    """Each with the page it is from."""
    day: str
    region: str
    mix: Mapping[str, Any]


def tables() -> Tables:
    """Read the tables that come with cloudia."""
    told, mix = (_read(name) for name in ("aws.json", "mix.json"))
    prices = {name: (Decimal(str(price)), source) for name, (price, source) in told["prices"].items()}
    return Tables(prices, told["date"], told["region"], mix)


def _read(name: str) -> Any:
    return json.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"), parse_float=Decimal)


def estimate(load: Load, known: Tables) -> list[Part]:
    """Return the parts of a month, in the order of a message's way."""
    return [
        Part(name, quantity, known.prices[price][0], because) for name, quantity, price, because in _parts(load, known)
    ]


def _parts(load: Load, known: Tables) -> Iterator[tuple[str, Decimal, str, str]]:
    n = Decimal(load.messages)
    busy = load.messages / _SECONDS >= _BUSY
    function, worker = (known.mix["busy" if busy else "sparse"][side] for side in ("function", "worker"))
    idle_hours = load.workers * HOURS

    def requests(kinds: Any) -> Decimal:
        each = sum((side.get(kind, 0) for side in (function, worker) for kind in kinds), Decimal(0))
        idle = sum((known.mix["idle_hour"].get(kind, 0) for kind in kinds), Decimal(0))
        return n * each + idle_hours * idle

    measured = f"measured {known.mix['measured']}"
    yield "API Gateway: requests", n, "http_api_request", "one POST a message"
    yield "Lambda: requests", n, "lambda_request", "one a message"
    yield (
        "Lambda: GB-seconds",
        n * _FUNCTION_GB * _FUNCTION_SECONDS,
        "lambda_gb_second",
        f"{_FUNCTION_GB} GB for {_FUNCTION_SECONDS} s each (assumed), x86",
    )
    yield "SQS FIFO: requests", requests(_SQS), "sqs_fifo_request", f"{measured}, with the polls of idle workers"
    writes = sum((requests([kind]) * units for kind, units in _WRITES.items()), n * (_LARGER_ITEMS + _INDEX_WRITES))
    yield (
        "DynamoDB: write units",
        writes,
        "dynamodb_write_unit",
        f"{measured}; an answer and its job of {_ANSWER_KB} KB, other items of 1 KB, {_INDEX_WRITES} for the indexes (assumed)",
    )
    yield "DynamoDB: read units", requests(_READS), "dynamodb_read_unit", f"{measured}; each of 4 KB at most (assumed)"
    stored = n * _MESSAGE_BYTES / _GB
    yield (
        "DynamoDB: GB stored",
        stored,
        "dynamodb_gb_month",
        f"this month's, {_MESSAGE_BYTES:,} bytes a message (assumed)",
    )
    yield "CloudWatch Logs: GB", n * _LOG_BYTES / _GB, "logs_gb", f"{_LOG_BYTES:,} bytes a message (assumed)"
    for name, count, (cpus, memory) in (("worker", load.workers, _WORKER), ("gateway", load.gateways, _GATEWAY)):
        hours = Decimal(count * HOURS)
        yield f"Fargate ARM, {name}: vCPU hours", hours * cpus, "fargate_arm_vcpu_hour", f"{count} of {cpus} vCPU"
        yield f"Fargate ARM, {name}: GB hours", hours * memory, "fargate_arm_gb_hour", f"{count} of {memory} GB"
    yield "ElastiCache: hours", Decimal(HOURS), "cache_t4g_micro_hour", "one cache.t4g.micro with Valkey"
    yield (
        "Load balancer: hours",
        Decimal(HOURS),
        "load_balancer_hour",
        "one, before the gateways, without its capacity units",
    )
    addresses = load.workers + load.gateways + 2
    yield "Public IPv4: hours", Decimal(addresses * HOURS), "public_ipv4_hour", "one a task, two of the load balancer"
    yield "Data out: GB", n * _SENT_BYTES / _GB, "data_out_gb", f"{_SENT_BYTES:,} bytes of frames a message (assumed)"
