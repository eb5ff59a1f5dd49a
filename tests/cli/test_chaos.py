"""Chaos from the shell: each fault strikes, is listed, and ends; what holds is seen by `send`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from cloudia.local.chaos import Chaos
from tests.patience import HANGS
from tests.support import RunningStack, clean_environment, eventually, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that may be broken: two attempts, and a breaker that is open for 2 s."""
    running = start_stack(
        tmp_path_factory.mktemp("chaos"),
        CLOUDIA_WORKER_MAX_ATTEMPTS="2",
        CLOUDIA_LLM_BREAKER_OPEN_SECONDS="2",
        CLOUDIA_WORKER_VISIBILITY_SECONDS="4",
        CLOUDIA_WORKER_LEASE_SECONDS="4",
    )
    yield running
    stop_stack(running)


@pytest.fixture(autouse=True)
def mended(own: RunningStack) -> Iterator[None]:
    """After each test no fault is left."""
    yield
    assert own.cli("chaos", "off").returncode == 0


def test_a_fault_is_listed_and_ends(own: RunningStack) -> None:
    """A fault shows its bounds in `list`; `off` ends it."""
    added = own.json("chaos", "llm", "slow", "--rate", "0.5", "--count", "3", "--for", "30s")
    assert (added["kind"], added["rate"], added["remaining_count"]) == ("slow", 0.5, 3)
    (listed,) = own.json("chaos", "list")["faults"]
    assert 0 < listed["remaining_seconds"] <= 30
    assert own.json("chaos", "off")["ended"] == 1
    assert own.json("chaos", "list")["faults"] == []


def test_a_case_strikes_the_next_message(own: RunningStack) -> None:
    """A case is listed while it waits; the next message meets it in each attempt, the one after it does not."""
    played = own.json("chaos", "llm", "case", "openai-429-quota")
    assert (played["name"], played["queued"]) == ("openai-429-quota", 1)
    assert played["what"]
    assert own.json("chaos", "list")["cases"] == [{"name": "openai-429-quota", "turns": 1}]
    sent = own.cli("send", "hello", "--json")
    assert json.loads(sent.stdout)["error"]["code"] == "llm_rejected"
    assert own.json("chaos", "list")["cases"] == []
    assert own.json("send", "hello")["status"] == "done"


def test_cases_are_listed_without_a_stack(tmp_path: Path) -> None:
    """`--list` needs nothing that runs; a file is taken where no case has that name, and one that is none is told."""
    listed = json.loads(_cloudia("chaos", "llm", "case", "--list", "--json", cwd=tmp_path).stdout)["cases"]
    assert {"name", "api", "kind", "what", "reports"} == set(listed[0])
    assert "openai-429-quota" in {case["name"] for case in listed}
    (tmp_path / "mine.json").write_text("[]")
    for arguments, said in (
        (["case"], "no case is named"),
        (["case", "mine.json"], "is not a JSON object"),
        (["case", "nowhere.json"], "there is no case"),
        (["case", "openai-401", "--rate", "0.5"], "a case takes --count"),
        (["429", "openai-401"], "takes no case"),
    ):
        done = _cloudia("chaos", "llm", *arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert said in done.stderr


def _cloudia(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder where nothing runs."""
    return subprocess.run(
        [sys.executable, "-m", "cloudia", *arguments],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )


def test_a_stream_that_always_breaks_off_ends_as_a_dead_letter(own: RunningStack) -> None:
    """Every attempt is made, then `send` exits 6 and says so."""
    own.cli("chaos", "llm", "cut")
    sent = own.cli("send", "hopeless", "--timeout", "30")
    assert sent.returncode == 6
    assert "dead letter after 2 attempts" in sent.stderr


def test_a_provider_that_is_down_opens_the_breaker(own: RunningStack) -> None:
    """After ten messages to a provider that is down the next `send` exits 7 at once; when it is back, answers come again."""
    own.cli("chaos", "llm", "500", "--rate", "1")
    for number in range(10):
        own.cli("send", f"job {number}", "--no-wait")
    deadline = time.monotonic() + 15
    while (sent := own.cli("send", "next")).returncode != 7:
        assert time.monotonic() < deadline
    assert "unavailable" in sent.stderr
    assert "Send the message again in" in sent.stderr
    own.cli("chaos", "off")
    deadline = time.monotonic() + 20
    while own.cli("send", "again [[words:8]]").returncode != 0:
        assert time.monotonic() < deadline
    while "opened" not in (shown := own.cli("status").stdout):
        assert time.monotonic() < deadline
    assert "breaker openai sim-1 " in shown


@pytest.mark.parametrize("part", ["gateway", "worker", "redis"])
async def test_an_answer_survives_a_kill_in_its_middle(own: RunningStack, part: str) -> None:
    """I1, I4: the part is killed while the answer streams; `send` prints the whole answer all the same."""
    provider = Chaos(own.project.require_run())
    with subprocess.Popen(  # noqa: ASYNC220 - read at its end
        [sys.executable, "-m", "cloudia", "send", "go on [[words:150]]", "--json", "--timeout", "60"],
        cwd=own.folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as sending:
        try:
            await eventually(lambda: provider.requests()["in_flight"])
            before = own.json("status")["parts"][part]
            assert own.json("chaos", part, "kill")["killed"] == {part: before["pid"]}
            out, err = sending.communicate(timeout=HANGS)
        finally:
            sending.kill()
    assert sending.returncode == 0, err
    assert "turn 1" in out

    def again() -> bool:
        after = own.json("status")
        found = after["parts"][part]
        return bool(found["state"] == "ready" and found["pid"] != before["pid"] and after["state"] == "ready")

    await eventually(again)


def test_a_part_that_stands_still_goes_on(own: RunningStack) -> None:
    """`pause` stops a part for its time; what was asked meanwhile is answered after it."""
    paused = own.json("chaos", "engine", "pause", "--for", "500ms")
    assert paused == {"paused": "engine", "seconds": 0.5}
    assert own.json("send", "after the pause [[words:8]]")["status"] == "done"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("llm", "nonsense"), "is no fault"),
        (("llm", "cut", "--for", "soon"), "is no time"),
        (("redis", "burn"), "neither kill nor pause"),
        (("worker", "kill", "--signal", "NOPE"), "is no signal"),
    ],
)
def test_what_cannot_be_done_is_said(own: RunningStack, arguments: tuple[str, ...], says: str) -> None:
    """Bad arguments: one sentence, exit 2, nothing broken."""
    done = own.cli("chaos", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
