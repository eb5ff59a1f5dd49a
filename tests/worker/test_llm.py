"""The LLM as a worker calls it: breaker, quick retry, cooldown, fallback and deadlines, against the simulated provider."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from cloudia import telemetry
from cloudia.telemetry.events import AttemptIds
from cloudia.worker import ChatMessage, Tool
from cloudia.worker.llm import Llm
from cloudia.worker.providers.base import LlmUnavailableError, ProviderError
from cloudia.worker.routes import make_llm
from tests.cli.provider import ask_provider
from tests.support import RunningStack, eventually, make_cloud
from tests.worker.working import accept, ended, fault, log_lines, worker

if TYPE_CHECKING:
    from pathlib import Path

QUESTION = [ChatMessage("user", "well? [[words:8]]")]


def llm_of(stack: RunningStack, **changes: Any) -> Llm:
    """Return the LLM of a worker with these settings."""
    cloud = make_cloud(stack, **changes)
    return make_llm(cloud.settings, cloud.parameters, cloud.stack)


async def ask(llm: Llm, job: str = "job_test") -> tuple[str, int]:
    """Return an answer, and how many requests it took."""
    call = llm.call(job_id=job, attempt=1)
    return "".join([text async for text in call.stream(QUESTION)]), call.calls


def requests(stack: RunningStack, model: str) -> list[dict[str, Any]]:
    """Return the provider's own records of a model."""
    records: list[dict[str, Any]] = ask_provider(stack.run, "GET", "requests")["records"]
    return [record for record in records if record["model"] == model]


async def test_a_blip_before_the_first_text_is_tried_again_at_once(stack: RunningStack) -> None:
    """One 500, then an answer: two requests, no failed attempt, and the count says so."""
    llm = llm_of(stack, llm_model="blip")
    fault(stack, kind="status", status=500, count=1, model="blip")
    began = time.monotonic()
    text, calls = await ask(llm)
    await llm.aclose()
    assert text
    assert calls == 2
    assert time.monotonic() - began < 3


async def test_what_is_not_a_blip_is_not_tried_again_at_once(stack: RunningStack) -> None:
    """A 429, a 400, and a stream that breaks off after its first text each cost one request."""
    llm = llm_of(stack, llm_model="once")
    for broken, kind in (
        ({"kind": "status", "status": 429}, "rate_limited"),
        ({"kind": "status", "status": 400}, "rejected"),
        ({"kind": "cut", "after_tokens": 3}, "unavailable"),
    ):
        fault(stack, **broken, count=1, model="once")
        call = llm.call(job_id="job_test", attempt=1)
        with pytest.raises(ProviderError) as raised:
            _ = [text async for text in call.stream(QUESTION)]
        assert (raised.value.kind, call.calls) == (kind, 1)
    await llm.aclose()


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_the_breaker_opens_on_the_sixth_error_and_then_nothing_reaches_the_provider(
    stack: RunningStack, provider: str
) -> None:
    """Six errors within 10 s: open. While it is open no request reaches the provider, by the provider's own count."""
    model = f"down-{provider}"
    llm = llm_of(stack, llm_provider=provider, llm_model=model, llm_quick_retry_seconds=0, llm_breaker_open_seconds=1.0)
    fault(stack, kind="status", status=500, count=6, model=model)
    for number in range(6):
        assert llm.routes[0].breaker.state == "closed"
        with pytest.raises(ProviderError):
            await ask(llm, f"job_{number}")
    assert llm.routes[0].breaker.state == "open"
    assert len(requests(stack, model)) == 6
    for _ in range(20):
        with pytest.raises(LlmUnavailableError) as raised:
            await ask(llm)
        assert raised.value.retry_after >= 1
    assert len(requests(stack, model)) == 6
    await eventually(lambda: llm.routes[0].breaker.retry_after == 0)
    # The first of these is the probe; while it is out the others are refused.
    answers = await asyncio.gather(*(ask(llm) for _ in range(5)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, LlmUnavailableError)]
    assert len(refused) == 4
    assert llm.routes[0].to_json()["breaker"] == "closed"
    assert len(requests(stack, model)) == 7
    await llm.aclose()


