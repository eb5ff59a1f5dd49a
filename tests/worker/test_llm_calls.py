"""A call of the LLM, decided by what its provider sends: deadlines, fallback, what is made anew, and what it costs."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from cloudia.settings import Settings
from cloudia.worker import ChatMessage
from cloudia.worker.breaker import Breaker, Limits
from cloudia.worker.context import alternating, shortened
from cloudia.worker.failures import Fail, describe
from cloudia.worker.failures import decide as decided
from cloudia.worker.llm import Llm, LlmCall, Route
from cloudia.worker.providers.base import (
    Alive,
    ChatRequest,
    Finish,
    NoAnswerError,
    Piece,
    ProviderError,
    Thinking,
    ToolCall,
    Unsaid,
    Usage,
)
from tests.patience import HANGS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

Step: TypeAlias = Piece | float | ProviderError
"""A piece, a pause in seconds, or the end by an error."""
QUESTION = [ChatMessage("user", "well?")]
HELLO: list[Step] = ["Hello", Finish("stop"), Usage(9, 4)]
TIMES = {"llm_first_token_seconds": 0.4, "llm_gap_seconds": 0.4, "llm_first_text_seconds": 5.0}


class Scripted:
    """A provider that answers each request as its script says; the last one repeats."""

    def __init__(self, *scripts: Sequence[Step], name: str = "openai") -> None:
        self.name = name
        self.requests: list[ChatRequest] = []
        self._scripts = list(scripts)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece]:
        self.requests.append(request)
        for step in self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]:
            if isinstance(step, ProviderError):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                yield step

    def forget(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


def call_of(*providers: Scripted, **changes: Any) -> LlmCall:
    """Return a call of these providers, the first meant and the other to fall back to."""
    settings = Settings().changed(**{**TIMES, **changes})
    limits = Limits(5, 10.0, 30.0, 0.5)
    return Llm([Route(provider, "m", limits) for provider in providers], settings).call(job_id="job_1", attempt=1)


async def said(call: LlmCall, messages: Sequence[ChatMessage] = QUESTION) -> str:
    async with asyncio.timeout(HANGS):
        return "".join([text async for text in call.stream(messages)])


@pytest.mark.parametrize("sign", [Alive(), Thinking("hm"), Thinking()])
async def test_any_sign_of_life_keeps_a_call_alive(sign: Piece) -> None:
    """First token and gap count from the last sign; each is told to whoever listens."""
    call = call_of(Scripted([step for _ in range(6) for step in (sign, 0.1)] + HELLO))
    signs: list[Piece] = []
    call.on_sign = signs.append
    assert await said(call) == "Hello"
    assert signs[:6] == [sign] * 6


async def test_what_was_no_text_is_no_answer() -> None:
    """It is in no message of the next round, and alone it is no answer."""
    thought: list[Step] = ["Hm.", Unsaid("Hm.")]
    first: list[Step] = [*thought, ToolCall("call_1", "none", "{}"), Finish("tool_calls")]
    provider = Scripted(first, [*thought, *HELLO])
    call = call_of(provider)
    signs: list[Piece] = []
    call.on_sign = signs.append
    assert (await said(call)).endswith("Hello")
    assert signs.count(Unsaid("Hm.")) == 2
    assert [message.content for message in provider.requests[1].messages if message.role == "assistant"] == [""]
    with pytest.raises(NoAnswerError):
        await said(call_of(Scripted([*thought, Finish("stop")])))


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ([9.0], "llm.first_token_seconds"),
        ([Alive(), 9.0], "llm.gap_seconds"),
        (["Hel", 9.0], "llm.gap_seconds"),
        ([Alive(), 0.1] * 30, "llm.first_text_seconds"),
        ([Thinking(), 0.1] * 30, "llm.first_text_seconds"),
    ],
)
async def test_a_deadline_names_its_setting(script: list[Step], named: str) -> None:
    """I7: a provider that is silent, or alive without a word, is given up once; who reads it knows what to raise."""
    provider = Scripted(script)
    with pytest.raises(ProviderError) as raised:
        await said(call_of(provider, llm_first_text_seconds=1.0))
    assert named in describe(raised.value).hint
    assert len(provider.requests) == 1


async def test_the_usage_of_failed_requests_counts() -> None:
    """The last usage of each request, also of one that broke off or was left, and never the sum of what one told so far."""
    broken: list[Step] = [Alive(Usage(9, 1)), Alive(Usage(9, 2)), ProviderError("unavailable", "it broke")]
    call = call_of(Scripted(broken, HELLO))
    assert await said(call) == "Hello"
    assert (call.calls, call.usage, call.finish) == (2, Usage(18, 6), "stop")
    left = call_of(Scripted([Alive(Usage(9, 1)), "Hel", 9.0]))
    async with aclosing(left.stream(QUESTION)) as texts:  # type: ignore[type-var]
        await anext(texts)
    assert left.usage == Usage(9, 1)


async def test_a_429_goes_to_the_fallback_at_once() -> None:
    """The job that met it, and with an account that is empty likewise; without a fallback it is the job's failure."""
    for refusal in (
        ProviderError("rate_limited", "busy", retry_after=20),
        ProviderError("rate_limited", "busy"),
        ProviderError("rejected", "empty", cause="quota"),
        ProviderError("rejected", "gone", cause="model"),
        ProviderError("rejected", "no", cause="key"),
    ):
        first, second = Scripted([refusal]), Scripted(HELLO, name="anthropic")
        call = call_of(first, second)
        assert await said(call) == "Hello"
        assert (call.route.provider.name, call.calls) == ("anthropic", 2)
        assert call.switches == [f"openai m: {refusal.cause or refusal.kind}"]
        with pytest.raises(ProviderError):
            await said(call_of(Scripted([refusal])))


