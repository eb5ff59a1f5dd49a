"""`cloudia send` and `cloudia conversations`: a message, its answer, and what is kept of both."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.ids import conversation_id
from tests.cli.provider import fault, quick, reply
from tests.cli.terminal import CTRL_C, terminal
from tests.support import RunningStack, cli, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS = {
    "job_id",
    "conversation_id",
    "message_id",
    "status",
    "reply",
    "reply_message_id",
    "attempts",
    "provider",
    "model",
    "finish",
    "usage",
    "error",
    "timings",
}


@pytest.fixture(autouse=True)
def _quick(stack: RunningStack) -> Iterator[None]:
    with quick(stack.run):
        yield


def _user() -> str:
    """Return a user that no other test is."""
    return f"user-{secrets.token_hex(4)}"


def _error(stderr: str) -> dict[str, Any]:
    told = json.loads(stderr)
    assert set(told) == {"error"}
    assert set(told["error"]) == {"code", "message", "hint"}
    error: dict[str, Any] = told["error"]
    return error


def test_the_answer_goes_to_stdout(stack: RunningStack) -> None:
    """Piped, stdout is the answer and nothing else: its markdown as it came, no colour, one newline at its end."""
    text = "# A head\n\n[bold]kept[/bold] and `code`\n\n" + "a long line " * 30
    reply(stack.run, text)
    sent = stack.cli("send", "hello")
    assert (sent.returncode, sent.stdout, sent.stderr) == (0, text + "\n", "")


async def test_the_answer_streams(stack: RunningStack) -> None:
    """What has come is printed at once, while the rest is still being written."""
    with quick(stack.run, ttft=0.01, tps=10), terminal("send", "[[words:100]] stream", folder=stack.folder) as shown:
        await eventually(lambda: len(shown.text.split()) > 3)
        assert shown.process.poll() is None
        half = shown.text
        shown.type(CTRL_C)
        assert await shown.ends() == 130
        assert "Traceback" not in shown.text
        assert len(half.split()) < 50


async def test_send_in_a_terminal(stack: RunningStack) -> None:
    """In a terminal the answer is the same text, and nothing is drawn around it."""
    reply(stack.run, "The *whole* answer.")
    with terminal("send", "hello", folder=stack.folder) as shown:
        assert await shown.ends() == 0
        assert shown.raw == "The *whole* answer.\r\n"


def test_json(stack: RunningStack) -> None:
    """`--json` prints one document with the ids, the state, the reply, its cost and its times; stderr stays empty."""
    reply(stack.run, "Short.")
    sent = stack.cli("send", "hello", "--json")
    assert (sent.returncode, sent.stderr) == (0, "")
    assert sent.stdout.count("\n") == 1
    told = json.loads(sent.stdout)
    assert set(told) == KEYS
    assert (told["status"], told["reply"], told["attempts"], told["error"]) == ("done", "Short.", 1, None)
    assert set(told["usage"]) == {"input_tokens", "output_tokens"}
    assert set(told["timings"]) == {"accepted_ms", "first_token_ms", "total_ms"}


def test_a_conversation_goes_on(stack: RunningStack) -> None:
    """With `--conversation` the second answer shows that the LLM saw the first turn."""
    first = stack.json("send", "my parrot is called Humboldt", "--user", (user := _user()))
    second = stack.json("send", "and now?", "--conversation", first["conversation_id"], "--user", user)
    assert second["conversation_id"] == first["conversation_id"]
    assert "turn 2" in second["reply"]
    assert "Humboldt" in second["reply"]


async def test_no_wait(stack: RunningStack) -> None:
    """`--no-wait` prints the job id as soon as the message is accepted; the answer is recorded all the same."""
    user = _user()
    reply(stack.run, "Later.", "Later.")
    sent = stack.cli("send", "hello", "--no-wait", "--user", user)
    assert sent.returncode == 0
    assert sent.stdout.startswith("job_")
    assert sent.stdout.count("\n") == 1
    told = stack.json("send", "hello", "--no-wait", "--user", user)
    assert set(told) == {"job_id", "conversation_id", "message_id", "status"}
    assert told["status"] == "queued"

    def answered() -> bool:
        messages = stack.json("conversations", "show", told["conversation_id"], "--user", user)["messages"]
        return [message["content"] for message in messages] == ["hello", "Later."]

    await eventually(answered, every=0.2)


def test_timeout(stack: RunningStack) -> None:
    """A wait that is over exits 5 and names the job, which goes on."""
    with quick(stack.run, ttft=3):
        sent = stack.cli("send", "hello", "--timeout", "0.8", "--json", "--user", _user())
        assert sent.returncode == 5
        assert sent.stdout == ""
        error = _error(sent.stderr)
        assert error["code"] == "timed_out"
        assert "no answer within 0.8 s" in error["message"]
        assert "job_" in error["message"]


def test_an_unknown_conversation(stack: RunningStack) -> None:
    """A conversation that does not exist, or belongs to another user, exits 2 alike and says what to do."""
    foreign = stack.json("send", "mine", "--no-wait", "--user", _user())["conversation_id"]
    hints = set()
    for conversation in (conversation_id(), foreign):
        sent = stack.cli("send", "hello", "--conversation", conversation, "--json", "--user", _user())
        assert sent.returncode == 2
        assert sent.stdout == ""
        error = _error(sent.stderr)
        assert error["hint"]
        hints.add((error["code"], error["message"], error["hint"]))
    assert len(hints) == 1


@pytest.mark.parametrize("text", ["", "x" * 40_000], ids=["empty", "too long"])
def test_a_message_that_cannot_be_one(text: str, stack: RunningStack) -> None:
    """An empty message and one over the limit are refused with exit 2."""
    sent = stack.cli("send", text)
    assert sent.returncode == 2
    assert sent.stdout == ""
    assert sent.stderr.startswith("error: ")


@pytest.mark.parametrize("arguments", [["send", "hello"], ["send", "hello", "--no-wait"], ["conversations", "list"]])
def test_a_wrong_token(arguments: list[str], stack: RunningStack) -> None:
    """A token that is not ours, or has expired, exits 4; it is not printed."""
    for token in ("no-token-at-all", stack.token(seconds=-60)):
        refused = stack.cli(*arguments, "--json", CLOUDIA_TOKEN=token)
        assert refused.returncode == 4, refused.stderr
        assert refused.stdout == ""
        assert _error(refused.stderr)["message"].startswith("the token ")
        assert token not in refused.stderr


def test_a_job_that_fails(stack: RunningStack) -> None:
    """An answer that the LLM refuses exits 1 with the friendly error; `--json` prints the job's end all the same."""
    with fault(stack.run, "status", status=400, count=1):
        sent = stack.cli("send", "hello")
    assert sent.returncode == 1
    assert sent.stdout == ""
    assert sent.stderr.startswith("error: The LLM refused this request.\n")
    assert "hint: " in sent.stderr
    with fault(stack.run, "status", status=400, count=1):
        sent = stack.cli("send", "hello", "--json")
    assert sent.returncode == 1
    told = json.loads(sent.stdout)
    assert set(told) == KEYS
    assert told["status"] == "failed"
    assert told["error"]["code"] == "llm_rejected"
    assert _error(sent.stderr)["code"] == "llm_rejected"


