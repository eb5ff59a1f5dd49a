"""The view of a running stack."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from textual.widgets import DataTable, Static

from cloudia.cloud.cloud import Cloud as CloudOfSettings
from cloudia.cloud.job_records import Lease
from cloudia.local.sampler import LocalSampler
from cloudia.operate.sampler import StackSampler
from cloudia.operate.samples import EndedJob, Sample
from cloudia.tui.app import TopApp
from cloudia.tui.history import History, percentile
from cloudia.tui.preferences import Preferences
from cloudia.tui.top import TraceScreen
from tests.patience import HANGS
from tests.support import Cloud, RunningStack, eventually
from tests.tui.scripted import ScriptedSampler

if TYPE_CHECKING:
    from pathlib import Path


def sample(at: float, *, visible: int | None = 0, jobs: tuple[EndedJob, ...] = ()) -> Sample:
    """Return a sample."""
    return Sample(at, "ready", (), visible, 1, 0, None, jobs)


def ended(first_token: float | None, total: float, job_id: str = "job_1") -> EndedJob:
    """Return a job."""
    return EndedJob(job_id, "2026-11-23T01:46:31Z", "done", 1, 5, first_token, total, 10, "worker")


def test_what_is_computed_from_samples() -> None:
    """Depths, rates over the true time between samples, and percentiles; a job without a first token has none."""
    history = History()
    history.add(sample(0.0, visible=3))
    history.add(sample(2.0, visible=None, jobs=(ended(100, 1000), ended(None, 9, "job_2"))))
    assert history.depths() == [3.0, 0.0]
    assert history.in_flight() == [1.0, 1.0]
    assert history.throughput() == [1.0]
    assert history.first_token(0.5) == 100
    assert history.total(0.5) == 504.5
    assert percentile([], 0.5) is None
    assert percentile(list(range(101)), 0.95) == 95


def test_a_job_that_ends_again_is_listed_once() -> None:
    """A redriven job ends a second time under its id; it counts with its last end, and stands behind what ended before."""
    history = History()
    history.add(sample(0.0, jobs=(ended(None, 9), ended(50, 60, "job_2"))))
    history.add(sample(2.0, jobs=(ended(100, 1000),)))
    assert [(job.job_id, job.total_ms) for job in history.jobs] == [("job_2", 60), ("job_1", 1000)]


async def test_it_shows_a_stack_that_runs(stack: RunningStack, tmp_path: Path) -> None:
    """Each part with its state, the job that just ended with its times, and what the parts logged about it."""
    job_id = stack.json("send", "seen from above [[words:5]]")["job_id"]
    sampler = LocalSampler(
        stack.project, StackSampler(CloudOfSettings(stack.settings)), lambda line, part: f"{part}: {line}"
    )
    app = TopApp(sampler, preferences=Preferences(tmp_path / "tui.json"))
    async with app.run_test(size=(120, 40)) as pilot:

        async def holds(condition: Any) -> Any:
            await pilot.pause()
            return condition()

        jobs = app.screen.query_one("#jobs", DataTable)
        await eventually(lambda: holds(lambda: job_id in jobs.rows))
        row = [str(cell) for cell in jobs.get_row(job_id)]
        assert row[2] == "done"
        assert row[6].endswith(("ms", "s"))
        assert row[8] == "worker"
        parts = app.screen.query_one("#parts", DataTable)
        names = [str(parts.get_row_at(index)[0]) for index in range(parts.row_count)]
        assert names == ["engine", "redis", "llm", "collector", "api", "gateway", "worker"]
        assert "breaker closed" in str(app.screen.query_one("#headline", Static).content)

        jobs.move_cursor(row=jobs.get_row_index(job_id))
        await pilot.press("enter")
        await eventually(lambda: holds(lambda: isinstance(app.screen, TraceScreen)))
        lines = app.screen.query_one("#trace-lines", Static)
        await eventually(lambda: holds(lambda: "job ended" in str(lines.content)))
        assert "job accepted" in str(lines.content)
        assert "streaming" in str(lines.content)
        await pilot.press("escape")
        assert not isinstance(app.screen, TraceScreen)


async def test_a_sample_that_comes_too_late_is_let_be(tmp_path: Path) -> None:
    """It was asked for before the screen was left, and breaks nothing when it comes."""
    asked, answered = threading.Event(), threading.Event()

    class Slow(ScriptedSampler):
        def sample(self) -> Sample:
            asked.set()
            assert answered.wait(HANGS)
            return super().sample()

    app = TopApp(Slow(), preferences=Preferences(tmp_path / "tui.json"))
    async with app.run_test():
        assert await asyncio.to_thread(asked.wait, HANGS)
        await app.screen.query("*").remove()  # As far as leaving has come.
        answered.set()
        await app.workers.wait_for_complete()


async def test_it_shows_a_stack_that_runs_elsewhere(cloud: Cloud, tmp_path: Path) -> None:
    """By its name alone: no parts, the jobs of its records, and a job's attempts where its logs are not at hand."""
    job = cloud.accept()
    cloud.queue.send(cloud.accept())
    lease = cloud.jobs.lease(job.job_id, "wrk_01k0000000000000000elsewhere", 60)
    assert isinstance(lease, Lease)
    cloud.jobs.finish(lease, "done", content="x")
    app = TopApp(StackSampler(cloud), preferences=Preferences(tmp_path / "tui.json"))
    async with app.run_test(size=(120, 40)) as pilot:

        async def holds(condition: Any) -> Any:
            await pilot.pause()
            return condition()

        jobs = app.screen.query_one("#jobs", DataTable)
        await eventually(lambda: holds(lambda: job.job_id in jobs.rows))
        assert str(jobs.get_row(job.job_id)[8]) == "elsewhere"
        assert app.screen.query_one("#parts", DataTable).row_count == 0
        assert "without a worker" in str(app.screen.query_one("#headline", Static).content)
        assert "waiting 1" in str(app.screen.query_one("#waiting-text", Static).content)
        await pilot.press("enter")
        await eventually(lambda: holds(lambda: isinstance(app.screen, TraceScreen)))
        lines = app.screen.query_one("#trace-lines", Static)
        await eventually(lambda: holds(lambda: "attempt 1" in str(lines.content)))


