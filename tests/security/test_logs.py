"""I6: no secret and no message text in logs, in errors, or in the environment of a part that does not need it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import secrets
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloudia import errors
from cloudia.errors import PartError, UnavailableError
from cloudia.local.environments import of_reader
from cloudia.passwords import MASK, names_secret, passwords_in, without_password, without_secrets
from cloudia.settings import SETTINGS, Layer, Reader, Settings, resolve, secrets_in
from cloudia.sim.engines import ministack
from cloudia.sim.redis_server import check_redis
from cloudia.telemetry import configure_logs, keep_secrets, log, scrubber
from cloudia.telemetry.scrubber import scrubbed
from tests.patience import HANGS
from tests.support import RunningStack, start_stack, stop_stack

PROMPT = f"prompt-{secrets.token_hex(8)}"
"""Text of a message. It is made anew each time, so that it stands in no file."""
KEY = f"sk-{secrets.token_urlsafe(24)}"


class Logs:
    """The logs of this process as a part writes them: `configure`, then `lines`."""

    def __init__(self) -> None:
        self.text = io.StringIO()

    def configure(self, **options: Any) -> None:
        with redirect_stderr(self.text):
            configure_logs("test", "debug", **options)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.getvalue().split("\n")[:-1]]


@pytest.fixture
def logs() -> Iterator[Logs]:
    """The logs of a part; afterwards this process is as it was."""
    root, ours = logging.getLogger(), logging.getLogger("cloudia")
    before = root.handlers[:], root.level, ours.level
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning
    known, pattern = set(scrubber._known), scrubber._pattern
    made = Logs()
    made.configure()
    yield made
    root.handlers[:], level, our_level = before
    root.setLevel(level)
    ours.setLevel(our_level)
    sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning = hooks
    scrubber._known.clear()
    scrubber._known.update(known)
    scrubber._pattern = pattern


# --- exceptions ------------------------------------------------------------------------------------------------------


def raise_from() -> None:
    """Raise an exception that quotes a prompt, from one that does so too."""
    try:
        json.loads(f"{PROMPT}")
    except ValueError as error:
        raise RuntimeError(f"cannot read {PROMPT}") from error


def test_an_exception_is_type_and_place(logs: Logs) -> None:
    """Both exceptions of `raise X from e` are told by type, file and line; no message and no line of source."""
    with pytest.raises(RuntimeError) as raised:
        raise_from()
    log("failed", exc_info=raised.value)
    (line,) = logs.lines()
    cause, last = line["exception"].splitlines()
    assert cause.startswith("json.decoder.JSONDecodeError at ")
    assert "decoder.py:" in cause
    assert last.startswith(f"RuntimeError at {__file__}:")
    assert " in raise_from, " in last
    assert PROMPT not in logs.text.getvalue()
    assert "cannot read" not in logs.text.getvalue()


def test_an_exception_while_another_was_handled_is_told_with_it(logs: Logs) -> None:
    """What Python shows as `During handling of the above` is there; what `from None` hides is not."""
    for hides in (False, True):
        try:
            try:
                os.environ[PROMPT]
            except KeyError:
                if hides:
                    raise ValueError(PROMPT) from None
                raise ValueError(PROMPT)  # noqa: B904 - that is the case
        except ValueError as error:
            log("failed", exc_info=error)
    shown, hidden = (line["exception"] for line in logs.lines())
    assert [line.partition(" at ")[0] for line in shown.splitlines()] == ["KeyError", "ValueError"]
    assert [line.partition(" at ")[0] for line in hidden.splitlines()] == ["ValueError"]


def test_a_group_is_told_by_its_members(logs: Logs) -> None:
    """Each exception of a group is told by its type; a chain that goes in a circle ends, and a long one is bounded."""
    circle = ValueError(PROMPT)
    circle.__cause__ = circle
    log("failed", exc_info=ExceptionGroup(PROMPT, [circle, OSError(5, PROMPT)]))
    error = ValueError(PROMPT)
    for _ in range(5_000):
        before, error = error, ValueError(PROMPT)
        error.__cause__ = before
    log("failed", exc_info=error)
    grouped, long = (line["exception"] for line in logs.lines())
    assert grouped.splitlines() == ["  ValueError", "  OSError", "ExceptionGroup"]
    assert len(long.splitlines()) < 20
    assert PROMPT not in logs.text.getvalue()


def test_tracebacks_are_shown_where_they_are_asked_for(logs: Logs) -> None:
    """With `log.tracebacks` messages are there, and keys are not."""
    logs.configure(tracebacks=True, secrets=[KEY])
    log("failed", exc_info=RuntimeError(f"{PROMPT} {KEY}"))
    logging.getLogger("library").warning("%s", PROMPT)
    failed, library = logs.lines()
    assert failed["exception"].endswith(f"RuntimeError: {PROMPT} {MASK}")
    assert library["event"] == PROMPT


def test_an_exception_as_a_field_is_its_type(logs: Logs) -> None:
    """Whoever logs an error as a field tells no more of it than in its place."""
    log("failed", error=ValueError(PROMPT), inner=[OSError(PROMPT)])
    (line,) = logs.lines()
    assert (line["error"], line["inner"]) == ("ValueError", ["OSError"])


# --- libraries -------------------------------------------------------------------------------------------------------


def test_of_a_library_stands_what_is_in_its_code(logs: Logs) -> None:
    """Its text as it stands in the code that logs it; not what is filled in, nor a text that was made."""
    library = logging.getLogger("some.library")
    library.warning("the request %s failed after %d tries", PROMPT, 3)
    library.warning(f"the request {PROMPT} failed")
    library.error("closed", exc_info=ValueError(PROMPT), stack_info=True, extra={"fields": {"prompt": PROMPT}})
    library.warning(ValueError(PROMPT))
    template, made, closed, odd = logs.lines()
    assert template["event"] == "the request %s failed after %d tries"
    assert template["at"].startswith(f"{__file__}:")
    assert "not shown" in made["event"]
    assert "not shown" in odd["event"]
    assert (closed["event"], closed["exception"]) == ("closed", "ValueError")
    assert PROMPT not in logs.text.getvalue()


async def test_asyncio_quotes_no_exception(logs: Logs) -> None:
    """`Task exception was never retrieved` is told; the exception by its type, and the task not at all."""

    async def fail() -> None:
        raise RuntimeError(PROMPT)

    task = asyncio.create_task(fail(), name=PROMPT)
    await asyncio.wait({task})
    del task
    (line,) = logs.lines()
    assert line["event"] == "Task exception was never retrieved"
    assert line["exception"].startswith("RuntimeError at ")
    assert PROMPT not in logs.text.getvalue()


LAST_WORDS = {
    "main": "raise RuntimeError(prompt)",
    "thread": "t = threading.Thread(target=lambda: int(prompt)); t.start(); t.join()",
    "unraisable": "class A:\n def __del__(self): raise RuntimeError(prompt)\nA()",
    "task": "async def f(): asyncio.create_task(g()); await asyncio.sleep(0.01)\nasync def g(): raise RuntimeError(prompt)\n"
    "asyncio.run(f())",
    "warning": "warnings.simplefilter('always'); warnings.warn(prompt)",
    "boto": "import boto3; boto3.client('sqs', endpoint_url=prompt, region_name='x')",
}


@pytest.mark.parametrize("words", LAST_WORDS.values(), ids=LAST_WORDS)
def test_the_interpreters_last_words_are_a_line(words: str) -> None:
    """What nobody catches, in the main thread, another, a destructor or a task, is one JSON line without its message."""
    code = (
        "import asyncio, sys, threading, warnings\nfrom cloudia.telemetry import configure_logs\nconfigure_logs('test')\n"
        f"prompt = sys.argv[1]\n{words}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, PROMPT], capture_output=True, text=True, timeout=HANGS, check=False
    )
    assert PROMPT not in done.stderr + done.stdout
    (line,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert line["level"] in {"error", "warning"}
    assert line.get("exception") or line["category"] == "UserWarning"


# --- secrets by value ------------------------------------------------------------------------------------------------

SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=6, max_size=40)


def unfolded(value: str) -> set[str]:
    """Return a secret as it may stand in a text."""
    return {value, quote(value, safe=""), quote(value), quote_plus(value), json.dumps(value)[1:-1], repr(value)[1:-1]}


@given(SECRETS, st.text(max_size=20), st.text(max_size=20))
@example('quote"back\\slash/ä\n', "", "")
@example("n12345", "\n12345", "\\")
def test_a_secret_is_in_no_line(secret: str, before: str, after: str) -> None:
    """In whatever form it stands, by itself or in a longer text; the line is JSON still, and nothing else is gone."""
    if MASK in secret or secret in MASK:
        return
    keep_secrets([secret])
    try:
        for form in unfolded(secret):
            text = f"{before}{form}{after}"
            inner = json.dumps({"text": text})
            document = json.loads(scrubbed(json.dumps({"a": text, "b": [inner], "n": 1.5}, ensure_ascii=False)))
            assert secret not in document["a"]
            assert form not in document["a"]
            assert MASK in document["a"]
            assert MASK in document["b"][0]
            assert document["n"] == 1.5
    finally:
        scrubber._known.clear()
        scrubber._pattern = None


def test_what_the_process_was_given_is_kept_out(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that are secret, passwords of URLs, and what the environment's names call a secret."""
    password = f"p/w:{secrets.token_hex(6)}"
    monkeypatch.setenv("SOME_API_KEY", "env-" + KEY)
    monkeypatch.setenv("DATABASE_URL", f"postgres://me:db-{KEY}@host/db")
    settings = Settings(redis_url=f"redis://:{quote(password, safe='')}@host:6379/0", auth_token="own-" + KEY)
    logs.configure(secrets=secrets_in(settings.changed(openai_api_key="openai-" + KEY)))
    texts = [f"{prefix}-{KEY}" for prefix in ("env", "db", "own", "openai")] + [password, quote(password, safe="")]
    for text in texts:
        log("said", text=f"<{text}>", of={"deep": [text]})
    for line in logs.lines():
        assert line["text"] == f"<{MASK}>"
        assert line["of"] == {"deep": [MASK]}