def test_an_answer_that_begins_anew(stack: RunningStack) -> None:
    """Through a pipe only the answer that counts is printed, once and whole; what a retry made void is not."""
    with fault(stack.run, "cut", after_tokens=3, count=1):
        sent = stack.cli("send", "hello anew [[words:40]]")
    assert sent.returncode == 0
    assert sent.stdout.startswith("## ")
    assert sent.stdout.count("## ") == 1
    assert sent.stdout.count("This is turn 1") == 1


def test_a_stack_elsewhere(stack: RunningStack, tmp_path: Path) -> None:
    """With its URLs and a token, a stack is talked to from any folder; a part of them alone is a usage error."""
    reply(stack.run, "From afar.")
    where = {"CLOUDIA_API_URL": stack.run["api_url"], "CLOUDIA_WEBSOCKET_URL": stack.run["websocket_url"]}
    sent = cli("send", "hello", folder=tmp_path, environment={**where, "CLOUDIA_TOKEN": stack.token()})
    assert (sent.returncode, sent.stdout) == (0, "From afar.\n")
    refused = cli("send", "hello", folder=tmp_path, environment=where)
    assert refused.returncode == 2
    assert "CLOUDIA_TOKEN" in refused.stderr


def test_nobody_answers_there(tmp_path: Path) -> None:
    """A URL where nothing listens exits 5 or 1 with a sentence, and within the deadline."""
    where = {
        "CLOUDIA_API_URL": "http://127.0.0.1:9",
        "CLOUDIA_WEBSOCKET_URL": "ws://127.0.0.1:9",
        "CLOUDIA_TOKEN": "x",
    }
    refused = cli("send", "hello", "--timeout", "1", folder=tmp_path, environment=where)
    assert refused.returncode == 5
    refused = cli("send", "hello", "--no-wait", folder=tmp_path, environment=where)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: the HTTP API cannot be reached\nhint: ")