async def test_all_columns_are_seen_in_80(tmp_path: Path) -> None:
    """In 80 columns by 24 each heading is on the screen and each number whole; a wider terminal shows whole ids, at once."""
    app = TopApp(ScriptedSampler(), preferences=Preferences(tmp_path / "tui.json"))
    async with app.run_test(size=(80, 24)) as pilot:

        def rows() -> list[str]:
            return ["".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()]

        async def shows(*texts: str) -> list[str]:
            async def holds() -> bool:
                await pilot.pause()
                return all(text in "\n".join(rows()) for text in texts)

            await eventually(holds)
            return rows()

        shown = await shows("dkpzst9jfx"[-8:], "gateway")
        headings = ["TIME", "JOB", "STATUS", "TRY", "WAITED", "FIRST", "TOTAL", "TOKENS", "WORKER"]
        assert [row.split() for row in shown if "WAITED" in row] == [headings]
        assert ["01:46:31", "pzst9jfx", "done", "1", "20", "ms", "158", "ms", "3.7", "s", "212", "worker"] in [
            row.split() for row in shown
        ]
        assert [row.split() for row in shown if "RESTARTS" in row] == [
            ["PART", "STATE", "PID", "MEMORY", "RESTARTS", "DETAIL"]
        ]
        assert any("it ended with SIGKILL" in row for row in shown)
        assert any("whole answer" in row for row in shown)
        assert not app.screen.query_one("#jobs", DataTable).show_horizontal_scrollbar
        assert not app.screen.query_one("#parts", DataTable).show_horizontal_scrollbar
        await pilot.resize_terminal(130, 30)
        await shows("job_01m831ajrm0svfe3dkpzst9jfx", "FIRST TOKEN")
        assert app.screen.query_one("#jobs", DataTable).row_count == 2
