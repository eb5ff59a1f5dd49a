"""The pytest plugin, in suites of their own: inert until it is used, then a stack that nobody else sees, and nothing left."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.package.conftest import ROOT
from tests.patience import HANGS
from tests.support import RunningStack, clean_environment, eventually

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["pytester"]

_INI = """[pytest]
filterwarnings = error
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
"""

_INERT = """
import sys

import psutil

HEAVY = {"boto3", "botocore", "redis", "httpx2", "websockets", "openai", "anthropic"}


def test_nothing_was_imported():
    ours = {name for name in sys.modules if name.startswith("cloudia")}
    assert ours == {"cloudia", "cloudia.testing", "cloudia.testing.plugin"}
    assert not HEAVY & set(sys.modules)


def test_nothing_was_started():
    assert not psutil.Process().children()
"""

_SUITE = """
import asyncio
import os

import httpx2
import pytest

from cloudia.errors import InvalidRequestError, NotFoundError, TimedOutError, UsageError
from cloudia.testing import ChatClient, Reply, RunningStack, ScriptedLLM

USERS = set()


@pytest.fixture
def parrot(cloudia_client):
    return cloudia_client.ask("my parrot is called Humboldt")


def test_types(cloudia_stack, cloudia_client, cloudia_llm):
    assert isinstance(cloudia_stack, RunningStack)
    assert isinstance(cloudia_client, ChatClient)
    assert isinstance(cloudia_llm, ScriptedLLM)
    assert isinstance(cloudia_client.ask("hello"), Reply)


def test_not_the_stack_beside(cloudia_stack):
    assert cloudia_stack.api_url != os.environ["BESIDE"]
    assert cloudia_stack.run["state"] == "ready"
    assert cloudia_stack.run["project"] == os.environ["PROJECT"]


def test_a_script(cloudia_client, cloudia_llm):
    cloudia_llm.reply("one", times=2)
    cloudia_llm.reply("two")
    assert [cloudia_client.ask("?").text for _ in range(3)] == ["one", "one", "two"]
    assert [(request.outcome, request.attempt) for request in cloudia_llm.requests] == [("answered", 1)] * 3
    cloudia_llm.reply("nobody asks for this")
    cloudia_llm.fail(status=400, times=None)
    USERS.add(cloudia_client.user)


def test_a_case(cloudia_client, cloudia_llm):
    cloudia_llm.play("openai-401")
    assert cloudia_client.ask("?").status == "failed"
    cloudia_llm.play({"api": "openai", "turns": [{"exchanges": [{"status": 404}]}]}, times=2)
    assert [cloudia_client.ask("?").status for _ in range(3)] == ["failed", "failed", "done"]
    assert [request.outcome for request in cloudia_llm.requests] == ["played"] * 3 + ["answered"]
    assert cloudia_llm.requests[0].messages[-1]["content"] == "?"
    cloudia_llm.play("openai-401")


def test_nothing_is_left_of_the_script_before(cloudia_client, cloudia_llm):
    assert cloudia_llm.requests == []
    reply = cloudia_client.ask("hello")
    assert reply.status == "done"
    assert reply.text != "nobody asks for this"
    assert cloudia_client.user not in USERS


def test_what_the_llm_was_asked(cloudia_client, cloudia_llm):
    cloudia_llm.reply("Hello, Humboldt.")
    first = cloudia_client.ask("my parrot is called Humboldt")
    cloudia_client.ask("and now?", conversation_id=first.conversation_id)
    before, asked = cloudia_llm.requests
    assert asked.messages == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "my parrot is called Humboldt"},
        {"role": "assistant", "content": "Hello, Humboldt."},
        {"role": "user", "content": "and now?"},
    ]
    assert before.messages == asked.messages[:2]
    assert (asked.model, asked.tools, asked.body["stream"]) == ("gpt-5-mini", [], True)
    assert "Humboldt" not in repr(asked)
    assert hash(asked)


