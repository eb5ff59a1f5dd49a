"""The view of a running stack: parts, queue, throughput, latencies, breakers, and the last jobs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import DataTable, Footer, Sparkline, Static

from cloudia.errors import CloudiaError
from cloudia.tui.history import History
from cloudia.tui.status_line import breaker_of

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from cloudia.operate.samples import Sample, Sampler

__all__ = ["TopScreen", "TraceScreen"]

_SECONDS = 1.0
_STATES = {"ready": "$success", "failed": "$error"}
_WIDE = 120
"""Columns of a terminal from which on there is room for a job's whole id, and around the cells."""
_PART_COLUMNS = {"PART": 10, "STATE": 10, "PID": 7, "MEMORY": 7, "RESTARTS": 8}
_JOB_COLUMNS = {
    "TIME": 8,
    "JOB": 30,
    "STATUS": 13,
    "ATTEMPT": 7,
    "WAITED": 8,
    "FIRST TOKEN": 11,
    "TOTAL": 8,
    "TOKENS": 6,
    "WORKER": 9,
}
_NARROW_JOB_COLUMNS = {
    "TIME": 8,
    "JOB": 8,
    "STATUS": 13,
    "TRY": 3,
    "WAITED": 7,
    "FIRST": 7,
    "TOTAL": 7,
    "TOKENS": 6,
    "WORKER": 6,
}
"""The same in 80 columns, with a bar at the right; ids are shown by their ends."""
_ENDS = {"done": "$success", "cancelled": "$text-muted"}