async def test_a_chain_is_followed_to_its_end() -> None:
    """Each route is asked once, the reasons are kept in their order; where the last one fails too, its failure counts."""
    busy, empty = ProviderError("rate_limited", "busy", retry_after=20), ProviderError("rejected", "no", cause="quota")
    routes = [Scripted([busy], name="one"), Scripted([empty], name="two"), Scripted(HELLO, name="three")]
    call = call_of(*routes)
    assert await said(call) == "Hello"
    assert (call.route.provider.name, call.calls) == ("three", 3)
    assert call.switches == ["one m: rate_limited", "two m: quota"]
    call = call_of(Scripted([busy], name="one"), Scripted([empty], name="two"))
    with pytest.raises(ProviderError) as raised:
        await said(call)
    assert (raised.value.cause, call.calls, call.switches) == ("quota", 2, ["one m: rate_limited"])


async def test_a_route_that_is_not_asked_is_passed_over_with_its_reason() -> None:
    """One whose provider asked for a pause, and one whose breaker is open; a call that meets neither has no switch."""
    paused, down, works = (Scripted(HELLO, name=name) for name in ("paused", "down", "works"))
    call = call_of(paused, down, works)
    first, second, third = call._routes
    first.cool_down(30)
    for _ in range(6):
        permit = second.breaker.enter()
        assert permit
        permit.fail()
    assert await said(call) == "Hello"
    assert (call.route, call.switches) == (third, ["paused m: paused", "down m: breaker_open"])
    assert paused.requests + down.requests == []
    plain = call_of(works)
    assert (await said(plain), plain.switches) == ("Hello", [])


async def test_what_was_asked_wrongly_is_no_fault_of_the_providers() -> None:
    """A refusal, before the first text or behind it, opens no breaker and is not paid twice."""
    scripts: list[list[Step]] = [
        [ProviderError("rejected", "no")],
        ["Hel", ProviderError("rejected", "no", cause="context")],
    ]
    for script in scripts:
        provider = Scripted(script)
        call = call_of(provider)
        with pytest.raises(ProviderError):
            await said(call)
        assert (call.route.breaker.errors, len(provider.requests)) == (0, 1)


async def test_a_refusal_that_was_learned_from_is_asked_again() -> None:
    """The adapter leaves a field out: the next request is another one, and counted."""
    refusal = ProviderError("rejected", "no", field="max_tokens")
    refusal.mended = True
    call = call_of(Scripted([refusal], HELLO))
    assert await said(call) == "Hello"
    assert (call.calls, call.route.breaker.errors) == (2, 0)