def test_the_tools_that_were_offered(cloudia_client, cloudia_llm):
    assert cloudia_client.ask('with tools [[tool:add {"a": 1}]]').status == "done"
    offered, answered = cloudia_llm.requests
    assert offered.tools == answered.tools == ["add"]
    assert offered.body["tools"][0]["function"]["description"] == "Add."
    assert answered.messages[-1] == {"role": "tool", "content": "2"}


def test_what_a_request_said_that_failed(cloudia_client, cloudia_llm):
    cloudia_llm.fail(status=400)
    cloudia_client.ask("refuse me")
    assert cloudia_llm.requests[-1].messages[-1]["content"] == "refuse me"


def test_what_is_not_kept_is_told(cloudia_stack, cloudia_llm):
    httpx2.post(f"{cloudia_stack.llm_url}/v1/messages", json={}, trust_env=False)
    (refused,) = cloudia_llm.requests
    with pytest.raises(NotFoundError, match="was not kept"):
        refused.messages


def test_failures_as_users_see_them(cloudia_client, cloudia_llm):
    cloudia_llm.fail()  # 500: the worker tries once more by itself
    cloudia_llm.reply("at last")
    reply = cloudia_client.ask("?")
    assert (reply.status, reply.text, reply.attempts) == ("done", "at last", 1)
    assert [request.outcome for request in cloudia_llm.requests] == ["status", "answered"]

    cloudia_llm.fail(status=400)
    refused = cloudia_client.ask("?")
    assert (refused.status, refused.error["code"]) == ("failed", "llm_rejected")


def test_many_failures_do_not_open_the_breaker_for_the_next(cloudia_client, cloudia_llm):
    cloudia_llm.fail(times=None)
    for _ in range(4):  # two requests each
        assert cloudia_client.ask("?").status == "dead_lettered"


def test_the_next(cloudia_client, cloudia_llm):
    cloudia_llm.reply("fine")
    assert cloudia_client.ask("?").text == "fine"


def test_what_a_test_leaves_unanswered(cloudia_client, cloudia_llm):
    cloudia_llm.fail("hang")
    with pytest.raises(TimedOutError, match="no answer within 3 s; the worker began 1 times") as raised:
        cloudia_client.ask("?", timeout=3)
    assert raised.value.__notes__[0].startswith("hint: ")


def test_takes_no_reply_of_the_next(cloudia_client, cloudia_llm):
    cloudia_llm.reply("mine")
    assert cloudia_client.ask("?").text == "mine"


def test_a_pace(cloudia_client, cloudia_llm):
    cloudia_llm.pace(tokens_per_second=20)
    cloudia_llm.reply("one two three four five six seven eight")
    reply = cloudia_client.ask("?")
    assert [event.type for event in reply.events].count("delta") > 1
    assert reply.events[-1].type == "done"


def test_a_refused_message(cloudia_client):
    with pytest.raises(InvalidRequestError, match="content is empty"):
        cloudia_client.ask("")


def test_a_script_that_is_refused(cloudia_llm):
    with pytest.raises(InvalidRequestError, match="status"):
        cloudia_llm.fail(status=200)
    with pytest.raises(InvalidRequestError, match="times"):
        cloudia_llm.reply("?", times=0)


def test_a_conversation_begun_in_a_fixture(parrot, cloudia_client):
    assert "Humboldt" in cloudia_client.ask("and now?", conversation_id=parrot.conversation_id).text


async def test_awaited(parrot, cloudia_client, cloudia_llm):
    replies = await asyncio.gather(*(cloudia_client.ask(f"{number}") for number in range(5)))
    assert {reply.status for reply in replies} == {"done"}
    cloudia_llm.reply("one")
    reply = await cloudia_client.ask("?", conversation_id=parrot.conversation_id)
    assert reply.text == "one"
    with pytest.raises(InvalidRequestError):
        await cloudia_client.ask("")
    forgotten = cloudia_client.ask("?")
    with pytest.raises(UsageError, match="not awaited"):
        forgotten.text


