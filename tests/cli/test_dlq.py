"""`cloudia dlq`: dead letters seen, shown, changed, redriven and answered, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.client.stream import EventStream
from cloudia.cloud.aws import Aws
from cloudia.cloud.history import History
from cloudia.cloud.jobs import Jobs
from cloudia.cloud.queue import JobQueue
from cloudia.local.chaos import Chaos
from cloudia.protocol import PostMessage, event_order
from cloudia.stack import Stack
from tests.cli.terminal import terminal
from tests.support import RunningStack, clean_environment, cli, elsewhere, eventually, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cloudia.protocol import Event

MANY = 20


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack in which one failed attempt is the last, and no breaker opens."""
    running = start_stack(
        tmp_path_factory.mktemp("dlq"), CLOUDIA_WORKER_MAX_ATTEMPTS="1", CLOUDIA_LLM_BREAKER_ERRORS="10000"
    )
    yield running
    stop_stack(running)


@pytest.fixture
def provider(own: RunningStack) -> Iterator[Chaos]:
    """The provider, to make it fail; it is well before and after a test."""
    chaos = Chaos(own.project.require_run())
    yield chaos
    chaos.clear_faults()


@pytest.fixture
def letters(own: RunningStack) -> Iterator[JobQueue]:
    """The DLQ, empty before and after a test."""
    queue = JobQueue(Aws(own.settings).sqs, Stack(own.settings.stack_name).dead_letters)
    yield queue
    queue.sqs.purge_queue(QueueUrl=queue.url)


async def die(own: RunningStack, letters: JobQueue, count: int = 1, *, text: str = "hopeless [[words:8]]") -> list[str]:
    """Send messages that become dead letters, and return their jobs' ids. The provider is well again afterwards."""
    provider = Chaos(own.project.require_run())
    await asyncio.to_thread(provider.add_fault, "cut")
    before = letters.stats().total
    async with own.client() as client:
        posts = [client.api.post_message(PostMessage(f"{text} {number}")) for number in range(count)]
        ids = [one.job_id for one in await asyncio.gather(*posts)]
    await eventually(lambda: letters.stats().total == before + count)
    jobs = Jobs(Aws(own.settings).dynamodb, Stack(own.settings.stack_name))
    await eventually(lambda: all(job.ended for job in jobs.records(ids).values()))
    await asyncio.to_thread(provider.clear_faults)
    return ids


