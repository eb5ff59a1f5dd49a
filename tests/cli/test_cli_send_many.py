"""`cloudia send` from stdin and from files, and many messages as JSON Lines."""

from __future__ import annotations

import itertools
import json
import secrets
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.cli import send
from cloudia.cli.input_text import Line, parse_lines
from cloudia.cli.send_many import lanes, worst
from cloudia.errors import (
    CloudiaError,
    DeadLetteredError,
    JobFailedError,
    LLMUnavailableError,
    NotFoundError,
    TimedOutError,
    UnauthorizedError,
    UsageError,
)
from cloudia.ids import conversation_id
from cloudia.protocol import PostMessage
from cloudia.settings import SETTINGS
from tests.cli.provider import fault, quick, reply
from tests.cli.terminal import CTRL_C, terminal
from tests.cli.test_cli_send import KEYS
from tests.patience import HANGS
from tests.support import CLI, RunningStack, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KEYS = {"line", *KEYS}


@pytest.fixture(autouse=True)
def _quick(request: pytest.FixtureRequest) -> Iterator[None]:
    if "stack" not in request.fixturenames:
        yield
        return
    with quick(request.getfixturevalue("stack").run):
        yield


def _user() -> str:
    return f"user-{secrets.token_hex(4)}"


def _send(stack: RunningStack, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run `send` in the stack's folder with `stdin` as its input."""
    return stack.cli("send", *arguments, stdin=stdin)


def _lines(*messages: Any) -> bytes:
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def _results(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


# --- one message ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["-"], ["--file", "-"]], ids=["nothing", "-", "--file -"])
def test_stdin(arguments: list[str], stack: RunningStack) -> None:
    """`echo hi | cloudia send` sends what it reads, without the last line end; a byte order mark is no part of it."""
    user = _user()
    reply(stack.run, "Read.")
    sent = _send(stack, *arguments, "--json", "--user", user, stdin="\ufeffhéllo\nthere\n".encode())
    assert sent.returncode == 0, sent.stderr
    told = json.loads(sent.stdout)
    assert told["reply"] == "Read."
    shown = stack.json("conversations", "show", told["conversation_id"], "--user", user)
    assert shown["messages"][0]["content"] == "héllo\nthere"


def test_a_file(stack: RunningStack, tmp_path: Path) -> None:
    """`--file` sends a file's text."""
    (tmp_path / "a file").write_text("from a file\n")
    reply(stack.run, "Read too.")
    sent = _send(stack, "--file", str(tmp_path / "a file"))
    assert (sent.returncode, sent.stdout) == (0, "Read too.\n")


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        ([], b"", "there is no text to send"),
        (["-"], b" \n", "there is no text to send"),
        ([], b"a\xffb", "stdin is not UTF-8: byte 1 is 0xff"),
        ([], b"x" * (1024 * 1024 + 1), "stdin has over 1 MB"),
        ([], b"x" * 40_000, "40000 bytes; 32768 are allowed"),
        (["--file", "/no/such"], b"", "/no/such cannot be read: No such file or directory"),
        (["--file", "/"], b"", "/ cannot be read: Is a directory"),
        (["--file", "/dev/zero"], b"", "/dev/zero has over 1 MB"),
        (["hello", "--file", "x"], b"", "exclude each other"),
        (["hello", "--jsonl", "-"], b"", "exclude each other"),
        (["hello", "--concurrency", "2"], b"", "--concurrency is for --jsonl"),
    ],
    ids=itertools.count(),
)
def test_what_cannot_be_sent(arguments: list[str], stdin: bytes, said: str, stack: RunningStack) -> None:
    """Nothing, too much, and what is not UTF-8 exits 2 with a sentence and a hint."""
    sent = _send(stack, *arguments, "--json", stdin=stdin)
    assert sent.returncode == 2
    assert sent.stdout == ""
    error = json.loads(sent.stderr)["error"]
    assert said in error["message"]
    assert error["hint"]


