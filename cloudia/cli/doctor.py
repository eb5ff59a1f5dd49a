"""`cloudia doctor`: what this machine has of what cloudia can use, and how to get the rest."""

from __future__ import annotations

from typing import Annotated

import typer

from cloudia.cli.exits import FAILED
from cloudia.cli.output import STATE, console, print_json


def doctor(
    *,
    llm: Annotated[
        bool,
        typer.Option(
            "--llm", help="Ask the configured LLM one tiny question too, which may cost a fraction of a cent."
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check this machine. Exits 1 where something that `cloudia up` needs is missing.

    With `--llm` it tells why an LLM does not answer: nothing listens there, or TLS, the name, path, model or key is wrong.
    """
    from cloudia.local.checkup import check_all  # noqa: PLC0415 - lazy
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy

    STATE.json = json
    project = find_project()
    checks = check_all(project)
    if llm and not any(check.name == "settings" and check.state == "missing" for check in checks):
        import asyncio  # noqa: PLC0415 - lazy

        from cloudia.local.llm_check import check_llm  # noqa: PLC0415 - lazy

        checks += asyncio.run(check_llm(project.settings().settings))
    broken = any(check.state == "missing" for check in checks)
    if json:
        print_json({"ok": not broken, "checks": [check.to_json() for check in checks]})
    else:
        from rich.text import Text  # noqa: PLC0415 - lazy

        out = console()
        marks = {"ok": ("●", "green"), "optional": ("○", "dim"), "missing": ("✗", "red")}
        for check in checks:
            mark, style = marks[check.state]
            out.print(Text.assemble((f"{mark} ", style), f"{check.name:<12} ", check.found))
            if check.hint:
                out.print(Text(f"{'':15}{check.hint}", "dim"))
    if broken:
        raise typer.Exit(FAILED)