def listed(own: RunningStack, *arguments: str) -> list[str]:
    return [letter["id"] for letter in own.json("dlq", "list", *arguments)["dead_letters"]]


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the error that a verb printed under --json."""
    error: dict[str, Any] = json.loads(done.stderr)["error"]
    return error


async def test_a_dead_letter_is_seen_changed_redriven_answered_and_gone(
    own: RunningStack, letters: JobQueue, provider: Chaos, tmp_path: Path
) -> None:
    """The whole way. A job that dies again at once, within five minutes, is a letter again.

    Its attempts are those of its record, so a folder that knows but the stack's name sees the same.
    """
    (job_id,) = await die(own, letters)
    (letter,) = own.json("dlq", "list")["dead_letters"]
    assert (letter["id"], letter["user_id"], letter["attempts"]) == (job_id, "local", 1)
    assert (letter["error_type"], letter["buried_by"]) == ("llm_failed", "worker")

    shown = own.json("dlq", "show", job_id)
    assert shown["content"] == "hopeless [[words:8]] 0"
    assert shown["trace_id"]
    assert [message["status"] for message in shown["conversation"]] == [None, "dead_lettered"]
    (attempt,) = shown["attempt_history"]
    assert (attempt["attempt"], attempt["code"]) == (1, "llm_failed")
    assert attempt["failed_at"]
    assert (attempt["outcome"], attempt["llm_calls"], attempt["worker_id"][:4]) == ("dead_lettered", 1, "wrk_")
    there = {**elsewhere(own.settings), "CLOUDIA_STACK_NAME": own.settings.stack_name}
    seen = cli("dlq", "show", job_id, "--json", folder=tmp_path, environment=there)
    assert json.loads(seen.stdout)["attempt_history"] == [attempt]

    provider.add_fault("cut")
    again = own.cli("dlq", "redrive", job_id, "--wait")
    assert again.returncode == 6, again.stderr
    assert listed(own) == [job_id]
    provider.clear_faults()

    edits = ("--set", "content=hopeful [[words:8]]", "--set", "model=sim-2")
    (outcome,) = own.json("dlq", "redrive", job_id, *edits, "--wait")["letters"]
    assert (outcome["outcome"], outcome["ended"]["status"], outcome["ended"]["model"]) == ("redriven", "done", "sim-2")
    assert provider.requests()["records"][-1]["model"] == "sim-2"
    assert listed(own) == []
    messages = own.json("conversations", "show", letter["conversation_id"])["messages"]
    assert [(message["role"], message["status"]) for message in messages] == [("user", None), ("assistant", "done")]
    assert messages[0]["content"] == "hopeful [[words:8]]"


async def test_i4_who_followed_the_job_sees_its_second_life(
    own: RunningStack, letters: JobQueue, provider: Chaos
) -> None:
    """I4: in the same session the job goes on with a `reset`, and no id of an event is less than the one before."""
    seen: list[Event] = []

    async def follow(stream: EventStream) -> None:
        async for event in stream.events():
            seen.append(event)  # noqa: PERF401 - read while it grows

    provider.add_fault("cut")
    async with own.client() as client:
        stream = EventStream(own.run["websocket_url"], own.token())
        following = asyncio.create_task(follow(stream))
        try:
            await eventually(lambda: stream.session_id)
            accepted = await client.api.post_message(PostMessage("followed [[words:20]]", None, stream.session_id))
            await eventually(lambda: seen[-1].type == "error")
            await asyncio.to_thread(provider.clear_faults)
            await asyncio.to_thread(own.json, "dlq", "redrive", accepted.job_id, "--wait")
            await eventually(lambda: seen[-1].type == "done")
        finally:
            following.cancel()
            await asyncio.wait({following})
    events = [event for event in seen if event.job_id == accepted.job_id]
    orders = [event_order(event.id or "") for event in events]
    assert orders == sorted(set(orders))
    kinds = [event.type for event in events]
    died = kinds.index("error")
    assert (kinds[0], kinds[died + 1], kinds[-1]) == ("started", "reset", "done")
    assert kinds.count("started") == 1
    assert events[-1].attempt == 1


@pytest.mark.long
async def test_i1_i2_a_redrive_that_is_killed_and_run_again_answers_each_once(
    own: RunningStack, letters: JobQueue
) -> None:
    """I1, I2: `kill -9` in the middle of `redrive --all`, while another lists; then again: each is answered, once."""
    ids = await die(own, letters, MANY)
    with subprocess.Popen(  # noqa: ASYNC220 - killed below
        [sys.executable, "-m", "cloudia", "dlq", "redrive", "--all", "--rate", "20"],
        cwd=own.folder,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as redriving:
        try:
            await eventually(lambda: letters.stats().total <= MANY - 8)
        finally:
            redriving.kill()
    left = listed(own)
    assert 0 < len(left) < MANY
    done = own.json("dlq", "redrive", "--all", "--wait", "--timeout", "40")
    assert {outcome["id"] for outcome in done["letters"]} == set(left)
    assert listed(own) == []
    aws, stack = Aws(own.settings), Stack(own.settings.stack_name)
    jobs, history = Jobs(aws.dynamodb, stack), History(aws.dynamodb, stack)
    await eventually(lambda: {job.status for job in jobs.records(ids).values()} == {"done"})
    for job in jobs.records(ids).values():
        answers = history.messages("local", job.conversation_id, limit=10).items[1:]
        assert [(message.message_id, message.status) for message in answers] == [(job.reply_message_id, "done")]
    counts = own.json("queue", "stats")["queues"]
    assert counts[1]["visible"] + counts[1]["in_flight"] == 0


async def test_letters_are_chosen(own: RunningStack, letters: JobQueue) -> None:
    """By error, conversation and age; `--dry-run` says which and does nothing."""
    first, second = await die(own, letters, 2)
    conversations = {letter["id"]: letter["conversation_id"] for letter in own.json("dlq", "list")["dead_letters"]}
    assert set(listed(own, "--error", "llm_failed", "--older-than", "0s")) == {first, second}
    assert listed(own, "--error", "llm_rejected") == []
    assert listed(own, "--older-than", "1d") == []
    assert listed(own, "--conversation", conversations[first]) == [first]
    dry = own.json("dlq", "redrive", "--conversation", conversations[first], "--dry-run")
    assert [letter["id"] for letter in dry["dead_letters"]] == [first]
    assert len(listed(own)) == 2
    own.json("dlq", "redrive", "--conversation", conversations[first], "--wait")
    assert listed(own) == [second]
    assert own.json("dlq", "redrive", "--older-than", "2h")["letters"] == []


def test_what_is_no_job_is_shown_and_purged_and_never_redriven(own: RunningStack, letters: JobQueue) -> None:
    """Foreign JSON and garbage: listed, shown, exported, refused by `redrive`, passed over by `--all`, purged by id."""
    for number, body in enumerate(('{"foreign": true}', "\x7f not [bold]json[/]")):
        letters.send_raw(body, group="strangers", deduplication_id=f"{number}{id(own)}")
    entries = own.json("dlq", "list")["dead_letters"]
    assert {entry["error_type"] for entry in entries} == {"not_a_job"}
    assert {entry["redrivable"] for entry in entries} == {False}
    bodies = {entry["id"]: own.json("dlq", "show", entry["id"])["body"] for entry in entries}
    assert set(bodies.values()) == {'{"foreign": true}', "\x7f not [bold]json[/]"}
    assert "[bold]" in "".join(own.cli("dlq", "show", letter).stdout for letter in bodies)
    first, second = bodies
    refused = own.cli("dlq", "redrive", first, "--json")
    assert (refused.returncode, told(refused)["code"]) == (1, "not_a_job")
    assert own.json("dlq", "redrive", "--all")["counts"] == {"not_a_job": 2}
    assert len(own.cli("dlq", "export", "-").stdout.splitlines()) == 2
    assert own.json("dlq", "purge", first, "--yes")["deleted"] == 1
    assert listed(own) == [second]


async def test_letters_are_carried_in_a_file(own: RunningStack, letters: JobQueue, tmp_path: Path) -> None:
    """Export, purge, import, redrive. A line that is none of an export is named, and nothing is sent then."""
    ids = set(await die(own, letters, 12))
    file = tmp_path / "letters.jsonl"
    assert own.json("dlq", "export", str(file))["count"] == 12
    assert file.stat().st_mode & 0o777 == 0o600
    (tmp_path / "kept.jsonl").touch(mode=0o640)
    (tmp_path / "link.jsonl").symlink_to("kept.jsonl")
    assert own.json("dlq", "export", str(tmp_path / "link.jsonl"))["count"] == 12
    assert (tmp_path / "link.jsonl").is_symlink()
    assert (tmp_path / "kept.jsonl").read_bytes() == file.read_bytes()
    assert (tmp_path / "kept.jsonl").stat().st_mode & 0o777 == 0o640
    refused = own.cli("dlq", "export", str(tmp_path), "--json")
    assert (refused.returncode, told(refused)["code"]) == (1, "cannot_write")
    assert set(listed(own)) == ids
    assert own.json("dlq", "purge", "--yes")["deleted"] == 12
    bad = tmp_path / "bad.jsonl"
    bad.write_text(file.read_text() + "not a letter\n{}\n")
    refused = own.cli("dlq", "import", str(bad), "--json")
    assert (refused.returncode, told(refused)["code"]) == (1, "bad_line")
    assert "line 13" in told(refused)["message"]
    assert listed(own) == []
    assert own.json("dlq", "import", str(file))["count"] == 12
    assert set(listed(own)) == ids
    outcomes = own.json("dlq", "redrive", "--all", "--wait")["letters"]
    assert {outcome["ended"]["status"] for outcome in outcomes} == {"done"}


async def test_in_a_terminal_a_letter_is_edited(own: RunningStack, letters: JobQueue, tmp_path: Path) -> None:
    """`--edit` opens $EDITOR on text and model; what TOML must escape comes back as it was; the table shows the letter."""
    odd = 'say """ and \\n "[[words:8]] \x01'
    (job_id,) = await die(own, letters, text=odd)
    editor = tmp_path / "editor"
    editor.write_text(f"#!{sys.executable}\nimport sys, pathlib\npath = pathlib.Path(sys.argv[1])\n"
                      "path.write_text(path.read_text().replace('say', 'write'))\n")  # fmt: skip
    editor.chmod(0o700)
    with terminal("dlq", "list", folder=own.folder) as screen:
        await screen.shows(job_id, "llm_failed")
    with terminal("dlq", "redrive", job_id, "--edit", "--wait", folder=own.folder, EDITOR=str(editor)) as screen:
        await screen.shows("done")
        assert await screen.ends() == 0
    shown = own.json("conversations", "list")["conversations"][0]["conversation_id"]
    assert own.json("conversations", "show", shown)["messages"][0]["content"] == odd.replace("say", "write") + " 0"