def test_a_parameter_is_kept_out_once_it_was_read(logs: Logs) -> None:
    """What SSM holds is in no line from then on."""
    from cloudia.cloud.parameters import Parameters  # noqa: PLC0415
    from cloudia.stack import Stack  # noqa: PLC0415

    class Ssm:
        def get_parameter(self, **_: Any) -> dict[str, Any]:
            return {"Parameter": {"Value": KEY}}

    log("before", text=KEY)
    assert Parameters(Ssm()).get(Stack("s").token_secret) == KEY  # type: ignore[arg-type]
    log("after", text=KEY)
    assert [line["text"] for line in logs.lines()] == [KEY, MASK]


def test_scrubbing_is_cheap(logs: Logs) -> None:
    """A line of usual length and a dozen secrets: well below what writing it costs."""
    keep_secrets(secrets.token_urlsafe(32) for _ in range(12))
    line = json.dumps(
        {"event": "job ended", "job_id": "job_01m831ajrm0svfe3dkpzst9jfx", "trace_id": "a" * 32, "more": "x" * 250}
    )
    best = min(_seconds(lambda: [scrubbed(line) for _ in range(200)]) for _ in range(5)) / 200
    assert best < 100e-6


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# --- passwords of URLs -----------------------------------------------------------------------------------------------