# --- conversations --------------------------------------------------------------------------------------------------------


def test_list_and_show(stack: RunningStack) -> None:
    """A user's conversations are listed, the last written first, and a conversation is shown oldest message first."""
    user = _user()
    reply(stack.run, "One.", "Two.", "Three.")
    old = stack.json("send", "the old one", "--user", user)["conversation_id"]
    new = stack.json("send", "the new one", "--user", user)["conversation_id"]
    page = stack.json("conversations", "list", "--user", user)
    assert [entry["conversation_id"] for entry in page["conversations"]] == [new, old]
    assert page["next_cursor"] is None
    stack.json("send", "the old one again", "--conversation", old, "--user", user)
    page = stack.json("conversations", "list", "--user", user)
    assert [entry["conversation_id"] for entry in page["conversations"]] == [old, new]
    page = stack.json("conversations", "show", old, "--user", user)
    assert [(message["role"], message["content"]) for message in page["messages"]] == [
        ("user", "the old one"),
        ("assistant", "One."),
        ("user", "the old one again"),
        ("assistant", "Three."),
    ]

    listed = stack.cli("conversations", "list", "--user", user)
    assert listed.returncode == 0
    assert listed.stdout.index(old) < listed.stdout.index(new)
    assert "the old one" in listed.stdout
    shown = stack.cli("conversations", "show", old, "--user", user)
    assert shown.returncode == 0
    assert "\x1b" not in listed.stdout + shown.stdout
    assert shown.stdout.index("the old one") < shown.stdout.index("One.") < shown.stdout.index("Three.")


def test_pages(stack: RunningStack) -> None:
    """`--limit` cuts a list into pages that `--cursor` walks without a gap; a cursor that is none exits 2."""
    user = _user()
    reply(stack.run, *["Yes."] * 3)
    sent = [stack.json("send", f"number {number}", "--user", user)["conversation_id"] for number in range(3)]
    found: list[str] = []
    cursor: list[str] = []
    for _ in range(3):
        page = stack.json("conversations", "list", "--user", user, "--limit", "1", *cursor)
        found += [entry["conversation_id"] for entry in page["conversations"]]
        cursor = ["--cursor", page["next_cursor"] or ""]
    assert found == sent[::-1]

    first = stack.json("conversations", "show", sent[0], "--user", user, "--limit", "1")
    rest = stack.json("conversations", "show", sent[0], "--user", user, "--cursor", first["next_cursor"])
    assert [message["content"] for message in first["messages"] + rest["messages"]] == ["number 0", "Yes."]

    refused = stack.cli("conversations", "list", "--cursor", "nonsense", "--json")
    assert refused.returncode == 2
    assert _error(refused.stderr)["hint"]


def test_the_conversations_of_others(stack: RunningStack) -> None:
    """Another user's conversation cannot be told from one that does not exist (I5)."""
    mine = stack.json("send", "mine", "--no-wait", "--user", _user())["conversation_id"]
    told = []
    for conversation in (mine, conversation_id()):
        refused = stack.cli("conversations", "show", conversation, "--json", "--user", _user())
        assert refused.returncode == 2
        told.append(_error(refused.stderr))
    assert told[0] == told[1]
    assert stack.json("conversations", "list", "--user", _user())["conversations"] == []


def test_a_failed_turn_is_shown(stack: RunningStack) -> None:
    """A turn that failed stays in the conversation, with the reason."""
    user = _user()
    with fault(stack.run, "status", status=400, count=1):
        sent = json.loads(stack.cli("send", "hello", "--json", "--user", user).stdout)
    shown = stack.cli("conversations", "show", sent["conversation_id"], "--user", user)
    assert "failed: The LLM refused this request." in shown.stdout


async def test_conversations_in_a_terminal(stack: RunningStack) -> None:
    """In a terminal messages are headed in colour, and what a message or a title says is never read as markup."""
    user = _user()
    reply(stack.run, "It says [red]stop[/red].")
    sent = stack.json("send", "[bold]what?[/nothing]", "--user", user)
    with terminal("conversations", "show", sent["conversation_id"], "--user", user, folder=stack.folder) as shown:
        assert await shown.ends() == 0
        assert shown.coloured
        assert "[bold]what?[/nothing]" in shown.text
        assert "It says [red]stop[/red]." in shown.text
    with terminal("conversations", "list", "--user", user, folder=stack.folder, NO_COLOR="1") as shown:
        assert await shown.ends() == 0
        assert not shown.coloured
        assert "[bold]what?[/nothing]" in shown.text