async def test_cloudias_own_client(cloudia_stack):
    async with cloudia_stack.client("ada") as client:
        assert [event.type async for event in client.ask("hello")][-1] == "done"


def test_that_fails(cloudia_client):
    assert cloudia_client.ask("bug").text == "no bug"


def test_that_fails_without_the_stack():
    raise AssertionError
"""

_BOT = """
from cloudia.worker import Tool


async def add(a):
    return str(a + 1)


ADD = Tool("add", "Add.", {"type": "object", "properties": {"a": {"type": "integer"}}}, add)


async def answer(turn):
    if "bug" in turn.messages[-1].content:
        raise ValueError("a bug of mine")
    tools = [ADD] if "tools" in turn.messages[-1].content else []
    async for text in turn.llm.stream(turn.messages, tools=tools):
        yield text
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder for a suite of its own, in an environment that configures nothing."""
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    pytester.makeini(_INI)
    return pytester


def supervisors(of: Path) -> list[psutil.Process]:
    """Return the supervisors whose state is under a folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "cloudia.testing.supervise" in command and command[-1].startswith(str(of)):
            found.append(process)
    return found


def test_inert(suite: pytest.Pytester) -> None:
    """A suite that uses no fixture of ours imports only the plugin, starts nothing, and finds nothing in its folder."""
    suite.makepyfile(test_inert=_INERT)
    suite.makefile(".toml", cloudia="[worker]\nresponder = 'nonsense'\n")
    ran = suite.runpytest_subprocess("-p", "no:cacheprovider")
    ran.assert_outcomes(passed=2)
    assert "cloudia-" in ran.stdout.str()  # pytest lists the plugin: it is there.
    assert not (suite.path / ".cloudia").exists()
    named = suite.runpytest_subprocess("--fixtures").stdout.str()
    assert "cloudia_client" in named
    assert "cloudia_llm" in named


