"""The tests of app.py. Each message goes the whole way: HTTP, queue, worker, WebSocket; only the LLM is simulated."""

from cloudia.testing import ChatClient, ScriptedLLM


def test_help_needs_no_llm(cloudia_client: ChatClient, cloudia_llm: ScriptedLLM) -> None:
    """`/help` is answered by app.py alone."""
    assert "/help" in cloudia_client.ask("/help").text
    assert cloudia_llm.requests == []


def test_the_llm_answers(cloudia_client: ChatClient, cloudia_llm: ScriptedLLM) -> None:
    """Anything else is the LLM's to answer."""
    cloudia_llm.reply("Air scatters blue light most.")
    reply = cloudia_client.ask("Why is the sky blue?")
    assert reply.status == "done"
    assert reply.text == "Air scatters blue light most."


def test_a_busy_llm_is_asked_again(cloudia_client: ChatClient, cloudia_llm: ScriptedLLM) -> None:
    """A rate limit costs the user two seconds, not the answer."""
    cloudia_llm.fail(status=429)
    cloudia_llm.reply("Here I am.")
    reply = cloudia_client.ask("Are you there?")
    assert (reply.text, reply.attempts) == ("Here I am.", 2)
