"""What an answer cost: from the configured prices, by the configured model, on every way that its usage goes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudia.cloud.events import EventLog
from cloudia.cloud.items import from_item, to_item
from cloudia.cloud.redis import connect
from cloudia.worker.cost import cost_usd
from cloudia.worker.providers.base import ChatMessage, ProviderError, Usage
from cloudia.worker.routes import make_llm
from tests.support import RunningStack, eventually, make_cloud
from tests.worker.working import accept, ended, fault, log_lines, worker

if TYPE_CHECKING:
    from pathlib import Path

_PRICES = st.floats(0, 1_000_000)
_TOKENS = st.integers(0, 10_000_000)


def test_a_cost_is_tokens_by_price() -> None:
    """Prices are for a million tokens; a price that is not known makes the cost unknown, one of 0 does not."""
    usage = Usage(1200, 350)
    assert cost_usd(usage, input_price=0.25, output_price=2.0) == 0.001
    assert cost_usd(Usage(3, 0), input_price=0.1, output_price=0.0) == 0.0000003
    assert cost_usd(usage, input_price=0.0, output_price=0.0) == 0.0
    assert cost_usd(usage, input_price=None, output_price=2.0) is None
    assert cost_usd(usage, input_price=0.25, output_price=None) is None


@settings(deadline=None)
@given(_TOKENS, _TOKENS, _PRICES, _PRICES)
def test_every_cost_can_be_stored(taken: int, given_: int, input_price: float, output_price: float) -> None:
    """No price makes a negative cost, or a number that DynamoDB or JSON gives back as another."""
    cost = cost_usd(Usage(taken, given_), input_price=input_price, output_price=output_price)
    assert cost is not None
    assert cost >= 0
    usage = {"input_tokens": taken, "output_tokens": given_, "cost_usd": cost}
    assert from_item(to_item({"usage": usage})) == {"usage": usage}
    assert json.loads(json.dumps(usage)) == usage


async def test_the_cost_goes_where_the_usage_goes(stack: RunningStack, tmp_path: Path) -> None:
    """It is in the record, the message, the `done` event and the log line; another model's answer has none."""
    cloud = make_cloud(stack, llm_input_price=0.25, llm_output_price=2.0)
    async with worker(cloud, tmp_path):
        job = accept(cloud, "what does it cost? [[words:20]]", session="ses_cost")
        done = await ended(cloud, job)
        other = replace(cloud.accept("and with another? [[words:20]]"), model="sim-2")
        cloud.queue.send(other)
        priceless = await ended(cloud, other)
    counted = Usage(done.usage["input_tokens"], done.usage["output_tokens"])
    assert done.usage["cost_usd"] == cost_usd(counted, input_price=0.25, output_price=2.0)
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


async def test_a_fallback_is_not_as_configured(stack: RunningStack) -> None:
    """What a fallback counted has another price, also where the configured model goes on after it."""
    cloud = make_cloud(
        stack,
        llm_model="dear",
        llm_fallback_provider="anthropic",
        llm_fallback_model="cheap",
        llm_breaker_errors=0,
        llm_breaker_open_seconds=0.1,
        llm_quick_retry_seconds=0,
    )
    question = [ChatMessage("user", "hello [[words:5]]")]
    llm = make_llm(cloud.settings, cloud.parameters, cloud.stack)
    fault(stack, kind="status", status=503, count=1, model="dear")
    try:
        with pytest.raises(ProviderError):
            _ = [piece async for piece in llm.call(job_id="job_cost", attempt=1).stream(question)]
        call = llm.call(job_id="job_cost", attempt=2)
        for model in ("cheap", "dear"):
            assert [piece async for piece in call.stream(question)]
            assert (call.model, call.as_configured) == (model, False)
            await eventually(lambda: llm.routes[0].breaker.retry_after == 0)
        call = llm.call(job_id="job_cost", attempt=3)
        assert [piece async for piece in call.stream(question)]
        assert (call.model, call.as_configured) == ("dear", True)
    finally:
        await llm.aclose()
