"""A part: a child process that is kept running, asked whether it is ready, and stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from cloudia.errors import PartError, UnavailableError
from cloudia.local.log_lines import time_of
from cloudia.local.logfile import LogFile
from cloudia.local.part import Part
from cloudia.sim.spec import PartSpec
from tests.patience import HANGS
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

_FOREVER = "import time; print('up', flush=True); time.sleep(600)"
_STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
_ENDS = "raise SystemExit('it cannot be')"


@dataclass
class Watched:
    """A part under test, and what it told."""

    part: Part
    states: list[tuple[str, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    running: asyncio.Task[None] | None = None

    def start(self, after_restart: Callable[[], Awaitable[None]] | None = None) -> None:
        """Run the part."""
        self.running = asyncio.create_task(self.part.run(after_restart))

    async def stop(self) -> None:
        """Stop the part; that must not take long."""
        await asyncio.wait_for(self.part.stop(), HANGS)
        assert self.running
        await asyncio.wait_for(self.running, HANGS)


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[..., Watched]]:
    """Make a part of a Python script; `ready` is whether it has printed `up`, unless told."""
    all_made: list[Watched] = []

    def made(script: str, **options: Any) -> Watched:
        async def up(_pid: int) -> bool:
            return "up" in watched.lines

        spec = PartSpec(
            "worker",
            [sys.executable, "-S", "-c", textwrap.dedent(script)],
            os.environ,
            **{"ready": up, "detail": "a test", **options},
        )
        watched = Watched(None)  # type: ignore[arg-type]
        watched.gate.set()
        watched.part = Part(
            spec,
            tmp_path,
            LogFile(tmp_path / "part.log"),
            watched.gate,
            lambda part: watched.states.append((part.state, part.reason)),
            lambda _name, line: watched.lines.append(line.removeprefix(f"{time_of(line)} ")),
            10.0,
        )
        all_made.append(watched)
        return watched

    yield made
    for watched in all_made:
        watched.part.kill()
        if watched.running and not watched.running.done():
            watched.running.cancel()
            await asyncio.wait({watched.running})
        watched.part.log.close()


async def test_a_part_from_start_to_stop(make: Callable[..., Watched]) -> None:
    """A part is starting, ready once it says so, stopping and stopped; what it prints is in its log."""
    watched = make(_FOREVER)
    watched.start()
    await asyncio.wait_for(watched.part.ready(), HANGS)
    assert watched.part.record().state == "ready"
    assert watched.part.record().restarts == 0
    await watched.stop()
    assert [state for state, _ in watched.states] == ["starting", "ready", "stopping", "stopped"]
    (line,) = watched.part.log.path.read_text().splitlines()
    assert line == f"{time_of(line)} up"
    assert time_of(line)


async def test_it_is_not_asked_before_the_gate_opens(make: Callable[..., Watched]) -> None:
    """Until what a part stands on is there, it is not asked."""
    asked = []

    async def ready(pid: int) -> bool:
        asked.append(pid)
        return True

    watched = make(_FOREVER, ready=ready)
    watched.gate.clear()
    watched.start()
    await eventually(lambda: watched.lines)
    assert not asked
    watched.gate.set()
    await asyncio.wait_for(watched.part.ready(), HANGS)
    assert asked == [watched.part.pid]
    await watched.stop()


async def test_a_killed_part_is_started_again(make: Callable[..., Watched]) -> None:
    """A part that ends is started again after a back-off, and counted; what follows a restart is done before it is ready."""
    followed = []

    async def follow() -> None:
        followed.append(watched.part.state)

    watched = make(_FOREVER)
    watched.start(follow)
    await asyncio.wait_for(watched.part.ready(), HANGS)
    assert not followed
    first = watched.part.pid
    watched.part.kill()
    await eventually(lambda: watched.part.state == "ready" and watched.part.pid != first)
    assert watched.part.restarts == 1
    assert ("restarting", "it ended with SIGKILL; again in 0.2 s") in watched.states
    assert followed == ["starting"]
    await watched.stop()


async def test_what_follows_a_restart_may_fail(make: Callable[..., Watched]) -> None:
    """Where what follows a restart fails, the part is started once more, until it succeeds."""
    failures = iter([UnavailableError("not now"), ValueError("a defect")])

    async def follow() -> None:
        for error in failures:
            raise error

    watched = make(_FOREVER)
    watched.start(follow)
    await asyncio.wait_for(watched.part.ready(), HANGS)
    watched.part.kill()
    await eventually(lambda: watched.part.restarts == 3 and watched.part.state == "ready")
    assert [reason for _, reason in watched.states if reason] == [
        "it ended with SIGKILL; again in 0.2 s",
        "not now; again in 0.4 s",
        "a defect; again in 0.8 s",
    ]
    await watched.stop()


async def test_a_part_that_never_starts(make: Callable[..., Watched]) -> None:
    """After three starts that failed a part is given up, with its last words."""
    watched = make(_ENDS)
    watched.start()
    assert watched.running
    with pytest.raises(PartError) as caught:
        await asyncio.wait_for(watched.running, HANGS)
    assert caught.value.message == "worker does not start: it cannot be"
    assert str(watched.part.log.path) in caught.value.hint
    assert watched.part.state == "failed"
    assert watched.part.log.path.read_text().count("it cannot be") == 3


async def test_last_words_that_are_a_log_line(make: Callable[..., Watched]) -> None:
    """Where a part's last line is one of our log's, its reason and its hint are told, not the JSON."""
    watched = make(
        """
        import json
        print(json.dumps({"event": "worker failed", "reason": "there is no key", "hint": "Set one."}), flush=True)
        raise SystemExit(1)
        """
    )
    watched.start()
    assert watched.running
    with pytest.raises(PartError) as caught:
        await asyncio.wait_for(watched.running, HANGS)
    assert caught.value.message == "worker does not start: there is no key"
    assert caught.value.hint == "Set one."


async def test_last_words_that_are_an_exception(make: Callable[..., Watched]) -> None:
    """Of what nobody caught the type and the place are told, of the one that was raised last."""
    watched = make(
        """
        import json
        exception = "ValueError at decoder.py:1 in decode\\nRuntimeError at bot.py:3 in answer"
        print(json.dumps({"event": "uncaught exception", "exception": exception}), flush=True)
        raise SystemExit(1)
        """
    )
    watched.start()
    assert watched.running
    with pytest.raises(PartError) as caught:
        await asyncio.wait_for(watched.running, HANGS)
    assert caught.value.message == "worker does not start: RuntimeError at bot.py:3 in answer"


async def test_a_part_that_does_not_answer(make: Callable[..., Watched]) -> None:
    """A part that runs and never answers is killed, and given up like one that ends; errors of the question are not yet."""

    async def never(_pid: int) -> bool:
        raise OSError

    watched = make(_FOREVER, ready=never, ready_seconds=0.3)
    watched.start()
    assert watched.running
    with pytest.raises(PartError, match=r"worker does not start: no answer within 0.3 s"):
        await asyncio.wait_for(watched.running, HANGS)


async def test_a_stubborn_part_is_killed(make: Callable[..., Watched]) -> None:
    """A part that ignores SIGTERM is killed after its grace time, with its children."""
    watched = make(_STUBBORN, grace_seconds=0.2)
    watched.start()
    await asyncio.wait_for(watched.part.ready(), HANGS)
    began = time.monotonic()
    await watched.stop()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("script", [_FOREVER, _STUBBORN], ids=["willing", "stubborn"])
async def test_restart(script: str, make: Callable[..., Watched]) -> None:
    """A part is ended, killed where it does not end in its grace time, and started at once; that is no failure of its own."""
    watched = make(script, grace_seconds=0.3)
    followed = []

    async def follow() -> None:
        followed.append(watched.part.pid)

    watched.start(follow)
    await asyncio.wait_for(watched.part.ready(), HANGS)
    before = watched.part.pid
    assert before
    watched.lines.clear()
    await asyncio.wait_for(asyncio.gather(watched.part.restart(), watched.part.restart()), HANGS)
    await eventually(lambda: watched.part.state == "ready" and watched.part.pid != before)
    assert not psutil.pid_exists(before)
    assert watched.part.restarts == 0
    assert followed == [watched.part.pid]
    states = ["starting", "ready", "restarting", "starting", "ready"]
    assert [state for state, _ in watched.states] == states
    await watched.stop()


async def test_restart_of_what_does_not_run(make: Callable[..., Watched]) -> None:
    """While a part waits for its next start, and when it was stopped, there is nothing to end."""
    watched = make(_ENDS)
    watched.start()
    await eventually(lambda: watched.part.state == "restarting")
    await asyncio.wait_for(watched.part.restart(), 1)
    await watched.stop()
    await asyncio.wait_for(watched.part.restart(), 1)
    assert watched.part.state == "stopped"


async def test_stopped_while_it_is_being_started(make: Callable[..., Watched]) -> None:
    """A stop that comes while the process is being made ends that process too, whenever it comes."""
    for turns in range(8):
        watched = make(_FOREVER)
        watched.start()
        for _ in range(turns):
            await asyncio.sleep(0)
        await watched.stop()
        assert watched.part.state == "stopped"
        if watched.part.pid:
            with pytest.raises(ProcessLookupError):
                os.kill(watched.part.pid, 0)


async def test_stopped_during_its_back_off(make: Callable[..., Watched]) -> None:
    """A stop does not wait for a back-off to end."""
    watched = make(_FOREVER)
    watched.start()
    await asyncio.wait_for(watched.part.ready(), HANGS)
    watched.part.kill()
    await eventually(lambda: watched.part.state == "restarting")
    await watched.stop()
    assert watched.part.restarts == 1


async def test_a_line_without_end(make: Callable[..., Watched]) -> None:
    """A line over the limit is dropped, those after it are logged, and bytes that are no text do no harm."""
    watched = make(
        """
        import sys, time
        out = sys.stdout.buffer
        out.write(b"x" * (3 * 1024 * 1024) + b"\\n" + b"\\xff\\xfe\\n" + b"up\\n")
        out.flush()
        time.sleep(600)
        """
    )
    watched.start()
    await asyncio.wait_for(watched.part.ready(), HANGS)
    await watched.stop()
    assert watched.lines[-1] == "up"
    assert "\ufffd\ufffd" in watched.lines
    assert len(watched.part.log.path.read_text()) < 2 * 1024 * 1024


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_what_a_part_started_ends_with_it(make: Callable[..., Watched], how: str) -> None:
    """However a part ends, a process of its that outlives it is ended."""
    watched = make(f"""
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-S", "-c", {_STUBBORN!r}], stdout=subprocess.PIPE, text=True)
        child.stdout.readline()
        print("child", child.pid, flush=True)
        {_FOREVER}
    """)
    watched.start()
    await asyncio.wait_for(watched.part.ready(), HANGS)
    child = psutil.Process(int(watched.lines[0].split()[1]))
    assert child.is_running()
    if how == "stopped":
        await watched.stop()
    else:
        os.kill(watched.part.pid or 0, signal.SIGKILL)
    await eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
