"""`cloudia why`: what became of a message, in one sentence with its evidence."""

from __future__ import annotations

from typing import Annotated

import typer

from cloudia.cli.cloud_target import TargetName  # noqa: TC001 - typer reads it
from cloudia.cli.output import STATE, console, print_json


def why(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="The job, as `send` and `trace list` show it.")],
    *,
    target: TargetName = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say why a message was answered late, or failed, or is not answered yet, and what to do.

    Its job's record is asked, the workers' signs of life, the dead letters, its conversation, and its session in Redis.
    """
    from rich.text import Text  # noqa: PLC0415 - lazy

    from cloudia.cli.services import open_services  # noqa: PLC0415 - lazy
    from cloudia.operate.evidence import find_job, gather  # noqa: PLC0415 - lazy
    from cloudia.operate.why import why as explain  # noqa: PLC0415 - lazy

    STATE.json = json
    services = open_services(target)
    job = find_job(services.cloud, job_id)
    answer = explain(gather(services.cloud, services.letters, services.target.settings, job))
    if json:
        print_json({"job_id": job_id, "status": job.status, **answer.to_json()})
        return
    out = console()
    out.print(Text(answer.sentence, "bold"))
    if answer.advice:
        out.print(Text.assemble(("what to do: ", "bold"), answer.advice))
    for line in answer.evidence:
        out.print(Text(f"  {line}", "dim"))