class TopScreen(Screen[None]):
    """What `cloudia top` shows; the chat opens it too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter,t",
            "trace",
            "Trace",
            id="top.trace",
            tooltip="Show the job's way: what the parts logged, or its attempts",
        ),
        Binding("p", "pause", "Pause", id="top.pause", tooltip="Hold the picture, or go on"),
        Binding("escape", "leave", "Back", id="top.leave", tooltip="Go back"),
    ]

    def __init__(self, sampler: Sampler) -> None:
        super().__init__()
        self._sampler = sampler
        self._history = History()
        self._last: Sample | None = None
        self._paused = False

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield Static("", id="headline")
        yield DataTable(id="parts", cursor_type="none", show_cursor=False)
        with Horizontal(id="plots"):
            for name in ("waiting", "working", "throughput"):
                with Vertical(classes="plot"):
                    yield Static("", id=f"{name}-text")
                    yield Sparkline([], id=name)
        yield Static("", id="latency")
        yield DataTable(id="jobs", cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one("#jobs", DataTable).focus()
        self._look()

    def on_resize(self) -> None:
        """Give the tables the columns that there is room for."""
        padding = 1 if self._wide else 0
        gap = 2 * padding or 1
        room = self.size.width - 2 - sum(_PART_COLUMNS.values()) - gap * (len(_PART_COLUMNS) + 1)
        for name, columns in (("#parts", {**_PART_COLUMNS, "DETAIL": max(6, room)}), ("#jobs", self._job_columns)):
            table = self.query_one(name, DataTable)
            table.clear(columns=True)
            table.cell_padding = padding
            for heading, width in columns.items():
                table.add_column(heading, width=width + (gap if not padding else 0))
        if self._last:
            self._show(self._last)

    @property
    def _wide(self) -> bool:
        return self.app.size.width >= _WIDE

    @property
    def _job_columns(self) -> dict[str, int]:
        return _JOB_COLUMNS if self._wide else _NARROW_JOB_COLUMNS

    @work(exclusive=True)
    async def _look(self) -> None:
        while True:
            if not self._paused:
                try:
                    told: Sample | CloudiaError = await asyncio.to_thread(self._sampler.sample)
                except CloudiaError as error:
                    told = error
                if not self.query("#headline"):
                    return  # The screen was left meanwhile.
                if isinstance(told, CloudiaError):
                    self.query_one("#headline", Static).update(Content.styled(told.message, "$error"))
                else:
                    self._history.add(told)
                    self._show(told)
            await asyncio.sleep(_SECONDS)

    def _show(self, sample: Sample) -> None:
        self._last = sample
        breaker = breaker_of(sample.health)
        parts = [Content.styled(f"stack {sample.state}", _STATES.get(sample.state, "$warning"))]
        if breaker:
            colour = {"closed": "$success", "half-open": "$warning", "open": "$error"}[breaker[1]]
            parts.append(Content.assemble(f"{breaker[0]}: breaker ", (breaker[1], colour)))
        if sample.dead_letters is not None:
            colour = "$error" if sample.dead_letters else "$text-muted"
            parts.append(Content.styled(f"{sample.dead_letters} dead letters", colour))
        self.query_one("#headline", Static).update(Content("   ").join(parts))
        self._show_parts(sample)
        self._show_plots(sample)
        self._show_jobs(sample)

    def _show_parts(self, sample: Sample) -> None:
        table = self.query_one("#parts", DataTable)
        table.clear()
        for part in sample.parts:
            memory = f"{part.resident_bytes / 2**20:.0f} MB" if part.resident_bytes else ""
            state = Content.styled(part.state, _STATES.get(part.state, "$warning"))
            table.add_row(Content(part.name), state, part.pid or "", memory, part.restarts, Content(part.detail))

    def _show_plots(self, sample: Sample) -> None:
        history = self._history
        series = {"waiting": history.depths(), "working": history.in_flight(), "throughput": history.throughput()}
        for name, values in series.items():
            self.query_one(f"#{name}", Sparkline).data = values
        rates = series["throughput"][-10:]
        rate = sum(rates) / len(rates) if rates else 0.0
        self.query_one("#waiting-text", Static).update(f"waiting {_count(sample.visible)}")
        self.query_one("#working-text", Static).update(f"in work {_count(sample.in_flight)}")
        self.query_one("#throughput-text", Static).update(f"answers {rate:.1f}/s")
        first = " / ".join(_millis(history.first_token(share)) for share in (0.5, 0.95, 0.99))
        total = " / ".join(_millis(history.total(share)) for share in (0.5, 0.95, 0.99))
        told = (f"first token p50/p95/p99 {first}", f"whole answer {total}", f"of the last {len(history.jobs)} jobs")
        self.query_one("#latency", Static).update("   ".join(told) if self._wide else "\n".join(told[:2]))

    def _show_jobs(self, sample: Sample) -> None:
        table, columns = self.query_one("#jobs", DataTable), self._job_columns
        if not sample.jobs and table.row_count:
            return
        chosen = self._chosen() if table.cursor_row else None  # At the top it stays there, for the newest.
        table.clear()
        for job in reversed(self._history.jobs):
            status = Content.styled(job.status, _ENDS.get(job.status, "$error"))
            table.add_row(
                Content(job.time[11:19]),
                Content(job.job_id[-columns["JOB"] :]),
                status,
                job.attempt,
                _millis(job.waited_ms),
                _millis(job.first_token_ms),
                _millis(job.total_ms),
                "" if job.tokens is None else job.tokens,
                Content(job.worker[-columns["WORKER"] :]),
                key=job.job_id,
            )
        if chosen is not None and chosen in table.rows:
            table.move_cursor(row=table.get_row_index(chosen), animate=False)

    def _chosen(self) -> str | None:
        table = self.query_one("#jobs", DataTable)
        if not table.row_count:
            return None
        return table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value

    @on(DataTable.RowSelected, "#jobs")
    def action_trace(self) -> None:
        """Show the way of the job under the cursor."""
        job_id = self._chosen()
        if job_id:
            self.app.push_screen(TraceScreen(self._sampler, job_id))

    def action_pause(self) -> None:
        """Hold the picture, or go on."""
        self._paused = not self._paused
        self.sub_title = "paused" if self._paused else ""
        self.notify("Paused." if self._paused else "Going on.")

    def action_leave(self) -> None:
        """Go back to the chat, or leave where there is none."""
        if len(self.app.screen_stack) > 2:  # noqa: PLR2004 - the application's own, and this one
            self.app.pop_screen()
        else:
            self.app.exit()


class TraceScreen(ModalScreen[None]):
    """One job's way through the parts."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "app.pop_screen", "Back", id="trace.leave")]

    def __init__(self, sampler: Sampler, job_id: str) -> None:
        super().__init__()
        self._sampler = sampler
        self._job_id = job_id

    def compose(self) -> ComposeResult:
        """Show a place for the lines."""
        with VerticalScroll(id="trace"):
            yield Static(f"Job {self._job_id}", id="trace-title", markup=False)
            yield Static("", id="trace-lines", markup=False)

    async def on_mount(self) -> None:
        """Read the lines."""
        lines = await asyncio.to_thread(self._sampler.trace, self._job_id)
        for shown in self.query("#trace-lines").results(Static):  # None, where the screen was left meanwhile.
            shown.update("\n".join(lines) or "Nothing is known about it any more.")


def _count(value: int | None) -> str:
    return "?" if value is None else str(value)


def _millis(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"  # noqa: PLR2004
