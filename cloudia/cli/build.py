"""`cloudia build`: make what is deployed to AWS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloudia.cli.output import STATE, console, note, print_json
from cloudia.errors import UsageError

if TYPE_CHECKING:
    from cloudia.deploy.zips.functions import FunctionZip

_PIPED_WIDTH = 10_000
"""No line is broken where a program reads."""

app = typer.Typer(help="Make what is deployed to AWS.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def functions(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder that the zips go to.")] = Path(
        "dist/functions"
    ),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make the functions' zips for Lambda, one each; the same sources make the same bytes."""
    from cloudia.deploy.zips.functions import ARCHITECTURES, LAYER, RUNTIME, build_functions  # noqa: PLC0415 - lazy
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy
    from cloudia.stack import Stack  # noqa: PLC0415 - lazy

    STATE.json = json
    settings = find_project().settings().settings
    zips = build_functions(Stack(operator=settings.operator_api))
    paths = _write(output, zips)
    if json:
        rows = [{**each.to_json(), "path": str(path)} for each, path in zip(zips, paths, strict=True)]
        print_json({"runtime": RUNTIME, "architectures": ARCHITECTURES, "functions": rows})
        return
    if settings.auth_jwks_url:
        note(LAYER)
    _show(zips, paths)
    note(f"{RUNTIME}, {' or '.join(ARCHITECTURES)}; {sum(len(each.data) for each in zips):,} bytes in all")


@app.command()
def terraform(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file, in the folder of the module.")] = Path(
        "deploy/terraform/stack.json"
    ),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write what the Terraform module reads of the stack: its resources, and what each part may do and be told."""
    from cloudia.deploy.terraform import stack_json  # noqa: PLC0415 - lazy
    from cloudia.given_file import write_given  # noqa: PLC0415 - lazy

    STATE.json = json
    text = stack_json()
    try:
        write_given(output, text)
    except OSError as error:
        raise UsageError(
            f"{output} cannot be written: {error.strerror}", hint="Name another file with --output."
        ) from error
    if json:
        print_json({"path": str(output), "bytes": len(text)})
        return
    console().print(str(output), markup=False, highlight=False, soft_wrap=True)


def _write(folder: Path, zips: list[FunctionZip]) -> list[Path]:
    """Write each zip in one step, so that nobody uploads half of one. Return where they are."""
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in zips:
            path = folder / f"{each.name}.zip"
            part = path.with_suffix(".zip.part")
            try:
                part.write_bytes(each.data)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            paths.append(path)
    except OSError as error:
        raise UsageError(
            f"{error.filename or folder} cannot be written: {error.strerror}", hint="Name another folder with --output."
        ) from error
    return paths


def _show(zips: list[FunctionZip], paths: list[Path]) -> None:
    from rich.table import Table  # noqa: PLC0415 - lazy

    out = console()
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("ZIP")
    table.add_column("BYTES", justify="right")
    table.add_column("FILES", justify="right")
    table.add_column("SHA256")
    for each, path in zip(zips, paths, strict=True):
        table.add_row(str(path), f"{len(each.data):,}", str(each.files), each.sha256[:12])
    out.print(table, width=None if out.is_terminal else _PIPED_WIDTH)
