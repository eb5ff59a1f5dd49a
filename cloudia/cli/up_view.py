"""What `cloudia up` shows: the parts as they come up, then what they log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from rich.live import Live
from rich.table import Table
from rich.text import Text

from cloudia.cli.log_lines import render
from cloudia.cli.output import STATE, console, print_json, stderr_console
from cloudia.cli.own_command import own_command

if TYPE_CHECKING:
    from cloudia.local.part import Part
    from cloudia.local.project import Project
    from cloudia.local.run_file import PlannedRun, RunFile

__all__ = ["UpView", "show_ready"]

_MARKS = {
    "ready": ("●", "green"),
    "starting": ("◌", "yellow"),
    "restarting": ("↻", "yellow"),
    "stopping": ("◌", "dim"),
    "stopped": ("○", "dim"),
    "failed": ("✗", "red"),
}
_URLS = (("HTTP API", "api_url"), ("WebSocket", "websocket_url"), ("AWS", "aws_endpoint_url"))


class UpView:
    """Shows a start on stderr: drawn in a terminal, a line each elsewhere."""

    def __init__(self, project: Project, *, quiet: bool) -> None:
        self._project = project
        self._quiet = quiet
        self._console = stderr_console()
        self._began = time.monotonic()
        self._states: dict[str, tuple[str, str]] = {}
        self._doing = ""
        self._live: Live | None = None
        self._up = False

    # --- a supervisor's watcher ---------------------------------------------------------------------------------------

    def part(self, part: Part) -> None:
        """Show a part's state."""
        self._state(part.spec.name, part.state, part.reason or part.spec.detail)

    def line(self, name: str, line: str) -> None:
        """Show what a part logs, once all are up."""
        if self._up and not self._quiet:
            self._console.print(render(line, name))

    def say(self, text: str) -> None:
        """Show something else."""
        if not self._quiet:
            self._console.print(Text(text, style="dim"))

    def ready(self, run: PlannedRun) -> None:
        """Show where the stack is."""
        self.close()
        self._up = True
        page_url = self._project.page_url(run)
        if STATE.json:
            print_json({**run.shown(), "web_url": page_url})
            return
        show_ready(run, page_url, seconds=time.monotonic() - self._began)
        self.say("Ctrl-C stops everything. Logs follow.")

    # --- a detached start's progress ------------------------------------------------------------------------------------

    def progress(self, run: RunFile) -> None:
        """Show what `run.json` says: what takes long, and the parts."""
        if run.doing != self._doing:
            self._doing = run.doing
            self.say(run.doing)
        for name, part in run.parts.items():
            self._state(name, part.state, part.reason or part.detail)

    # --- drawing --------------------------------------------------------------------------------------------------------

    def _state(self, name: str, state: str, detail: str) -> None:
        if self._states.get(name) == (state, detail):
            return
        self._states[name] = (state, detail)
        if self._quiet:
            return
        draws = self._console.is_terminal and not self._console.is_dumb_terminal
        if not draws or self._up or state in {"stopping", "stopped"}:
            self.close()
            self._console.print(_row(name, state, detail))
            return
        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=12, transient=False)
            self._live.start()
        self._live.update(self._table())

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for name, (state, detail) in self._states.items():
            mark, style = _MARKS[state]
            table.add_row(Text(mark, style), Text(name), Text(state, style), Text(detail, "dim"))
        return table

    def close(self) -> None:
        """Leave the drawing as it is; what follows is printed below it."""
        if self._live:
            self._live.stop()
            self._live = None


def _row(name: str, state: str, detail: str) -> Text:
    mark, style = _MARKS[state]
    return Text.assemble((f"{mark} ", style), f"{name:<10} ", (f"{state:<10} ", style), (detail, "dim"))


def show_ready(run: PlannedRun, page_url: str, *, seconds: float | None = None) -> None:
    """Print where a stack is: its data."""
    out = console()
    table = Table.grid(padding=(0, 2))
    table.add_row(Text("web page", "dim"), Text(page_url, "bold"))
    for label, name in _URLS:
        table.add_row(Text(label, "dim"), Text(getattr(run.urls, name)))
    table.add_row(Text("try", "dim"), f"{own_command()} send hello")
    took = f" after {seconds:.1f} s" if seconds else ""
    out.print(Text.assemble(("ready", "bold green"), took))
    out.print(table)
    sys.stdout.flush()