async def test_an_open_breaker_falls_back(stack: RunningStack) -> None:
    """With a fallback configured, its provider and model answer while the other's breaker is open."""
    llm = llm_of(
        stack,
        llm_model="primary",
        llm_fallback_provider="anthropic",
        llm_fallback_model="second",
        llm_quick_retry_seconds=0,
    )
    fault(stack, kind="status", status=503, count=6, model="primary")
    for _ in range(6):
        with pytest.raises(ProviderError):
            await ask(llm)
    call = llm.call(job_id="job_test", attempt=1)
    text = "".join([piece async for piece in call.stream(QUESTION)])
    await llm.aclose()
    assert text
    assert (call.route.provider.name, call.route.model) == ("anthropic", "second")


async def test_the_responses_api_with_a_tool(stack: RunningStack) -> None:
    """`llm.api` = responses: the simulated provider is asked by it, calls a tool, gets its result and answers, with usage."""

    async def weather(city: str) -> str:
        return f"sunny in {city}"

    llm = llm_of(stack, llm_api="responses", llm_model="responding")
    tool = Tool("weather", "", {"type": "object", "properties": {"city": {"type": "string"}}}, weather)
    call = llm.call(job_id="job_test", attempt=1)
    asked = [ChatMessage("user", 'well? [[tool:weather {"city": "Oslo"}]]')]
    text = "".join([piece async for piece in call.stream(asked, [tool])])
    await llm.aclose()
    assert "sunny in Oslo" in text
    assert (call.calls, call.finish) == (2, "stop")
    assert call.usage is not None
    assert call.usage.output_tokens > 0


async def test_the_record_says_why_a_fallback_answered(stack: RunningStack, tmp_path: Path) -> None:
    """Each route that was passed over, with the reason, is in the attempt's record, over the whole chain."""
    cloud = make_cloud(stack, llm_model="busy-first", llm_fallback="anthropic:gone-second,openai:third")
    fault(stack, kind="status", status=429, retry_after=30, model="busy-first", **{"for": 30})
    fault(stack, kind="status", status=404, model="gone-second", **{"for": 30})
    async with worker(cloud, tmp_path):
        job = await ended(cloud, accept(cloud, "hello"))
    assert (job.status, job.provider, job.model) == ("done", "openai", "third")
    (attempt,) = job.attempt_history
    assert attempt.switches is not None
    assert [text.partition(": ")[0] for text in attempt.switches] == ["openai busy-first", "anthropic gone-second"]
    assert attempt.switches[0] == "openai busy-first: rate_limited"


async def test_a_pause_that_the_provider_asks_for_is_kept(stack: RunningStack) -> None:
    """After a 429 with Retry-After no request reaches the provider until then, and the breaker does not count it."""
    llm = llm_of(stack, llm_model="busy")
    fault(stack, kind="status", status=429, retry_after=1, count=1, model="busy")
    for _ in range(3):
        with pytest.raises(ProviderError) as raised:
            await ask(llm)
        assert raised.value.kind == "rate_limited"
        assert raised.value.retry_after is not None
    assert len(requests(stack, "busy")) == 1
    assert llm.routes[0].breaker.errors == 0
    await eventually(lambda: llm.routes[0].cooldown == 0)
    assert (await ask(llm))[0]
    await llm.aclose()


@pytest.mark.parametrize(
    ("broken", "setting", "waits_for"),
    [
        ({"kind": "hang"}, "llm_first_token_seconds", "first token"),
        ({"kind": "slow", "factor": 100}, "llm_gap_seconds", "further token"),
    ],
)
async def test_each_wait_has_its_deadline(
    stack: RunningStack, broken: dict[str, Any], setting: str, waits_for: str
) -> None:
    """I7: a provider that never begins, or that stalls between two tokens, is given up at its deadline."""
    model = f"deadline-{broken['kind']}"
    llm = llm_of(stack, llm_model=model, llm_quick_retry_seconds=0, **{setting: 0.4})
    fault(stack, **broken, count=1, model=model)
    with pytest.raises(ProviderError, match=waits_for):
        await ask(llm)
    await llm.aclose()
    await eventually(lambda: requests(stack, model))


