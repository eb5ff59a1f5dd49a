"""`cloudia conversations`: list them, show one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloudia.cli.output import STATE, console, print_json, print_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cloudia.client.api import Api

app = typer.Typer(help="List the conversations, or show one.", no_args_is_help=True, rich_markup_mode=None)

User = Annotated[str | None, typer.Option(help="As which user of the local stack.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="Most entries.")]
Cursor = Annotated[str | None, typer.Option(help="next_cursor of the page before.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(*, user: User = None, limit: Limit = 50, cursor: Cursor = None, json: Json = False) -> None:
    """List the conversations, the one last written to first."""
    STATE.json = json
    page = _ask(user, lambda api: api.conversations(limit=limit, cursor=cursor))
    if json:
        print_json(page)
        return
    from rich.table import Table  # noqa: PLC0415 - lazy
    from rich.text import Text  # noqa: PLC0415 - lazy

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("CONVERSATION", "TITLE", "UPDATED"):
        table.add_column(heading, no_wrap=heading != "TITLE")
    for entry in page["conversations"]:
        table.add_row(entry["conversation_id"], Text(entry["title"]), entry["updated_at"])
    console().print(table)


@app.command("show")
def show(
    conversation_id: Annotated[str, typer.Argument(help="The conversation.")],
    *,
    user: User = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """Show a conversation's messages, oldest first."""
    STATE.json = json
    page = _ask(user, lambda api: api.messages(conversation_id, limit=limit, cursor=cursor))
    if json:
        print_json(page)
        return
    from rich.text import Text  # noqa: PLC0415 - lazy

    out = console()
    for message in page["messages"]:
        failed = f"  {message['status']}: {message['error']['message']}" if message["error"] else ""
        head = Text.assemble((message["role"], "bold cyan" if message["role"] == "user" else "bold green"))
        out.print(head.append(f"  {message['created_at']}", "dim").append(failed, "red"))
        print_text(message["content"])
        out.print()


def _ask(user: str | None, question: Callable[[Api], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    import asyncio  # noqa: PLC0415 - lazy

    from cloudia.cli.target import find_target, of_conversation  # noqa: PLC0415 - lazy
    from cloudia.client.api import Api  # noqa: PLC0415 - lazy

    target = find_target(user=user)

    async def ask() -> dict[str, Any]:
        async with Api(target.api_url, target.tokens) as api:
            return await question(api)

    with of_conversation():
        return asyncio.run(ask())
