"""What a stack would cost on AWS: the same as by hand, and what it is made of is told."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from cloudia.prices.aws import Load, Tables, estimate, tables
from tests.support import cli

if TYPE_CHECKING:
    from pathlib import Path

MIX = {
    "measured": "2026-11-28",
    "sparse": {
        "function": {"SendMessage": 1, "TransactItems": 4, "TransactWriteItems": 1},
        "worker": {"ReceiveMessage": 2, "DeleteMessageBatch": 1, "UpdateItem": 1, "TransactItems": 3, "GetItem": 1},
    },
    "busy": {"function": {"SendMessage": 1}, "worker": {}},
    "idle_hour": {"ReceiveMessage": 180, "PutItem": 360, "Query": 12},
}


def known() -> Tables:
    found = tables()
    return Tables(found.prices, found.day, found.region, MIX)


def test_an_estimate_is_what_it_is_by_hand() -> None:
    """A million messages with one worker and one gateway: each part, added up on paper."""
    by_hand = {
        "API Gateway: requests": 1.00,  # 1 M at $1 a million
        "Lambda: requests": 0.20,  # 1 M at $0.20 a million
        "Lambda: GB-seconds": 0.4166675,  # 1 M of 0.25 GB for 0.1 s: 25,000 GB-s at $0.0000166667
        "SQS FIFO: requests": 2.0657,  # 4 M and 730 h of 180: 4,131,400 at $0.50 a million
        # 7 items of 2 units, 1 update of 2, 4 for what is larger, 5 for indexes: 25 M; 730 h of 360: 262,800; $0.625 a million
        "DynamoDB: write units": 15.78925,
        "DynamoDB: read units": 0.126095,  # 1 M and 730 h of 12: 1,008,760 at $0.125 a million
        "DynamoDB: GB stored": 1.25,  # 5 GB at $0.25
        "CloudWatch Logs: GB": 1.50,  # 3 GB at $0.50
        "Fargate ARM, worker: vCPU hours": 11.8187,  # 730 h of 0.5 at $0.03238
        "Fargate ARM, worker: GB hours": 2.5988,  # 730 h of 1 at $0.00356
        "Fargate ARM, gateway: vCPU hours": 5.90935,
        "Fargate ARM, gateway: GB hours": 1.2994,
        "ElastiCache: hours": 9.344,  # 730 h at $0.0128
        "Load balancer: hours": 16.425,  # 730 h at $0.0225
        "Public IPv4: hours": 14.60,  # 4 for 730 h at $0.005
        "Data out: GB": 1.80,  # 20 GB at $0.09
    }
    parts = estimate(Load(1_000_000, workers=1, gateways=1), known())
    assert {part.name: float(part.dollars) for part in parts} == pytest.approx(by_hand)
    assert float(sum(part.dollars for part in parts)) == pytest.approx(86.1429625)


def test_nothing_sent_costs_what_stands_there() -> None:
    """No message: tasks, cache, load balancer, addresses, and the polls of idle workers; each part says why."""
    parts = {part.name: part for part in estimate(Load(0, workers=2, gateways=1), known())}
    assert parts["API Gateway: requests"].dollars == 0
    assert parts["SQS FIFO: requests"].quantity == 2 * 730 * 180
    assert parts["Public IPv4: hours"].quantity == 5 * 730
    assert all(part.because for part in parts.values())
    assert parts["SQS FIFO: requests"].because == "measured 2026-11-28, with the polls of idle workers"


def test_many_messages_are_taken_several_at_once() -> None:
    """From ten a second on the average the mix is that of a busy worker."""
    few, many = (
        {part.name: part.quantity for part in estimate(Load(messages, workers=0, gateways=0), known())}
        for messages in (26_000_000, 27_000_000)
    )
    assert few["SQS FIFO: requests"] == 4 * 26_000_000
    assert many["SQS FIFO: requests"] == 27_000_000


def test_the_tables_that_come_along_are_whole() -> None:
    """Prices have a day and pages, the mix was measured: a message takes at least what it cannot do without."""
    found = tables()
    assert found.day >= "2026"
    assert all(source.startswith("https://aws.amazon.com/") for _, source in found.prices.values())
    for rate in ("sparse", "busy"):
        function, worker = found.mix[rate]["function"], found.mix[rate]["worker"]
        assert function["SendMessage"] == function["TransactWriteItems"] == 1
        assert function["TransactItems"] == 4
        assert worker["TransactItems"] == 3 * worker["TransactWriteItems"]
        assert worker["ReceiveMessage"] > 0
    assert found.mix["busy"]["worker"]["ReceiveMessage"] < found.mix["sparse"]["worker"]["ReceiveMessage"]
    assert 0 < found.mix["idle_hour"]["ReceiveMessage"] < 1000


def test_the_verb_says_it_beside_the_llm(tmp_path: Path) -> None:
    """Without a stack; the sum is that of the parts, the LLM's share that of its tokens, and an unknown price is said."""
    asked = cli(
        *("cost", "estimate", "--messages-per-month", "100000", "--input-tokens", "1000", "--json"),
        folder=tmp_path,
        environment={"CLOUDIA_LLM_PRICES": '{"gpt-5-mini": {"input": 1, "output": 10}}'},
    )
    assert asked.returncode == 0, asked.stderr
    told = json.loads(asked.stdout)
    assert told["aws"]["cost_usd"] == pytest.approx(sum(part["cost_usd"] for part in told["aws"]["parts"]))
    assert told["llm"] == {
        "provider": "openai",
        "model": "gpt-5-mini",
        "input_tokens": 1000,
        "output_tokens": 400,
        "cost_usd": float(100_000 * (Decimal(1000) * 1 + 400 * 10) / 1_000_000),
    }
    shown = cli(
        *("cost", "estimate", "--messages-per-month", "5"),
        folder=tmp_path,
        environment={"CLOUDIA_LLM_MODEL": "nobody-knows"},
    )
    assert shown.returncode == 0, shown.stderr
    assert "LLM, openai nobody-knows" in shown.stdout
    assert "is not known: set llm.prices" in shown.stderr
    wrong = cli("cost", "estimate", "--messages-per-month", "-1", folder=tmp_path)
    assert wrong.returncode == 2
    assert cli("cost", "estimate", folder=tmp_path).returncode == 2
