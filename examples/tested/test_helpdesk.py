"""The help desk's tests: each message goes the whole way, from HTTP over the queue and the worker to the WebSocket."""

import asyncio

import httpx2
import pytest
from helpdesk import FOOTER, HOURS, TONE

from cloudia.errors import InvalidRequestError
from cloudia.testing import ChatClient, RunningStack, ScriptedLLM


def test_the_hours_need_no_llm(cloudia_client: ChatClient, cloudia_llm: ScriptedLLM) -> None:
    """Whoever asks for the hours gets them, and the LLM is left alone."""
    assert cloudia_client.ask("when are you open today").text == HOURS
    assert cloudia_llm.requests == []


def test_the_llm_answers_the_rest(cloudia_client: ChatClient, cloudia_llm: ScriptedLLM) -> None:
    """The LLM's answer comes with the way to a person."""
    cloudia_llm.reply("Turn it off and on again.")
    reply = cloudia_client.ask("my printer is stuck")
    assert reply.status == "done"
    assert reply.text == "Turn it off and on again." + FOOTER


def test_it_remembers(cloudia_client: ChatClient) -> None:
    """A conversation goes on: the LLM sees what was said before. Without a script, the simulated one makes up its answers."""
    first = cloudia_client.ask("my parrot is called Humboldt")
    second = cloudia_client.ask("and now?", conversation_id=first.conversation_id)
    assert "Humboldt" in second.text


def test_what_the_llm_is_asked(cloudia_client: ChatClient, cloudia_llm: ScriptedLLM) -> None:
    """The LLM gets the system prompt, what was said before, and the question in the tone of the help desk."""
    cloudia_llm.reply("On Friday.")
    first = cloudia_client.ask("when does it arrive?")
    cloudia_client.ask("and by express?", conversation_id=first.conversation_id)
    asked = cloudia_llm.requests[-1]
    assert asked.model == "sim-1"
    assert [message["role"] for message in asked.messages] == ["system", "user", "assistant", "user"]
    assert asked.messages[1:] == [
        {"role": "user", "content": "when does it arrive?"},
        {"role": "assistant", "content": "On Friday." + FOOTER},
        {"role": "user", "content": TONE + "and by express?"},
    ]


def test_a_busy_llm_is_asked_again(cloudia_client: ChatClient, cloudia_llm: ScriptedLLM) -> None:
    """A 429 is tried again after two seconds, and the customer gets one answer."""
    cloudia_llm.fail(status=429)
    cloudia_llm.reply("It is on its way.")
    reply = cloudia_client.ask("where is my order?")
    assert (reply.text, reply.attempts) == ("It is on its way." + FOOTER, 2)
    assert [request.outcome for request in cloudia_llm.requests] == ["status", "answered"]


def test_a_refusal_is_told(cloudia_client: ChatClient, cloudia_llm: ScriptedLLM) -> None:
    """What the LLM refuses is not tried again; the customer is told so."""
    cloudia_llm.fail(status=400)
    reply = cloudia_client.ask("…")
    assert reply.status == "failed"
    assert reply.error is not None
    assert reply.error["code"] == "llm_rejected"


def test_an_empty_message(cloudia_client: ChatClient) -> None:
    """What the HTTP API refuses is raised."""
    with pytest.raises(InvalidRequestError, match="content is empty"):
        cloudia_client.ask(" ")


def test_many_at_once(cloudia_client: ChatClient) -> None:
    """In async code the same client is awaited; so many can be asked at the same time."""

    async def ask_all() -> list[str]:
        replies = await asyncio.gather(*(cloudia_client.ask(f"are you open on day {day}") for day in range(10)))
        return [reply.text for reply in replies]

    assert asyncio.run(ask_all()) == [HOURS] * 10


def test_a_client_of_our_own(cloudia_stack: RunningStack, cloudia_client: ChatClient) -> None:
    """Anything that speaks HTTP can be tested: the stack has URLs, and tokens for whomever."""
    cloudia_client.ask("when are you open")
    headers = {"authorization": f"Bearer {cloudia_client.token}"}
    listed = httpx2.get(f"{cloudia_stack.api_url}/conversations", headers=headers, trust_env=False)
    assert len(listed.json()["conversations"]) == 1