PASSWORDS = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_categories=["Cs", "Zs", "Zl", "Zp", "Cc"]),
    min_size=1,
    max_size=30,
)


@given(PASSWORDS, st.sampled_from(["", "me", "default"]), st.booleans(), st.sampled_from(["", "/0", "/0?protocol=2"]))
@example("p@ss", "", False, "/0")
@example("a/b?c#d@e:f", "me", False, "/0")
@example("/", "", False, "")
@example("x?password=@", "", False, "/0")
def test_no_password_of_a_url_is_shown(password: str, user: str, encoded: bool, tail: str) -> None:
    """Whatever it holds, encoded or not, with a user or without: what is shown has a mask in its place."""
    marked = f"<{password}>"  # So that it is not by chance a part of the rest.
    inside = quote(marked, safe="") if encoded else marked
    shown = without_password(f"redis://{user}:{inside}@host:6379{tail}")
    assert marked not in shown
    assert inside not in shown
    assert "<" not in shown
    assert ">" not in shown
    assert MASK in shown
    if encoded:
        assert shown == f"redis://{user}:{MASK}@host:6379{tail}"


@given(PASSWORDS, st.sampled_from(["password", "PASSWORD", "ssl_password", "auth", "api_key", "token"]), st.booleans())
@example("p@ss&w=o#r?d", "password", False)
def test_no_password_in_a_query_is_shown(password: str, name: str, encoded: bool) -> None:
    """Redis takes a password there too: `?password=`."""
    marked = f"<{password}>"
    inside = quote(marked, safe="") if encoded else marked
    for url in (f"redis://host:6379/0?db=1&{name}={inside}", f"redis://host/0?{name}={inside}&db=1"):
        shown = without_password(url)
        assert "<" not in shown
        assert ">" not in shown
        assert inside not in shown
        assert MASK in shown


