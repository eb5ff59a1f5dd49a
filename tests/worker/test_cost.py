"""What an answer cost: of each request, at the price of its model, on every way that its usage goes."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudia import telemetry
from cloudia.cloud.events import EventLog
from cloudia.cloud.items import from_item, to_item
from cloudia.cloud.redis import connect
from cloudia.prices import llm as llm_prices
from cloudia.settings import Settings
from cloudia.worker.cost import Costs, Spent, usage_of
from cloudia.worker.providers.base import ChatMessage, ProviderError, Usage
from cloudia.worker.routes import make_llm
from tests.support import RunningStack, eventually, make_cloud
from tests.worker.working import accept, ended, fault, log_lines, worker

if TYPE_CHECKING:
    from pathlib import Path

_PRICES = st.floats(0, 1_000_000)
_TOKENS = st.integers(0, 10_000_000)


def costs(prices: str) -> Costs:
    return Costs(Settings().changed(llm_prices=prices))


def spent(usage: Usage, *, model: str = "m", told: bool = True, url: str = "") -> Spent:
    return Spent("openai", url, model, 1_800_000_000.0, usage, usage if told else None, told)


def test_a_cost_is_of_each_request_by_itself() -> None:
    """Each has the tier and the price of its own; one whose price is not known makes the cost unknown, one of 0 does not."""
    known = costs('{"m": {"input": [1, [100, 10]], "output": 2}, "free": {"input": 0, "output": 0}}')
    each = spent(Usage(60, 5))
    assert known.cost([each]) == Decimal("0.00007")
    assert known.cost([each, each]) == Decimal("0.00014")
    assert known.cost([spent(Usage(120, 10))]) == Decimal("0.00122")
    assert known.cost([spent(Usage(5, 5), model="free")]) == 0
    assert known.cost([each, spent(Usage(5, 5), model="nobody-knows")]) is None
    assert known.cost([]) is None


def test_a_record_says_what_was_estimated() -> None:
    """The tokens that were told, of all requests together; beside them, by names of their own, what is estimated."""
    both = [spent(Usage(60, 5)), spent(Usage(10, 2, 4), told=False)]
    assert usage_of(both, Decimal("0.5")) == {
        "input_tokens": 60,
        "output_tokens": 5,
        "estimated_requests": 1,
        "estimated_input_tokens": 10,
        "estimated_output_tokens": 2,
        "cost_usd": 0.5,
    }
    assert usage_of(both[1:], None) == {
        "estimated_requests": 1, "estimated_input_tokens": 10, "estimated_output_tokens": 2,
    }  # fmt: skip
    begun = replace(
        spent(Usage(10, 8)), counted=Usage(10, 1), told=False
    )  # Such as Anthropic's, which tells the input first.
    assert usage_of([begun], None) == {
        "input_tokens": 10, "output_tokens": 1,
        "estimated_requests": 1, "estimated_input_tokens": 0, "estimated_output_tokens": 7,
    }  # fmt: skip
    assert usage_of(both[:1], None) == {"input_tokens": 60, "output_tokens": 5}
    assert usage_of([], None) is None


@settings(deadline=None)
@given(_TOKENS, _TOKENS, _PRICES, _PRICES)
def test_every_cost_can_be_stored(taken: int, given_: int, input_price: float, output_price: float) -> None:
    """No price makes a negative cost, or a number that DynamoDB or JSON gives back as another."""
    found = costs(json.dumps({"m": {"input": input_price, "output": output_price}}))
    usage = usage_of([spent(Usage(taken, given_))], found.cost([spent(Usage(taken, given_))]))
    assert usage is not None
    assert usage["cost_usd"] >= 0
    assert from_item(to_item({"usage": usage})) == {"usage": usage}
    assert json.loads(json.dumps(usage)) == usage


def test_prices_that_cannot_be_read_are_told_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A broken file makes costs unknown, one line in the log, and no failure; own prices go on."""
    broken = tmp_path / "llm.json"
    broken.write_text("nonsense")
    lines: list[str] = []
    monkeypatch.setattr(llm_prices, "FILE", broken)
    monkeypatch.setattr(telemetry, "log", lambda event, **_: lines.append(event))
    llm_prices.built_in.cache_clear()
    try:
        found = costs('{"mine": {"input": 1, "output": 2}}')
        for _ in range(3):
            assert found.cost([spent(Usage(1, 1), model="gpt-5-mini")]) is None
            assert found.cost([spent(Usage(1, 1), model="mine")]) == Decimal("0.000003")
    finally:
        llm_prices.built_in.cache_clear()
    assert lines == ["prices not read"]