def test_an_argument_that_is_not_utf_8(stack: RunningStack) -> None:
    """Bytes on the command line that are not UTF-8 are refused too."""
    sent = subprocess.run(
        [*(part.encode() for part in CLI), b"send", b"a\xff"],
        cwd=stack.folder,
        env=clean_environment(),
        capture_output=True,
        timeout=HANGS,
        check=False,
    )
    assert sent.returncode == 2
    assert sent.stderr.startswith(b"error: the text is not UTF-8\nhint: ")


async def test_no_text_in_a_terminal(stack: RunningStack) -> None:
    """Where stdin is a terminal and nothing is given, `send` does not wait for input; `send -` does."""
    with terminal("send", folder=stack.folder) as shown:
        assert await shown.ends() == 2
        assert "there is no text to send" in shown.text
    reply(stack.run, "Typed.")
    with terminal("send", "-", folder=stack.folder) as shown:
        shown.type("typed here\n\x04")
        assert await shown.ends() == 0
        assert "Typed." in shown.text


# --- many -----------------------------------------------------------------------------------------------------------------


def test_many(stack: RunningStack, tmp_path: Path) -> None:
    """Each message is answered once and has one line of JSON, which names the line that it came from."""
    file = tmp_path / "messages.jsonl"
    file.write_bytes(_lines({"content": "one"}, "two") + b"\n" + _lines({"content": "four", "idempotency_key": "k4"}))
    sent = _send(stack, "--jsonl", str(file), "--user", _user())
    assert (sent.returncode, sent.stderr) == (0, "")
    results = _results(sent)
    assert all(set(result) == _KEYS for result in results)
    assert sorted(result["line"] for result in results) == [1, 2, 4]
    assert {result["status"] for result in results} == {"done"}
    said = {result["line"]: result["reply"] for result in results}
    assert "“one”" in said[1]
    assert "“two”" in said[2]
    assert "“four”" in said[4]
    assert len({result["conversation_id"] for result in results}) == 3


def test_the_order_in_which_they_end(stack: RunningStack) -> None:
    """A line is printed when its message has ended, so a short one is not held up by a long one before it."""
    with quick(stack.run, tps=100):
        sent = _send(
            stack, "--jsonl", "-", "--concurrency", "2", stdin=_lines("[[words:150]] long", "[[words:5]] short")
        )
    assert [result["line"] for result in _results(sent)] == [2, 1]


def test_one_conversation_keeps_its_order(stack: RunningStack) -> None:
    """Lines of one conversation are sent one after the other, however many may be under way (I3)."""
    user = _user()
    conversation = stack.json("send", "turn 1", "--user", user)["conversation_id"]
    mixed = [{"content": f"turn {number}", "conversation_id": conversation} for number in range(2, 6)]
    sent = _send(stack, "--jsonl", "-", "--concurrency", "16", "--user", user, stdin=_lines(mixed[0], "x", *mixed[1:]))
    assert sent.returncode == 0, sent.stderr
    replies = [result["reply"] for result in _results(sent) if result["conversation_id"] == conversation]
    assert [f"This is turn {number} of" in reply for number, reply in enumerate(replies, 2)] == [True] * 4

    sent = _send(stack, "--jsonl", "-", "-c", conversation, "--user", user, stdin=_lines("turn 6", "turn 7"))
    assert ["turn 6 of" in _results(sent)[0]["reply"], "turn 7 of" in _results(sent)[1]["reply"]] == [True, True]


def test_without_waiting(stack: RunningStack) -> None:
    """`--no-wait` prints a line for each as soon as it is accepted."""
    sent = _send(stack, "--jsonl", "-", "--no-wait", stdin=_lines("a", "b", "c"))
    assert sent.returncode == 0
    assert [(result["status"], result["job_id"][:4], result["reply"]) for result in _results(sent)] == [
        ("queued", "job_", None)
    ] * 3