@pytest.mark.parametrize(
    "text",
    [
        "redis://127.0.0.1:6379/0", "rediss://me@host/0", "http://[::1]:4566", "https://api.example.com/v1?version=3", "",
        "You are a bot. Say me@example.com: hello", "See https://example.com/@me.", "unix:///run/redis.sock?db=1",
    ],
)  # fmt: skip
def test_what_has_no_password_is_shown_as_it_is(text: str) -> None:
    """A URL without one, and text that is none."""
    assert without_password(text) == text
    assert list(passwords_in(text)) == []


@given(PASSWORDS)
def test_config_shows_no_password(password: str) -> None:
    """`cloudia config` prints these rows."""
    marked = f"<{password}>"
    for url in (f"redis://:{marked}@host", f"redis://host/0?password={quote(marked, safe='')}"):
        rows = {row["name"]: row["value"] for row in resolve(Layer("flag", {"redis_url": url})).rows()}
        assert "<" not in rows["redis.url"]
        assert MASK in rows["redis.url"]


@pytest.mark.parametrize(
    "url", ["redis://:p<w>@127.0.0.1:9/0", "redis://me:p%3Cw%3E@127.0.0.1:9", "redis://127.0.0.1:9/0?password=p<w>"]
)
async def test_a_redis_that_does_not_answer_is_named_without_its_password(url: str) -> None:
    """The error says where, and not with what."""
    with pytest.raises(PartError) as raised:
        await check_redis(url)
    assert "<w>" not in raised.value.message
    assert "%3C" not in raised.value.message
    assert "127.0.0.1:9" in raised.value.message


@pytest.mark.parametrize("url", ["redis://:pa/ss@host:6379/0", "redis://h:p<w>q/0"])
def test_a_url_that_cannot_be_read_is_not_quoted(url: str) -> None:
    """redis-py names the port that is none, which may be a part of the password."""
    from cloudia.cloud.redis import connect  # noqa: PLC0415

    with pytest.raises(errors.UsageError) as raised:
        connect(url)
    assert "pa" not in raised.value.message.replace("part", "")
    assert "<w>" not in raised.value.message


# --- what each part is given -----------------------------------------------------------------------------------------

GIVEN = {
    "OPENAI_API_KEY": f"openai-{KEY}",
    "CLOUDIA_ANTHROPIC_API_KEY": f"anthropic-{KEY}",
    "LOCALSTACK_AUTH_TOKEN": f"localstack-{KEY}",
    "CLOUDIA_TOKEN": f"token-{KEY}",
    "REDIS_URL": f"redis://:redis-{KEY}@host",
    "AWS_SECRET_ACCESS_KEY": f"aws-{KEY}",
    "DATABASE_URL": f"postgres://me:db-{KEY}@host/db",
}
SET = Settings(redis_url=GIVEN["REDIS_URL"]).changed(
    openai_api_key=GIVEN["OPENAI_API_KEY"], anthropic_api_key=f"anthropic-{KEY}"
)


def secrets_of(environment: dict[str, str]) -> set[str]:
    """Return which of the secrets are in an environment, by what stands before them."""
    return {
        name
        for name in ("openai", "anthropic", "localstack", "token", "redis", "aws", "db")
        if f"{name}-{KEY}" in str(environment)
    }


@pytest.mark.parametrize(
    ("readers", "needs"),
    [
        (("worker",), {"openai", "anthropic", "redis", "aws", "db"}),
        (("gateway",), {"redis", "aws", "db"}),
        (("edge", "functions"), {"redis", "aws", "db"}),
    ],
)
def test_a_part_gets_the_secrets_that_it_needs(
    monkeypatch: pytest.MonkeyPatch, readers: tuple[Reader, ...], needs: set[str]
) -> None:
    """Of the settings those that it reads; what is no setting is the user's own code's to read, which runs there."""
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    environment = of_reader(SET, *readers)
    assert secrets_of(environment) == needs
    assert environment["PATH"] == os.environ["PATH"]


def test_redis_the_engine_and_the_simulated_llm_get_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They run no code of the user's: no secret is theirs to know."""
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    assert secrets_of(without_secrets(os.environ)) == set()
    assert secrets_of(ministack.environment(1, temporary=tmp_path, data=None)) == set()
    assert without_secrets(os.environ)["PATH"] == os.environ["PATH"]