async def test_an_open_breaker_fails_the_job_at_once_and_says_so(stack: RunningStack, tmp_path: Path) -> None:
    """Ten jobs meet a provider that is down: the breaker opens, what comes next is a friendly failure without a call and
    without a dead letter; the worker's presence shows the open breaker.
    """  # noqa: D205
    cloud = make_cloud(stack, llm_model="outage", llm_breaker_open_seconds=20.0)
    fault(stack, kind="status", status=500, model="outage", **{"for": 30})
    async with worker(cloud, tmp_path):
        jobs = [accept(cloud, f"job {number}") for number in range(10)]
        await eventually(lambda: log_lines(tmp_path, "breaker open"))
        late = []
        for _ in range(5):
            late.append(accept(cloud, "the next"))
            failed = await ended(cloud, late[-1])
            assert (failed.status, failed.attempts) == ("failed", 1)
            assert failed.error["code"] == "llm_unavailable"
            assert failed.error["retryable"] is True
            assert 1 <= failed.error["retry_after"] <= 20
        for job in jobs:
            assert (await ended(cloud, job)).error["code"] == "llm_unavailable"
        lines = {line["job_id"]: line for line in log_lines(tmp_path, "job ended")}
        assert [lines[job.job_id]["llm_calls"] for job in late] == [0] * len(late)
    assert len(log_lines(tmp_path, "breaker open")) == 1
    assert not log_lines(tmp_path, "dead letter")


async def test_each_request_to_a_provider_is_told(stack: RunningStack) -> None:
    """A blip and its retry, a call of a tool and the round after it, a call that was broken off: one event each."""
    llm = llm_of(stack, llm_model="told")
    told: list[Any] = []
    telemetry.listen(told.append)
    ids = AttemptIds(job_id="job_test", conversation_id="cnv_test", traceparent=None, attempt=1, fence=1)

    async def calculate(**_: Any) -> str:
        raise ValueError

    tool = Tool("calculate", "", {"type": "object", "properties": {"expression": {"type": "string"}}}, calculate)
    try:
        fault(stack, kind="status", status=500, count=1, model="told")
        call = llm.call(job_id="job_test", attempt=1, told_as=ids)
        question = [ChatMessage("user", 'please [[tool:calculate {"expression": "6 * 7"}]]')]
        _ = [text async for text in call.stream(question, tools=[tool])]
        broken_off_call = llm.call(job_id="job_test", attempt=2, told_as=ids)
        async with aclosing(broken_off_call.stream(QUESTION)) as texts:  # type: ignore[type-var]
            await anext(texts)
        _ = [text async for text in llm.call(job_id="job_test", attempt=3).stream(QUESTION)]
        telemetry.flush(5)
    finally:
        telemetry.stop_listening(0)
        await llm.aclose()
    blip, asking, tool_called, answering, broken_off = told
    assert {event.job for event in told} == {ids}
    assert (blip.number, blip.error, blip.status, blip.first_piece_seconds) == (1, "unavailable", 500, None)
    assert (asking.number, asking.error, asking.tool_calls) == (2, None, 1)
    assert (tool_called.tool, tool_called.error) == ("calculate", "ValueError")
    assert (answering.number, answering.tool_calls, answering.provider, answering.model) == (3, 0, "openai", "told")
    assert call.usage is not None
    assert asking.output_tokens + answering.output_tokens == call.usage.output_tokens
    assert (broken_off.number, broken_off.error) == (1, "cancelled")
    assert broken_off.first_piece_seconds <= broken_off.seconds