def test_a_suite(suite: pytest.Pytester, stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the fixtures promise holds, for a project in whose folder a stack runs already, which is not touched."""
    before = (stack.folder / ".cloudia" / "run.json").read_text()
    monkeypatch.setenv("PYTHONPATH", str(suite.path))
    monkeypatch.setenv("BESIDE", stack.run["api_url"])
    monkeypatch.setenv("PROJECT", str(stack.folder))
    monkeypatch.setenv("CLOUDIA_API_PORT", stack.run["api_url"].rpartition(":")[2])  # It is taken.
    suite.makeini(
        f"{_INI}"
        f"cloudia_project = {stack.folder}\n"
        "cloudia_settings =\n"
        '    worker.responder = "bot:answer"\n'
        "    worker.max_attempts = 1\n"
        '    llm.model = "gpt-5-mini"\n'
        '    llm.system_prompt = "Be kind."\n'
    )
    suite.makepyfile(test_suite=_SUITE, bot=_BOT)
    ran = suite.runpytest_subprocess("-p", "no:cacheprovider", timeout=HANGS)
    ran.assert_outcomes(passed=20, failed=2)
    said = ran.stdout.str()
    failed, _, other = said.partition("test_that_fails_without_the_stack ___")
    assert "- cloudia logs -" in failed
    assert "job accepted  job_id=job_" in failed
    assert "ValueError: a bug of mine" in failed
    assert "dead letter" in failed
    assert "cloudia logs" not in other
    assert (stack.folder / ".cloudia" / "run.json").read_text() == before
    assert stack.json("send", "hello")["status"] == "done"
    assert not supervisors(suite.path)


@pytest.mark.long
def test_the_example(suite: pytest.Pytester) -> None:
    """The suite of `examples/tested` passes as it stands, and leaves nothing in its folder and nothing running."""
    folder = suite.path / "tested"
    shutil.copytree(ROOT / "examples" / "tested", folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    names = {path.name for path in folder.iterdir()}
    temporary = suite.path / "temporary"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={temporary}"],
        cwd=folder,
        env=clean_environment(PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "9 passed" in done.stdout
    assert {path.name for path in folder.iterdir()} == names
    assert not supervisors(temporary)
    assert (temporary / "cloudia0" / ".cloudia" / "logs" / "worker.log").is_file()


@pytest.mark.long
def test_a_stack_that_does_not_start(suite: pytest.Pytester) -> None:
    """Tests that need it fail with one sentence, a hint and the end of the logs; it is tried once; the others run."""
    suite.makefile(".toml", cloudia='[worker]\nresponder = "absent:answer"\n')
    suite.makepyfile(
        "def test_one(cloudia_client): pass\ndef test_two(cloudia_llm): pass\ndef test_three(): pass\n",
    )
    ran = suite.runpytest_subprocess(timeout=HANGS)
    ran.assert_outcomes(passed=1, errors=2)
    ran.stdout.fnmatch_lines(
        [
            "cloudia's stack did not start: worker does not start: the responder absent:answer cannot be loaded: *",
            "hint: Such as `async def answer(turn): *",
            "*worker failed  code=bad_responder *",
        ]
    )
    assert "Traceback" not in ran.stdout.str()
    assert "During handling" not in ran.stdout.str()
    assert not supervisors(suite.path)


@pytest.mark.long
@pytest.mark.parametrize(
    ("toml", "setting", "says"),
    [
        ("[up", "", "cloudia.toml is not TOML: "),
        ("", "worker.max_attempts", "cloudia_settings is not TOML: "),
        ("", "up.workerz = 0", "cloudia_settings: unknown setting up.workerz"),
    ],
)
def test_mistakes_in_the_settings(toml: str, setting: str, says: str, suite: pytest.Pytester) -> None:
    """A mistake in the settings is told in a sentence, before anything starts."""
    suite.makefile(".toml", cloudia=toml)
    suite.makepyfile("def test_one(cloudia_stack): pass\n")
    ran = suite.runpytest_subprocess("-o", f"cloudia_settings={setting}", timeout=HANGS)
    ran.assert_outcomes(errors=1)
    assert f"cloudia's stack did not start: {says}" in ran.stdout.str()
    assert "hint: " in ran.stdout.str()


@pytest.mark.long
def test_side_by_side(suite: pytest.Pytester) -> None:
    """With pytest-xdist each worker has a stack of its own, and none is left."""
    suite.makepyfile(
        """
        import os, pathlib

        def test_one(cloudia_stack, cloudia_client):
            assert cloudia_client.ask("hello").status == "done"
            pathlib.Path(os.environ["PYTEST_XDIST_WORKER"]).write_text(cloudia_stack.api_url)
        """
    )
    ran = suite.runpytest_subprocess("-n", "2", "--dist", "each", timeout=HANGS)
    ran.assert_outcomes(passed=2)
    assert (suite.path / "gw0").read_text() != (suite.path / "gw1").read_text()
    assert not supervisors(suite.path)


@pytest.mark.long
async def test_a_suite_that_is_killed(suite: pytest.Pytester) -> None:
    """When pytest is killed, its stack ends with it."""
    suite.makepyfile(
        """
        import json, pathlib, time

        def test_one(cloudia_stack):
            pathlib.Path("new").write_text(json.dumps(cloudia_stack.run))
            pathlib.Path("new").rename("run.json")
            time.sleep(60)
        """
    )
    noted = suite.path / "run.json"
    with (suite.path / "said").open("wb") as said:
        running = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "pytest",
            f"--basetemp={suite.path / 'temporary'}",
            cwd=suite.path,
            env=clean_environment(),
            stdout=said,
            stderr=said,
        )
    try:
        await eventually(noted.exists)
        run = json.loads(noted.read_text())
        processes = [psutil.Process(run["supervisor"]["pid"]), *map(psutil.Process, run["pids"].values())]
    finally:
        running.kill()
        await running.wait()
    assert len(processes) == 7
    await eventually(lambda: not any(process.is_running() for process in processes))
