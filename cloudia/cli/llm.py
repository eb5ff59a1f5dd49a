"""`cloudia llm`: keep what a real provider sends as a case, and play it."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated
from urllib.parse import urlsplit

import typer

from cloudia.cli.chaos_llm import play
from cloudia.cli.output import STATE, note, print_json
from cloudia.errors import UsageError

app = typer.Typer(help="Keep what a real LLM provider sends, and play it.", no_args_is_help=True, rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def record(
    file: Annotated[Path, typer.Argument(help="Where the case goes; a new file.")],
    url: Annotated[str, typer.Argument(help="The provider's base URL; if left out, the configured one.")] = "",
    *,
    text: Annotated[bool, typer.Option("--text", help="Keep what was said; else letters become x, digits 1.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 0,
    json: Json = False,
) -> None:
    """Stand between a worker and a provider, and keep what the provider sends: bytes, times, and how it ends.

    Point a stack at the URL that it prints (`cloudia up --llm URL`), send messages, press Ctrl-C. Keys are never kept.
    """
    from cloudia.cli.llm_record import record_case  # noqa: PLC0415 - lazy
    from cloudia.local.llm import real_llm  # noqa: PLC0415 - lazy
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy

    STATE.json = json
    if file.exists():
        raise UsageError(f"{file} is there already", hint="Name a new file.")
    settings = find_project().settings().settings
    provider = url or real_llm(settings)[1]
    if urlsplit(provider).scheme not in {"http", "https"} or not urlsplit(provider).hostname:
        raise UsageError(f"{provider!r} is no URL of http or https", hint="Such as http://127.0.0.1:11434/v1.")
    answers = record_case(file, provider, text=text, port=port, ca_bundle=settings.llm_ca_bundle)
    if json:
        print_json({"file": str(file) if answers else None, "answers": answers})
    else:
        note(f"{answers} answers are kept in {file}" if answers else "nothing was asked, so nothing is kept")


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="A case, as `record` writes it.")],
    *,
    count: Annotated[int, typer.Option(min=1, help="How often it is played.")] = 1,
    json: Json = False,
) -> None:
    """Have the simulated provider of this folder's stack play a case to the next messages, as `chaos llm case` does."""
    STATE.json = json
    play(str(file), count)
