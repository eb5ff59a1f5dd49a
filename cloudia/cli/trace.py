"""`cloudia trace`: one message as a waterfall, or the last messages as a list."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloudia.cli.cloud_target import TargetName  # noqa: TC001 - typer reads it
from cloudia.cli.durations import parse_seconds
from cloudia.cli.output import STATE, console, print_json
from cloudia.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloudia.cli.services import Services
    from cloudia.operate.waterfall import Waterfall
    from cloudia.protocol import Job

_LIST = "list"
_EVERY_SECONDS = 0.5
_SPAN_SECONDS = 2.0
"""How long a message that has ended is followed for the last of its spans."""


def trace(
    what: Annotated[
        str | None, typer.Argument(metavar="[JOB|list]", help="A job; or `list`, for the last messages.")
    ] = None,
    *,
    last: Annotated[bool, typer.Option("--last", help="The last message that was accepted or ended.")] = False,
    conversation: Annotated[
        str | None, typer.Option("--conversation", metavar="ID", help="The last message of this conversation.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Draw it anew until the message has ended.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="With list: those that failed or are dead letters.")] = False,
    slow: Annotated[
        str | None, typer.Option("--slow", metavar="TIME", help="With list: those that took longer, such as 5s.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="With list: of the last 30m, 2h or 1d.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="With list: at most so many.")] = 20,
    target: TargetName = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON; of one message OTLP's.")] = False,
) -> None:
    """Draw what one message's time went to: the queue, each attempt, back-offs, the first text, the streaming.

    It is drawn from the job's record, on any target, with the spans that the stack's collector has of it. --json is one trace
    as OTLP JSON, which tracing tools read.
    """
    from cloudia.cli.services import open_services  # noqa: PLC0415 - lazy

    STATE.json = json
    if sum([what is not None, last, conversation is not None]) != 1:
        raise UsageError("say which message", hint="A JOB, --last, --conversation ID, or `list`.")
    if what != _LIST and (failed or slow or since):
        raise UsageError("--failed, --slow and --since are for `cloudia trace list`")
    slower = parse_seconds(slow) if slow else 0.0
    earliest = time.time() - parse_seconds(since) if since else 0.0
    services = open_services(target)
    if what == _LIST:
        _list(services, failed=failed, slower=slower, earliest=earliest, limit=limit, json=json)
    else:
        _draw(services, _finder(services, what, conversation), follow=follow, json=json)


def _list(services: Services, *, failed: bool, slower: float, earliest: float, limit: int, json: bool) -> None:
    from cloudia.cli.trace_view import print_list  # noqa: PLC0415 - lazy
    from cloudia.operate.recent import FAILED, STATES, recent  # noqa: PLC0415 - lazy
    from cloudia.operate.waterfall import waterfall  # noqa: PLC0415 - lazy

    jobs = recent(services.cloud, FAILED if failed else STATES, since=earliest, most=limit)
    drawn = [waterfall(job, now=time.time()) for job in jobs]
    print_list([one for one in drawn if one.seconds > slower], json=json)


def _finder(services: Services, job_id: str | None, conversation: str | None) -> Callable[[], Job]:
    """Return what reads the record of the message that was asked for."""
    from cloudia.operate.evidence import find_job  # noqa: PLC0415 - lazy
    from cloudia.operate.recent import last_of, recent  # noqa: PLC0415 - lazy

    if job_id is None:
        if conversation:
            job_id = last_of(services.cloud, conversation).job_id
        elif found := recent(services.cloud, most=1):
            job_id = found[0].job_id
        else:
            raise NotFoundError("there is no message yet", hint="Send one with `cloudia send`.", code="no_job")
    found_id = job_id
    return lambda: find_job(services.cloud, found_id)


def _draw(services: Services, find: Callable[[], Job], *, follow: bool, json: bool) -> None:
    from cloudia.cli.trace_view import view  # noqa: PLC0415 - lazy
    from cloudia.operate.otlp import otlp  # noqa: PLC0415 - lazy
    from cloudia.operate.spans import among, read  # noqa: PLC0415 - lazy

    out, looks = console(), _looks(services, find, follow=follow)
    if follow and out.is_terminal and not json:
        from rich.live import Live  # noqa: PLC0415 - lazy

        with Live(console=out, auto_refresh=False) as live:
            for drawn, collected in looks:
                live.update(view(among(drawn, read(collected)), out), refresh=True)
        return
    *_, (drawn, collected) = looks
    spans = read(collected)
    if json:
        stack = services.cloud.stack
        recorded = otlp(drawn, queue=stack.jobs_queue.name, stack=stack.name, spans=spans)
        print_json({"resourceSpans": [*recorded["resourceSpans"], *(collected or {}).get("resourceSpans", ())]})
    else:
        out.print(view(among(drawn, spans), out))


def _looks(services: Services, find: Callable[[], Job], *, follow: bool) -> Iterator[tuple[Waterfall, Any]]:
    """Yield a message, and what the collector has of its trace; where it is followed, until it has ended and was delivered."""
    from cloudia.operate.waterfall import waterfall  # noqa: PLC0415 - lazy

    ended_at = 0.0
    while True:
        drawn = waterfall(find(), now=time.time())
        collected = _collected(services, drawn.job)
        yield drawn, collected
        if drawn.job.ended:
            ended_at = ended_at or time.monotonic()
            if collected is None or _was_delivered(collected) or time.monotonic() - ended_at > _SPAN_SECONDS:
                return
        if not follow:
            return
        time.sleep(_EVERY_SECONDS)


def _collected(services: Services, job: Job) -> dict[str, Any] | None:
    """Return what the collector of this folder's stack has of a message's trace, where that is meant, and answers."""
    from cloudia.local.collector import collected  # noqa: PLC0415 - lazy

    run = services.target.run
    return collected(services.target.project, run, job.trace_id) if run and job.trace_id else None


def _was_delivered(collected: dict[str, Any]) -> bool:
    from cloudia.operate.spans import read  # noqa: PLC0415 - lazy
    from cloudia.telemetry import conventions as names  # noqa: PLC0415 - lazy

    return any(span.name == names.DELIVER for span in read(collected))
