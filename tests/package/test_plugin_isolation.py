"""The pytest plugin keeps tests apart: what one leaves behind never reaches the next, in whatever order they run."""

from __future__ import annotations

import pytest

from tests.package.test_pytest_plugin import suite, supervisors
from tests.patience import HANGS

pytest_plugins = ["pytester"]

__all__ = ["suite"]

_SHUFFLED = """
import os
import random


def pytest_collection_modifyitems(items):
    random.Random(os.environ["SEED"]).shuffle(items)
"""

_SUITE = """
import httpx2
import pytest

from cloudia.errors import TimedOutError


def hangs(client, llm, stack):
    llm.fail("hang")
    with pytest.raises(TimedOutError):
        client.ask("left", timeout=1)


def streams(client, llm, stack):
    llm.pace(tokens_per_second=1)
    llm.reply("one two three four five six seven eight nine ten")
    with pytest.raises(TimedOutError):
        client.ask("left", timeout=1)


def waits_to_be_tried_again(client, llm, stack):
    llm.fail(status=503, retry_after=20, times=None)
    with pytest.raises(TimedOutError):
        client.ask("left", timeout=1)


def waits_behind_another(client, llm, stack):
    begun = client.ask("hello")
    llm.fail("hang")
    for _ in range(2):
        with pytest.raises(TimedOutError):
            client.ask("left", conversation_id=begun.conversation_id, timeout=0.5)


def was_posted_by_hand(client, llm, stack):
    llm.fail("hang", times=None)
    for _ in range(3):
        httpx2.post(
            f"{stack.api_url}/messages",
            json={"content": "left"},
            headers={"authorization": f"Bearer {stack.token('ada')}"},
            trust_env=False,
        ).raise_for_status()


def has_no_time_at_all(client, llm, stack):
    client.ask("hello")  # It is connected.
    for _ in range(5):
        with pytest.raises(TimedOutError):
            client.ask("left", timeout=0.001)


WAYS = [hangs, streams, waits_to_be_tried_again, waits_behind_another, was_posted_by_hand, has_no_time_at_all]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_left(way, cloudia_client, cloudia_llm, cloudia_stack):
    assert cloudia_llm.requests == []
    cloudia_llm.reply("mine")
    assert cloudia_client.ask("hello").text == "mine"
    assert [(asked.messages[-1]["content"], asked.outcome) for asked in cloudia_llm.requests] == [("hello", "answered")]
    cloudia_llm.reset()
    way(cloudia_client, cloudia_llm, cloudia_stack)


@pytest.mark.parametrize("fault", [None, "hang"])
async def test_what_is_not_awaited(fault, cloudia_client, cloudia_llm):
    cloudia_llm.reply("mine")
    assert (await cloudia_client.ask("hello")).text == "mine"
    assert len(cloudia_llm.requests) == 1
    if fault:
        cloudia_llm.fail(fault, times=None)
    for _ in range(3):
        cloudia_client.ask("left")


async def test_cloudias_own_client(cloudia_stack, cloudia_client, cloudia_llm):
    assert cloudia_llm.requests == []
    cloudia_llm.reply("mine")
    assert (await cloudia_client.ask("hello")).text == "mine"
    async with cloudia_stack.client("ada") as client:
        await client.send("left")


def test_nothing_is_open_at_the_end_of_a_test(cloudia_stack, cloudia_client, cloudia_llm):
    cloudia_llm.fail("hang")
    with pytest.raises(TimedOutError):
        cloudia_client.ask("left", timeout=0.5)
    cloudia_stack.end_jobs()
    assert [asked.outcome for asked in cloudia_llm.requests] == ["hang"]
"""


_TAUGHT = """
import pytest


def finds_nothing(client, llm):
    llm.reply("mine")
    assert client.ask("hello").text == "mine"
    assert "stream_options" in llm.requests[-1].body


def pause(client, llm):
    finds_nothing(client, llm)
    llm.fail(status=429, retry_after=300)
    assert client.ask("hello").status == "failed"
    assert client.ask("hello").error["code"] == "llm_rate_limited"
    assert len(llm.requests) == 2


def breaker(client, llm):
    finds_nothing(client, llm)
    llm.fail(times=None)
    assert client.ask("hello").error["code"] == "llm_unavailable"


def field(client, llm):
    finds_nothing(client, llm)
    llm.play("openai-stream-options-refused")
    assert client.ask("hello").status == "done"
    client.ask("hello")
    assert "stream_options" not in llm.requests[-1].body


def reasoning(client, llm):
    told = []
    for _ in range(2):
        llm.reply("so this is what they ask\\n</think>\\nyes")
        told.append([event.data.get("reason") for event in client.ask("hello").events if event.type == "reset"])
    assert told == [["reasoning"], []]


@pytest.mark.parametrize("again", range(2))
@pytest.mark.parametrize("way", [pause, breaker, field, reasoning])
def test_what_the_worker_learned(way, again, cloudia_client, cloudia_llm):
    way(cloudia_client, cloudia_llm)
"""


@pytest.mark.long
def test_the_worker_forgets(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test taught the workers of the LLM never reaches the next: a pause, a breaker, a refused field, a template."""
    monkeypatch.setenv("SEED", "5")
    suite.makeconftest(_SHUFFLED)
    suite.makefile(".toml", cloudia="[llm]\nbreaker_errors = 1\n")
    suite.makepyfile(test_suite=_TAUGHT)
    ran = suite.runpytest_subprocess("-p", "no:cacheprovider", timeout=HANGS)
    ran.assert_outcomes(passed=8)
    assert not supervisors(suite.path)


def _run(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, seed: str, *options: str) -> None:
    monkeypatch.setenv("SEED", seed)
    suite.makeconftest(_SHUFFLED)
    suite.makepyfile(test_suite=_SUITE)
    ran = suite.runpytest_subprocess("-p", "no:cacheprovider", *options, timeout=HANGS)
    ran.assert_outcomes(passed=10)
    assert not supervisors(suite.path)


@pytest.mark.long
@pytest.mark.parametrize("seed", ["1", "2"])
def test_in_any_order(seed: str, suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test finds nothing of the one before, whatever that left: hanging, streaming, waiting, not awaited, by hand."""
    _run(suite, monkeypatch, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", ["3", "4"])
def test_side_by_side(seed: str, suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with pytest-xdist, whose workers have a stack each."""
    _run(suite, monkeypatch, seed, "-n", "2")
