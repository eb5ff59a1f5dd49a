"""`cloudia chat`: talk to the stack in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer


def chat(
    *,
    conversation: Annotated[
        str | None, typer.Option("--conversation", "-c", help="Go on in this conversation.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="As which user of the local stack.")] = None,
    url: Annotated[str | None, typer.Option(help="HTTP API of a stack elsewhere.")] = None,
    websocket_url: Annotated[str | None, typer.Option(help="Its gateway.")] = None,
    token: Annotated[str | None, typer.Option(help="Its bearer token.")] = None,
) -> None:
    """Talk to a stack: conversations, streaming answers, and what the system does."""
    from cloudia.cli.drawn import run_drawn  # noqa: PLC0415 - lazy
    from cloudia.cli.streams import require_terminal  # noqa: PLC0415 - lazy
    from cloudia.cli.target import Target, find_target  # noqa: PLC0415 - lazy
    from cloudia.cli.top import make_sampler  # noqa: PLC0415 - lazy
    from cloudia.errors import UsageError  # noqa: PLC0415 - lazy
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy

    require_terminal("In a script, use `cloudia send`.")
    sampler = None
    if url or websocket_url or token:
        if not (url and websocket_url and token):
            raise UsageError("a stack elsewhere needs --url, --websocket-url and --token")
        target = Target(url, websocket_url, token)
    else:
        target = find_target(user=user)
        project = find_project()
        sampler = make_sampler(project) if project.live_run() else None

    if target.found is None:  # A mistyped URL would be asked for ever.
        import asyncio  # noqa: PLC0415 - lazy

        from cloudia.client.check import check_stack  # noqa: PLC0415 - lazy

        asyncio.run(check_stack(target.api_url, target.websocket_url, target.tokens))

    from cloudia.tui.app import ChatApp  # noqa: PLC0415 - lazy

    run_drawn(ChatApp(target.client, sampler=sampler, conversation_id=conversation))