async def test_an_editor_that_fails_changes_nothing(own: RunningStack, letters: JobQueue) -> None:
    """Nor does one that is not there, or nobody in front of it."""
    (job_id,) = await die(own, letters)
    for editor, says in (("false", "the editor ended with 1"), ("no-such-editor", "did not start")):
        with terminal("dlq", "redrive", job_id, "--edit", folder=own.folder, EDITOR=editor) as screen:
            await screen.shows(says)
            assert await screen.ends() == 1
    nobody = own.cli("dlq", "redrive", job_id, "--edit")
    assert nobody.returncode == 2
    assert "--set" in nobody.stderr
    assert listed(own) == [job_id]


def test_the_service_s_own_move_task_is_used_where_there_is_one(own: RunningStack, letters: JobQueue) -> None:
    """MiniStack has none: one sentence and a hint."""
    done = own.cli("dlq", "redrive", "--all", "--native", "--json")
    assert (done.returncode, told(done)["code"]) == (1, "no_move_task")
    assert "--native" in told(done)["hint"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("show", "job_x"), 2, "no dead letter 'job_x'"),
        (("redrive", "job_x"), 2, "no dead letter 'job_x'"),
        (("purge", "job_x", "--yes"), 2, "no dead letter 'job_x'"),
        (("redrive",), 2, "which letters"),
        (("redrive", "job_x", "--all"), 2, "not both"),
        (("redrive", "--all", "--native", "--set", "model=x"), 2, "--native"),
        (("redrive", "--older-than", "soon"), 2, "is no time"),
        (("purge",), 2, "nobody can be asked"),
        (("import", "/no/such/file"), 1, "cannot be read"),
        (("export", "/no/such/folder/file"), 1, "cannot be"),
        (("export", "-", "--json"), 2, "stdout"),
    ],
)
def test_what_cannot_be_done_is_said(
    own: RunningStack, letters: JobQueue, arguments: tuple[str, ...], code: int, says: str
) -> None:
    """One sentence, a hint, the exit code of the contract."""
    done = own.cli("dlq", *arguments)
    assert done.returncode == code, done.stderr
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("edit", "says"), [("content=", "content is empty"), ("colour=red", "cannot be set"), ("model=", "is not the name")]
)
async def test_a_change_that_no_message_could_have_is_refused(
    own: RunningStack, letters: JobQueue, edit: str, says: str
) -> None:
    """Before anything is done."""
    (job_id,) = await die(own, letters)
    done = own.cli("dlq", "redrive", job_id, "--set", edit)
    assert done.returncode == 2
    assert says in done.stderr
    assert listed(own) == [job_id]


def test_without_a_stack_it_is_said(tmp_path: Path) -> None:
    """Exit 3 where nothing runs and AWS is not configured; exit 1 where its engine is away."""
    environment = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    for verb in (("dlq", "list"), ("queue", "stats")):
        done = cli(*verb, folder=tmp_path, environment=environment)
        assert done.returncode == 3, done.stderr
        assert "no stack is running here" in done.stderr
    away = cli("dlq", "list", folder=tmp_path, environment={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    assert away.returncode == 1
    assert "cannot be reached" in away.stderr
