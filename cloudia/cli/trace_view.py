"""How `cloudia trace` shows messages: a waterfall that fits the terminal, and a list."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size
from rich.console import Group
from rich.text import Text

from cloudia.cli.durations import short_age
from cloudia.cli.output import note, print_json, table, table_console
from cloudia.operate.waterfall import bar, shown
from cloudia.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, RenderableType

    from cloudia.operate.waterfall import Part, PartKind, Waterfall

__all__ = ["print_list", "view"]

_COLOURS: dict[PartKind, str] = {
    "queue": "yellow",
    "attempt": "blue",
    "first_text": "magenta",
    "streaming": "green",
    "back_off": "yellow",
    "dead_letter": "red",
    "span": "cyan",
}
_NAME, _TIME, _SHARE = 16, 9, 6
_ONE_LINE = str.maketrans("\n\t", "  ")
_WIDEST = 120
_WIDEST_NAME = 32


def view(drawn: Waterfall, out: Console) -> RenderableType:
    """Return the waterfall, as wide as the terminal; in a pipe, when each part began in place of the bars."""
    longest = max((cell_len(_named(part)) for part in drawn.parts), default=0)
    width = max(_NAME, min(_WIDEST_NAME, longest + 1))
    return Group(*_head(drawn), *(line for part in drawn.parts for line in _lines(part, drawn, out, width)))


def _named(part: Part) -> str:
    """Return a part's name as it is drawn: that of a span is anybody's."""
    indent = "  " * (part.depth or part.within)
    return indent + visible(part.name).translate(_ONE_LINE)


def _head(drawn: Waterfall) -> Iterator[Text]:
    job = drawn.job
    good = {"done": "green", "failed": "red", "dead_lettered": "red"}.get(job.status, "yellow")
    how = "after" if job.ended else "for"
    yield Text.assemble(
        (job.status.replace("_", " "), f"bold {good}"), f" {how} {shown(drawn.seconds)}  ", (job.job_id, "dim")
    )
    usage = job.usage or {}
    facts = [f"{job.provider} {job.model}" if job.model else "", f"finish {job.finish}" if job.finish else ""]
    facts += [
        f"{usage[kind]:.0f} {kind.replace('_', ' ')}" for kind in ("input_tokens", "output_tokens") if kind in usage
    ]
    if drawn.cost_usd is not None:
        facts.append(f"${drawn.cost_usd:.6f}")
    if told := "  ".join(filter(None, facts)):
        yield Text(told, "dim")


def _lines(part: Part, drawn: Waterfall, out: Console, names: int) -> Iterator[Text]:
    name = set_cell_size(_named(part), names - 1) + " "
    share = part.seconds / drawn.seconds if drawn.seconds else 0.0
    colour = "red" if part.failed else _COLOURS[part.kind]
    line = Text.assemble(
        (name, colour),
        f"{shown(part.seconds):>{_TIME}}",
        (f"{share * 100:{_SHARE - 2}.0f} %", "dim"),
        " ",
    )
    if out.is_terminal:
        width = max(10, min(out.width, _WIDEST) - names - _TIME - _SHARE - 2)
        marks = {} if "utf" in out.encoding.lower() else {"full": "#", "thin": "|"}
        line.append(bar(part, drawn, width, **marks), colour)
    else:
        after = part.began_at - drawn.began_at
        line.append(f" at {'-' if after < 0 else '+'}{shown(abs(after))}")
    yield line
    told = (visible(remark).translate(_ONE_LINE) for remark in part.remarks)
    yield from (Text(f"{'':<{names}}  {remark}", "dim") for remark in told)


def print_list(found: Sequence[Waterfall], *, json: bool) -> None:
    """Print the table of `list`, newest first."""
    if json:
        print_json({"messages": [_row(drawn) for drawn in found], "count": len(found)})
        return
    if not found:
        note("no messages")
        return
    headings = ("AGE", "JOB", "STATUS", "TIME", "QUEUE", "ATTEMPTS", "ERROR")
    drawing = table(*headings, right=("AGE", "TIME", "QUEUE", "ATTEMPTS"), whole=("AGE", "TIME"))
    for drawn in found:
        row = _row(drawn)
        drawing.add_row(
            short_age(time.time() - drawn.began_at),
            Text(row["job_id"]),
            row["status"].replace("_", " "),
            shown(row["seconds"]),
            shown(row["queue_seconds"]),
            str(row["attempts"]),
            Text(row["error"] or "", "red"),
        )
    table_console().print(drawing)


def _row(drawn: Waterfall) -> dict[str, Any]:
    job = drawn.job
    return {
        "job_id": job.job_id,
        "conversation_id": job.conversation_id,
        "status": job.status,
        "accepted_at": job.created_at,
        "seconds": round(drawn.seconds, 3),
        "queue_seconds": round(drawn.spent("queue"), 3),
        "attempts": job.attempts,
        "error": (job.error or {}).get("code"),
        "model": job.model,
        "cost_usd": drawn.cost_usd,
    }
