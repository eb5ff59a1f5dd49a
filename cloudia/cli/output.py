"""What the command line prints: data to stdout, everything else to stderr.

In a terminal, what others wrote is shown and never executed: see `cloudia.visible`. Into a pipe it goes as it is.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from cloudia.cli.streams import says_all
from cloudia.visible import json_escaped, visible

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
    from rich.segment import Segment
    from rich.table import Table
    from rich.text import Text

    from cloudia.errors import CloudiaError

__all__ = [
    "STATE",
    "console",
    "json_line",
    "note",
    "print_error",
    "print_json",
    "print_text",
    "shown_on_stderr",
    "stderr_console",
    "table",
    "table_console",
]

_PIPE_WIDTH = 200


@dataclass(slots=True)
class _State:
    """The options of the command itself, before its verb."""

    quiet: bool = False
    debug: bool = False
    json: bool = False
    """Set by the verb; errors are printed as JSON from then on."""


STATE = _State()


@cache
def _console_class() -> type[Console]:
    """Return a console whose texts are `visible` in a terminal. Rich itself lets ESC and the C1 controls through."""
    from rich.console import Console  # noqa: PLC0415 - not every verb draws
    from rich.segment import Segment  # noqa: PLC0415 - not every verb draws

    class VisibleConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(visible(text) if self.is_terminal else text, **options)

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            """Render, and so what is within: a table asks this of each of its cells."""
            for segment in super().render(renderable, options):
                if segment.control or not self.is_terminal:
                    yield segment
                else:
                    yield Segment(visible(segment.text), segment.style)

    return VisibleConsole


def console() -> Console:
    """Return the console of stdout: plain text where that is not a terminal."""
    return _console_class()(highlight=False, emoji=False, soft_wrap=not sys.stdout.isatty())


def table_console() -> Console:
    """Return the console of stdout for a table: in a pipe it is wide, so that nothing is shortened for whoever reads that."""
    out = console()
    if not out.is_terminal:
        out.width = _PIPE_WIDTH
    return out


def table(*headings: str, right: Collection[str] = (), whole: Collection[str] = ()) -> Table:
    """Return a table of columns without lines, those in `right` to the right; only those in `whole` are never folded."""
    from rich.table import Table  # noqa: PLC0415 - not every verb draws

    made = Table(box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        justify: JustifyMethod = "right" if heading in right else "left"
        made.add_column(heading, justify=justify, overflow="fold", no_wrap=heading in whole)
    return made


def stderr_console() -> Console:
    """Return the console of stderr."""
    return _console_class()(stderr=True, highlight=False, emoji=False, soft_wrap=not sys.stderr.isatty())


def print_text(text: str) -> None:
    """Print a text that is data: drawn in a terminal, as it is in a pipe."""
    if sys.stdout.isatty():
        console().print(text, markup=False)
    else:
        print(text, flush=True)  # noqa: T201


def json_line(document: Any, *, indent: int | None = None) -> str:
    """Return a document as JSON text that harms no terminal, and that stdout can say; it is the same data."""
    return json_escaped(json.dumps(document, ensure_ascii=not says_all(), indent=indent))


def print_json(document: Any) -> None:
    """Print one JSON document."""
    print(json_line(document, indent=2 if sys.stdout.isatty() else None), flush=True)  # noqa: T201


def shown_on_stderr(text: str) -> str:
    """Return a text as stderr is to have it."""
    return visible(text) if sys.stderr.isatty() else text


def note(text: str) -> None:
    """Tell a person something that is not data."""
    if not STATE.quiet:
        print(shown_on_stderr(text), file=sys.stderr, flush=True)  # noqa: T201


def print_error(error: CloudiaError) -> None:
    """Print an error: one sentence and a hint, or one JSON object."""
    if STATE.json:
        print(json_line(error.to_json()), file=sys.stderr, flush=True)  # noqa: T201
        return
    out = stderr_console()
    out.print("[bold red]error:[/] ", end="")
    out.print(error.message, markup=False)
    if error.hint:
        out.print("[bold]hint:[/] ", end="")
        out.print(error.hint, markup=False)