def test_the_same_keys_again(stack: RunningStack) -> None:
    """A file with idempotency keys can be sent again: the same jobs and answers, no new ones, and without a wait (I2)."""
    user = _user()
    messages = _lines(*({"content": f"m{number}", "idempotency_key": f"key-{number}"} for number in range(3)))
    first, again = (_results(_send(stack, "--jsonl", "-", "--user", user, stdin=messages)) for _ in range(2))

    def facts(results: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        return sorted(
            (each["line"], each["job_id"], each["status"], each["reply"], each["attempts"]) for each in results
        )

    assert facts(first) == facts(again)
    assert max(result["timings"]["total_ms"] for result in again) < 4000
    assert len(stack.json("conversations", "list", "--user", user)["conversations"]) == 3


def test_bad_lines_are_refused_before_anything_is_sent(stack: RunningStack) -> None:
    """Bad lines are named by number, exit 2, and not even the good ones are sent."""
    user = _user()
    sent = _send(
        stack, "--jsonl", "-", "--json", "--user", user, stdin=_lines("good", "") + b"{\n" + _lines("good too")
    )
    assert (sent.returncode, sent.stdout) == (2, "")
    assert json.loads(sent.stderr)["error"]["message"] == "2 lines cannot be sent: 2, 3; line 2: content is empty"
    assert stack.json("conversations", "list", "--user", user)["conversations"] == []


def test_the_exit_code_is_the_worst(stack: RunningStack) -> None:
    """What fails has its error in its line, the rest goes on, and the exit code is that of the worst."""
    with fault(stack.run, "status", status=400, count=1):
        sent = _send(stack, "--jsonl", "-", "--concurrency", "1", "--json", stdin=_lines("refused", "fine"))
    assert sent.returncode == 1
    assert [(result["status"], bool(result["error"])) for result in _results(sent)] == [
        ("failed", True),
        ("done", False),
    ]
    error = json.loads(sent.stderr)["error"]
    assert error["code"] == "llm_rejected"
    assert error["message"].startswith("1 of 2 messages ended without an answer; line 1: ")

    unknown = {"content": "x", "conversation_id": conversation_id()}
    sent = _send(stack, "--jsonl", "-", stdin=_lines("fine", unknown))
    assert sent.returncode == 2
    assert {result["line"]: result["status"] for result in _results(sent)} == {1: "done", 2: "not_accepted"}

    with quick(stack.run, ttft=3):
        sent = _send(stack, "--jsonl", "-", "--timeout", "0.5", "--user", _user(), stdin=_lines("slow"))
    assert sent.returncode == 5
    (result,) = _results(sent)
    assert (result["status"], result["error"]["code"], result["job_id"][:4]) == ("timed_out", "timed_out", "job_")


def test_interrupted(stack: RunningStack) -> None:
    """Ctrl-C exits 130: what has ended is printed, what is under way too, with its job's id, and it goes on."""
    with quick(stack.run, ttft=0.01, tps=20):
        process = subprocess.Popen(
            [*CLI, "send", "--jsonl", "-", "--concurrency", "2"],
            cwd=stack.folder,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            assert process.stdin
            assert process.stdout
            process.stdin.write(_lines("[[words:3]] a", "[[words:60]] b", "[[words:60]] c", "d"))
            process.stdin.close()
            process.stdin = None
            first = json.loads(process.stdout.readline())
            assert (first["line"], first["status"]) == (1, "done")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=HANGS)
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == 130
    rest = [json.loads(line) for line in out.splitlines()]
    assert {result["line"]: result["status"] for result in rest} | {3: "interrupted"} == {
        2: "interrupted",
        3: "interrupted",
    }
    assert rest[0]["job_id"].startswith("job_")
    assert b"of 4 messages were not sent" in err
    assert b"Traceback" not in err


async def test_progress_in_a_terminal(stack: RunningStack, tmp_path: Path) -> None:
    """In a terminal a bar counts on stderr; it is gone in the end, and the lines are whole."""
    (tmp_path / "m.jsonl").write_bytes(_lines("a", "b", "c"))
    with terminal("send", "--jsonl", str(tmp_path / "m.jsonl"), "--no-wait", folder=stack.folder) as shown:
        assert await shown.ends() == 0
        assert "━" in shown.text
        assert "1/3" in shown.text
        assert shown.raw.endswith("\x1b[2K")
        lines = [line[line.index('{"line"') :] for line in shown.text.splitlines() if '{"line"' in line]
        assert sorted(json.loads(line)["line"] for line in lines) == [1, 2, 3]
    with terminal("--quiet", "send", "--jsonl", str(tmp_path / "m.jsonl"), "--no-wait", folder=stack.folder) as shown:
        assert await shown.ends() == 0
        assert "━" not in shown.text


async def test_interrupted_in_a_terminal(stack: RunningStack, tmp_path: Path) -> None:
    """Ctrl-C in a terminal takes the bar away and exits 130."""
    (tmp_path / "m.jsonl").write_bytes(_lines("[[words:60]] a"))
    with (
        quick(stack.run, ttft=0.01, tps=20),
        terminal("send", "--jsonl", str(tmp_path / "m.jsonl"), folder=stack.folder) as shown,
    ):
        await shown.shows("0/1")
        shown.type(CTRL_C)
        assert await shown.ends() == 130
        assert "Traceback" not in shown.text


# --- what is decided without a stack ----------------------------------------------------------------------------------------


def _parse(raw: bytes, **options: Any) -> list[Line]:
    return parse_lines(raw, **{"conversation_id": None, "content_bytes": 100, **options})


def test_lines() -> None:
    """A string is a message, empty lines are passed over, and lines keep the numbers that an editor shows."""
    found = _parse(b'\xef\xbb\xbf"one"\r\n\r\n{"content": "three"}')
    assert [(line.number, line.message.content) for line in found] == [(1, "one"), (3, "three")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"hello", "it is not JSON"),
        (b"[1]", "it is not a JSON object"),
        (b"{}", "content is empty"),
        (b'{"content": 4}', "content is not a string"),
        (b'{"content": "a", "model": "b"}', "it has an unknown field 'model'"),
        (b'{"content": "a", "conversation_id": "b"}', "conversation_id is not the id of a conversation"),
        (b'{"content": "a", "session_id": "b"}', "session_id cannot be given"),
        (b'{"content": "a", "idempotency_key": "k"}', "its idempotency_key is that of line 1"),
        (b'"\xff"', "it is not UTF-8"),
        (b'"\\ud800"', "content is not valid Unicode"),
        (b'"' + b"x" * 101 + b'"', "content has 101 bytes; 100 are allowed"),
        (b"[" * 100_000, "it is not JSON"),
    ],
    ids=itertools.count(),
)
def test_a_bad_line(line: bytes, said: str) -> None:
    """What is wrong with a line is said, with its number."""
    with pytest.raises(UsageError) as caught:
        _parse(b'{"content": "a", "idempotency_key": "k"}\n' + line)
    assert caught.value.message.startswith(f"line 2 cannot be sent: {said}")


