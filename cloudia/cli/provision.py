"""`cloudia provision`: make the cloud what the stack defines, or delete it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cloudia.cli.confirm import confirm
from cloudia.cli.output import STATE, console, note, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudia.deploy.change import Change


def provision(
    *,
    destroy: Annotated[bool, typer.Option("--destroy", help="Delete the stack's resources instead.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Create what is missing, bring back what drifted: queues, tables, parameters.

    --destroy also deletes the functions and the HTTP API that `up --functions zip` has put into an engine.
    """
    from dataclasses import replace  # noqa: PLC0415 - lazy
    from itertools import chain  # noqa: PLC0415 - lazy

    from cloudia.cloud.aws import Aws  # noqa: PLC0415 - lazy
    from cloudia.deploy import lambdas  # noqa: PLC0415 - lazy
    from cloudia.deploy import provision as work  # noqa: PLC0415 - lazy
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy
    from cloudia.local.run_file import PlannedRun  # noqa: PLC0415 - lazy
    from cloudia.sim.engines import takes_zips  # noqa: PLC0415 - lazy
    from cloudia.sim.engines.answering import check_url  # noqa: PLC0415 - lazy
    from cloudia.stack import Stack  # noqa: PLC0415 - lazy

    STATE.json = json
    project = find_project()
    settings = project.settings().settings
    run = project.read_run()
    if not settings.aws_endpoint_url and isinstance(run, PlannedRun):
        settings = replace(settings, aws_endpoint_url=run.urls.aws_endpoint_url, stack_name=run.stack_name)
    if settings.aws_endpoint_url:
        check_url(settings.aws_endpoint_url)
    aws, stack = Aws(settings), Stack(settings.stack_name)
    where = settings.aws_endpoint_url or f"AWS, {settings.aws_region}"
    if destroy:
        zips = bool(settings.aws_endpoint_url) and takes_zips(settings.aws_endpoint_url)
        what = "queues, tables, parameters and functions" if zips else "queues, tables and parameters"
        confirm(f"Delete the {what} of {stack.name!r} at {where}, and all they hold?", yes=yes)
        deployed = lambdas.remove(aws, stack) if zips else ()
        changes: Iterator[Change] = chain(deployed, work.destroy(aws, stack))
    else:
        own = project.secrets()
        secrets = work.secret_values(stack, settings, {"token": own.token, "session": own.session})
        # A stack that others use keeps its secrets: who signs with another one here would lock them out.
        keep = frozenset({stack.token_secret.name, stack.session_secret.name})
        changes = work.provision(aws, stack, secrets, keep=keep)
    if not json:
        note(f"{stack.name} at {where}")
    done = []
    for change in changes:
        done.append(change)
        if not json:
            _show(change)
    if json:
        print_json({"stack_name": stack.name, "resources": [change.to_json() for change in done]})


def _show(change: Change) -> None:
    from rich.text import Text  # noqa: PLC0415 - lazy

    style = {"created": "green", "updated": "yellow", "deleted": "red"}.get(change.action, "dim")
    drift = f"  {', '.join(change.drift)}" if change.drift else ""
    console().print(Text.assemble((f"{change.action:<10}", style), f"{change.kind:<10} {change.name}", (drift, "dim")))