async def test_the_cost_goes_where_the_usage_goes(stack: RunningStack, tmp_path: Path) -> None:
    """It is in the record, the message, the `done` event and the log line; another model's answer has none."""
    cloud = make_cloud(stack, llm_prices='{"sim-1": {"input": 0.25, "output": 2}}')
    async with worker(cloud, tmp_path):
        job = accept(cloud, "what does it cost? [[words:20]]", session="ses_cost")
        done = await ended(cloud, job)
        other = replace(cloud.accept("and with another? [[words:20]]"), model="sim-2")
        cloud.queue.send(other)
        priceless = await ended(cloud, other)
    counted = 0.25 * done.usage["input_tokens"] + 2 * done.usage["output_tokens"]
    assert done.usage["cost_usd"] == pytest.approx(counted / 1_000_000, abs=1e-12)
    assert done.usage["cost_usd"] > 0
    reply = cloud.history.message(job.conversation_id, done.reply_message_id)
    assert reply is not None
    assert reply.usage == done.usage
    lines = {line["job_id"]: line for line in log_lines(tmp_path, "job ended")}
    assert lines[job.job_id]["usage"] == done.usage
    redis = connect(cloud.settings.redis_url)
    log = EventLog(redis, cloud.stack.name, ttl_seconds=60, max_length=1000)
    events = [json.loads(entry.payload) for entry in await log.after("ses_cost", "0-0")]
    await redis.aclose()
    assert events[-1]["usage"] == done.usage
    assert (priceless.status, priceless.model) == ("done", "sim-2")
    assert priceless.usage.keys() == {"input_tokens", "output_tokens"}


async def test_what_failed_was_retried_or_was_stopped_is_paid_too(stack: RunningStack, tmp_path: Path) -> None:
    """A stream that breaks off counts by estimate in its attempt, and so does an answer that the user stops."""
    prices = '{"breaks": {"input": 1, "output": 2}, "sim-1": {"input": 1, "output": 2}}'
    cloud = make_cloud(stack, llm_model="breaks", llm_prices=prices)
    fault(stack, kind="cut", count=1, model="breaks")
    async with worker(cloud, tmp_path), connect(cloud.settings.redis_url) as redis:
        job = accept(cloud, "breaks once [[words:40]]")
        done = await ended(cloud, job)
        stopped = accept(cloud, "is stopped [[words:2000]]", session="ses_stop")
        log = EventLog(redis, cloud.stack.name, ttl_seconds=60, max_length=100)

        async def some() -> bool:
            return any(json.loads(entry.payload)["type"] == "delta" for entry in await log.after("ses_stop", "0-0"))

        await eventually(some)
        cloud.jobs.request_cancel(stopped.job_id, "alice")
        cancelled = await ended(cloud, stopped)
    first, second = done.attempt_history
    assert (first.outcome, second.outcome) == ("retried", "done")
    assert first.usage["estimated_requests"] == 1
    assert first.usage["cost_usd"] > 0
    assert "estimated_requests" not in second.usage
    assert cancelled.status == "cancelled"
    assert cancelled.usage["estimated_requests"] == 1
    assert cancelled.usage["cost_usd"] > 0


async def test_a_fallback_has_its_own_price(stack: RunningStack) -> None:
    """What was used is told of each request with the model that was asked: the first one failed before it said anything."""
    cloud = make_cloud(
        stack,
        llm_model="dear",
        llm_fallback_provider="anthropic",
        llm_fallback_model="cheap",
        llm_breaker_errors=0,
        llm_breaker_open_seconds=600,
        llm_quick_retry_seconds=0,
    )
    question = [ChatMessage("user", "hello [[words:5]]")]
    llm = make_llm(cloud.settings, cloud.parameters, cloud.stack)
    fault(stack, kind="status", status=503, count=1, model="dear")
    try:
        call = llm.call(job_id="job_cost", attempt=1)
        with pytest.raises(ProviderError):
            _ = [piece async for piece in call.stream(question)]
        assert call.spent == []
        assert [piece async for piece in call.stream(question)]
        assert [(each.provider, each.model, each.told) for each in call.spent] == [("anthropic", "cheap", True)]
    finally:
        await llm.aclose()


async def test_a_request_that_no_budget_reaches_for_is_not_made(stack: RunningStack, tmp_path: Path) -> None:
    """A retry costs more than is left: a friendly failure is recorded, the LLM is not asked, and what was spent stays counted.

    So does a model whose price nobody knows, that an operator named.
    """
    cloud = make_cloud(
        stack,
        llm_model="thrifty",
        llm_prices='{"thrifty": {"input": 0, "output": 1000}}',
        llm_max_tokens=100,
        limits_user_dollars_per_day=0.1005,
    )
    fault(stack, kind="cut", after_tokens=20, count=1, model="thrifty")
    async with worker(cloud, tmp_path):
        done = await ended(cloud, accept(cloud, "is cut off once [[words:40]]"))
    assert (done.status, done.error["code"], done.error["retryable"]) == ("failed", "budget_exceeded", False)
    assert [attempt.llm_calls for attempt in done.attempt_history] == [1, 0]
    rich = make_cloud(stack, llm_prices='{"sim-1": {"input": 0, "output": 1}}', limits_user_dollars_per_day=10)
    async with worker(rich, tmp_path):
        unknown = replace(rich.accept("which price?"), model="nobody-knows")
        rich.queue.send(unknown)
        failed = await ended(rich, unknown)
    assert (failed.status, failed.error["code"]) == ("failed", "no_price")
    assert failed.attempt_history[-1].llm_calls == 0
