"""`cloudia up`: run the whole stack on this machine."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cloudia.cli.output import STATE, note, print_json
from cloudia.providers import LLM_WORDS


def up(
    *,
    engine: Annotated[
        str | None, typer.Option(help="What stands in for AWS: ministack, localstack, or endpoint.")
    ] = None,
    endpoint_url: Annotated[
        str | None, typer.Option(help="Where the engine `endpoint`, or a running LocalStack, listens.")
    ] = None,
    functions: Annotated[
        str | None, typer.Option(help="Where the functions run: edge (in-process), or zip (in the engine's Lambda).")
    ] = None,
    llm: Annotated[str | None, typer.Option(help=f"{LLM_WORDS}.")] = None,
    model: Annotated[str | None, typer.Option(help="The LLM's model.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes.")] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port of the HTTP API and the web page; 0 takes the folder's own, else a free one."),
    ] = None,
    persist: Annotated[bool | None, typer.Option("--persist", help="Keep the data across down and up.")] = None,
    reload: Annotated[
        bool | None, typer.Option("--reload", help="Restart the workers when the responder's file changes.")
    ] = None,
    otel: Annotated[
        str | None,
        typer.Option(help="The collector of spans: on, off, or auto (where OpenTelemetry's packages are installed)."),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when all is ready; it goes on running.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the stack of this folder: HTTP API, queue, worker, gateway, and all that they stand on."""
    from cloudia.cli.up_view import UpView, show_ready  # noqa: PLC0415 - lazy
    from cloudia.local import start  # noqa: PLC0415 - lazy
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy

    STATE.json = json
    flags: dict[str, Any] = {
        "up_engine": engine or ("endpoint" if endpoint_url else None),
        "aws_endpoint_url": endpoint_url,
        "up_functions": functions,
        "up_llm": llm,
        "llm_model": model,
        "up_workers": workers,
        "api_port": port,
        "up_persist": persist,
        "up_reload": reload,
        "up_otel": otel,
    }
    flags = {name: value for name, value in flags.items() if value is not None}
    project = find_project()
    resolved = project.settings(flags)  # A mistake in the settings is told before anything starts.
    view = UpView(project, quiet=STATE.quiet or json)
    try:
        if not detach:
            start.in_foreground(project, resolved, view)
            return
        run = start.running(project)
        if run:
            note("a stack is running here already")
        else:
            run = start.detached(project, flags, view)
    finally:
        view.close()
    if json:
        print_json({**run.shown(), "web_url": project.page_url(run)})
    else:
        show_ready(run, project.page_url(run))