def test_secrets_are_known_by_their_names() -> None:
    """Every variable of a setting that is secret is called like one, and a working folder is none."""
    assert all(names_secret(name) for setting in SETTINGS.values() if setting.secret for name in setting.variables)
    assert not any(
        map(names_secret, ("PATH", "PWD", "OLDPWD", "HOME", "KEYBOARD", "AWS_REGION", "TOKENIZERS_PARALLELISM"))
    )


# --- a stack that runs -----------------------------------------------------------------------------------------------

BOT = """
import asyncio, logging
from cloudia.errors import UsageError
from cloudia.worker import Tool

async def answer(turn):
    text = turn.messages[-1].content
    if "own" in text:
        raise UsageError(text, hint=text)
    if "chain" in text:
        try:
            int(text)
        except ValueError as error:
            raise RuntimeError(text) from error
    if "library" in text:
        logging.getLogger("library").warning("about " + text)
        asyncio.get_running_loop().create_task(fail(text))
        await asyncio.sleep(0.05)
        yield "said"
    if "tool:" in text:
        async for piece in turn.llm.stream(turn.messages, tools=[Tool("broken", "", {}, broken)]):
            yield piece

async def fail(text):
    raise OSError(text)

async def broken(text):
    raise BlockingIOError(text)
"""


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack whose responder quotes what it is told wherever it can, with a key in its environment."""
    folder = tmp_path_factory.mktemp("talkative")
    (folder / "cloudia.toml").write_text('[worker]\nresponder = "bot:answer"\nmax_attempts = 1\n')
    (folder / "bot.py").write_text(BOT)
    running = start_stack(folder, OPENAI_API_KEY=KEY, REDIS_PASSWORD=KEY)
    yield running
    stop_stack(running)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("own", "UsageError"),
        ("chain", "RuntimeError"),
        ("library", "OSError"),
        ('[[tool:broken {"text": "%s"}]]', "BlockingIOError"),
    ],
)
def test_no_text_of_a_message_is_in_logs_or_errors(talkative: RunningStack, text: str, kind: str) -> None:
    """The error of `send`, the job's record, the dead letter and each part's log: with the type of what failed, and no more."""
    asked = text % PROMPT if "%s" in text else f"{text} {PROMPT}"
    sent = talkative.cli("send", asked, "--json")
    document = json.loads(sent.stdout)
    assert PROMPT not in json.dumps(document["error"]) + sent.stderr
    if document["status"] == "dead_lettered":
        assert kind in document["error"]["message"]
        letter = talkative.json("dlq", "show", document["job_id"])
        told = {name: value for name, value in letter.items() if name not in {"content", "body", "conversation"}}
        assert PROMPT not in json.dumps(told)
        assert kind in letter["error_message"]
    logs = {path.name: path.read_text() for path in (talkative.folder / ".cloudia" / "logs").iterdir()}
    assert f"{kind} at " in logs["worker.log"]
    assert [name for name, log in logs.items() if PROMPT in log or KEY in log] == []


def test_a_part_that_runs_has_the_keys_that_it_needs(talkative: RunningStack) -> None:
    """As the kernel sees it: of all parts the worker alone has the LLM's key."""
    parts = talkative.json("status")["parts"]
    environments = {name: Path(f"/proc/{part['pid']}/environ").read_text() for name, part in parts.items()}
    assert set(environments) >= {"engine", "redis", "llm", "collector", "api", "gateway", "worker"}
    assert {name for name, told in environments.items() if f"OPENAI_API_KEY={KEY}" in told} == {"worker"}
    assert {name for name, told in environments.items() if KEY in told} <= {"worker", "gateway", "api"}


# --- what users are told ---------------------------------------------------------------------------------------------


def test_functions_tell_nothing_of_an_exception(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in a function is a 500 that names nothing; the log has its type and place."""
    from cloudia.functions import http  # noqa: PLC0415

    monkeypatch.setattr(http, "services", lambda: None)

    def broken(_request: http.Request) -> http.Answer:
        raise LookupError(f"{PROMPT} {KEY}")

    answer = http.function(broken)({}, None)
    assert answer["statusCode"] == 500
    assert PROMPT not in answer["body"] + logs.text.getvalue()
    assert logs.lines()[-1]["exception"].startswith("LookupError at ")


def test_what_is_away_is_not_told_with_its_url() -> None:
    """An error of ours has a sentence of ours; what a client library said is its cause alone."""
    error = UnavailableError("Redis cannot be reached")
    error.__cause__ = ConnectionError(f"redis://:{KEY}@host")
    assert KEY not in json.dumps(error.to_json())
