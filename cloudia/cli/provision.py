"""`cloudia provision`: make the cloud what the stack defines, or delete it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cloudia.cli.cloud_target import TargetName  # noqa: TC001 - typer reads it
from cloudia.cli.confirm import confirm
from cloudia.cli.output import STATE, console, note, print_json
from cloudia.settings import dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudia.cli.cloud_target import CloudTarget
    from cloudia.deploy.change import Change
    from cloudia.settings import Settings


def provision(
    *,
    destroy: Annotated[bool, typer.Option("--destroy", help="Delete the stack's resources instead.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    target: TargetName = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Create what is missing, bring back what drifted: queues, tables, parameters.

    The secrets that sign tokens and sessions are this folder's where its stack is meant; elsewhere they are made there,
    and kept. --destroy also deletes the functions and the HTTP API that `up --functions zip` has put into an engine.
    """
    from itertools import chain  # noqa: PLC0415 - lazy

    from cloudia.cli.cloud_target import find_cloud  # noqa: PLC0415 - lazy
    from cloudia.cloud.aws import Aws  # noqa: PLC0415 - lazy
    from cloudia.deploy import lambdas  # noqa: PLC0415 - lazy
    from cloudia.deploy import provision as work  # noqa: PLC0415 - lazy
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy
    from cloudia.local.secrets import Secrets  # noqa: PLC0415 - lazy
    from cloudia.sim.engines import takes_zips  # noqa: PLC0415 - lazy
    from cloudia.stack import Stack  # noqa: PLC0415 - lazy

    STATE.json = json
    found = find_cloud(find_project(), target)
    found.tell()
    settings = found.settings
    aws, stack = Aws(settings), Stack(settings.stack_name, operator=settings.operator_api)
    where = settings.aws_endpoint_url or f"AWS, {settings.aws_region}"
    if destroy:
        zips = bool(settings.aws_endpoint_url) and takes_zips(settings.aws_endpoint_url)
        what = "queues, tables, parameters and functions" if zips else "queues, tables and parameters"
        confirm(f"Delete the {what} of {stack.name!r} at {where}, and all they hold?", yes=yes)
        deployed = lambdas.remove(aws, stack) if zips else ()
        changes: Iterator[Change] = chain(deployed, work.destroy(aws, stack))
    else:
        own = found.project.secrets() if found.run else Secrets()
        secrets = work.secret_values(stack, _own_keys(found), {"token": own.token, "session": own.session})
        # A stack that others use keeps its secrets: who signs with another one here would lock them out.
        keep = frozenset({stack.token_secret.name, stack.session_secret.name})
        changes = work.provision(aws, stack, secrets, keep=keep)
    done = []
    for change in changes:
        done.append(change)
        if not json:
            _show(change)
    if json:
        print_json({"stack_name": stack.name, "target": str(found), "resources": [change.to_json() for change in done]})


def _own_keys(found: CloudTarget) -> Settings:
    """Return the settings with the API keys that are meant for a target.

    This folder's stack has got its own from `up`. Elsewhere they are those of the environment: what `.env` and `cloudia.toml`
    hold is this machine's.
    """
    from cloudia.providers import PROVIDERS  # noqa: PLC0415 - lazy

    resolved = found.project.settings()
    names = [f"{provider}_api_key" for provider in PROVIDERS]
    kept = [name for name in names if found.run or resolved.sources.get(name, "environment") != "environment"]
    for name in kept:
        if not found.run:
            note(f"{dotted(name)} stays here, as {resolved.sources[name]} has it; the environment's would be stored")
    return resolved.settings.changed(**dict.fromkeys(kept, ""))


def _show(change: Change) -> None:
    from rich.text import Text  # noqa: PLC0415 - lazy

    style = {"created": "green", "updated": "yellow", "deleted": "red"}.get(change.action, "dim")
    drift = f"  {', '.join(change.drift)}" if change.drift else ""
    console().print(Text.assemble((f"{change.action:<10}", style), f"{change.kind:<10} {change.name}", (drift, "dim")))