def test_many_bad_lines() -> None:
    """Of many bad lines the first ten are named."""
    with pytest.raises(UsageError) as caught:
        _parse(b"{\n" * 5000)
    assert caught.value.message == "5000 lines cannot be sent: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …; line 1: it is not JSON"


def test_lanes() -> None:
    """Lines of a conversation share a lane, in their order; every other line has its own."""
    a, b = "cnv_a", "cnv_b"
    lines = [Line(number, PostMessage("x", cnv)) for number, cnv in enumerate([a, None, b, a, None, b], 1)]
    assert [[line.number for line in lane] for lane in lanes(lines)] == [[1, 4], [2], [3, 6], [5]]


def test_the_worst() -> None:
    """From mild to bad: LLM unavailable, timed out, failed, dead-lettered, refused, not allowed."""
    mild_to_bad: list[CloudiaError] = [
        LLMUnavailableError(""),
        TimedOutError(""),
        JobFailedError(""),
        DeadLetteredError(""),
        NotFoundError(""),
        UnauthorizedError(""),
    ]
    for number in range(len(mild_to_bad)):
        errors = dict(enumerate(mild_to_bad[: number + 1]))
        assert worst(errors) == (number, mild_to_bad[number])
    assert worst({7: TimedOutError(""), 3: (first := TimedOutError(""))}) == (3, first)


def test_the_largest_message() -> None:
    """What is taken for a stack elsewhere is the most that `limits.content_bytes` can be."""
    assert SETTINGS["limits_content_bytes"].high == send._MOST_CONTENT_BYTES