async def test_a_context_that_is_too_long_loses_its_oldest_turns() -> None:
    """About half of the text goes; the question stays. Where nothing can go, the failure says that it is too long."""
    chat = [ChatMessage(role, f"{role} {n} " + "x" * 100) for n in range(3) for role in ("user", "assistant")]
    refusal = ProviderError("rejected", "no", cause="context")
    provider = Scripted([refusal], HELLO)
    assert await said(call_of(provider), [*chat, *QUESTION]) == "Hello"
    sent = provider.requests[1].messages
    assert sent[-1] == QUESTION[0]
    assert (sent[0].role, len(sent)) == ("user", 3)
    with pytest.raises(ProviderError) as raised:
        await said(call_of(Scripted([refusal])))
    assert describe(raised.value).code == "llm_context_exceeded"
    assert shortened(QUESTION) is None


@pytest.mark.parametrize(
    ("finish", "code", "requests"),
    [
        ("stop", "llm_no_answer", 2),
        ("length", "llm_no_answer", 1),
        ("content_filter", "llm_content_refused", 1),
        ("refusal", "llm_content_refused", 1),
    ],
)
@pytest.mark.parametrize("blank", ["", "\n\n"])
async def test_an_answer_without_text_is_a_failure(finish: Any, code: str, requests: int, blank: str) -> None:
    """Never a silent `done`: one that just stopped is asked for once more, and no dead letter is written for it."""
    provider = Scripted([*([blank] if blank else []), Finish(finish), Usage(9, 0)])
    call = call_of(provider)
    with pytest.raises(NoAnswerError) as raised:
        await said(call)
    failure = describe(raised.value)
    assert (failure.code, len(provider.requests), call.finish) == (code, requests, finish)
    assert isinstance(decided(failure, attempt=1, max_attempts=5, random=lambda: 0.0), Fail)
    assert call.usage == Usage(9 * requests, 0)


async def test_a_finish_that_is_an_error_is_a_failure() -> None:
    """Half an answer that its provider ended by an error is no answer, and counts for the breaker."""
    call = call_of(Scripted(["Hel", Finish("error")]))
    with pytest.raises(ProviderError) as raised:
        await said(call)
    assert (raised.value.kind, call.finish, call.route.breaker.errors) == ("unavailable", "error", 1)


async def test_a_call_whose_arguments_were_cut_off_is_not_made() -> None:
    """Asking the same again would end the same: the failure names the limit."""
    call = call_of(Scripted([ToolCall("c", "add", '{"a": 1, "b"'), Finish("length")]))
    with pytest.raises(NoAnswerError, match=r"llm\.max_tokens"):
        await said(call)


def test_a_pause_that_is_too_long_is_told_at_once() -> None:
    """A `Retry-After` beyond the longest wait ends the job with how long it is; a shorter one is waited for."""
    failure = describe(ProviderError("rate_limited", "busy", retry_after=600))
    decision = decided(failure, attempt=1, max_attempts=5, random=lambda: 0.0, max_wait=60)
    assert isinstance(decision, Fail)
    assert "600 s" in decision.failure.hint
    short = describe(ProviderError("rate_limited", "busy", retry_after=60))
    assert not isinstance(decided(short, attempt=1, max_attempts=5, random=lambda: 0.0, max_wait=60), Fail)


def test_the_breaker_looks_at_the_share_too() -> None:
    """With one call in ten cut it stays closed, however many they are; where every call fails the sixth opens it."""
    breaker = Breaker("p m", Limits(5, 10.0, 30.0, 0.5), clock=lambda: 1.0)
    for number in range(200):
        permit = breaker.enter()
        assert permit
        permit.succeed()
        if number % 10 == 0:
            breaker.fail()
    assert (breaker.state, breaker.errors) == ("closed", 20)
    down = Breaker("p m", Limits(5, 10.0, 30.0, 0.5), clock=lambda: 1.0)
    for _ in range(6):
        assert down.state == "closed"
        permit = down.enter()
        assert permit
        permit.fail()
    assert down.state == "open"


def test_what_is_sent_alternates_and_is_never_blank() -> None:
    """Questions behind each other are one; blank messages are none; calls of tools and their results stay as they are."""
    call = ChatMessage("assistant", "", tool_calls=(ToolCall("c", "add", "{}"),))
    result = ChatMessage("tool", "", tool_call_id="c")
    chat = [
        ChatMessage("user", "a"),
        ChatMessage("assistant", " \n"),
        ChatMessage("user", "b"),
        call,
        result,
        *QUESTION,
    ]
    assert alternating(chat) == [ChatMessage("user", "a\n\nb"), call, result, *QUESTION]
