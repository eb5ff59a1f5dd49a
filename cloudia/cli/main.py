"""`cloudia`: the verbs, and what becomes of their errors."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from cloudia import __version__
from cloudia.cli import (
    build,
    chaos,
    chat,
    config,
    conversations,
    cost,
    dlq,
    doctor,
    down,
    drill,
    env,
    gateway,
    init,
    llm,
    logs,
    provision,
    queue,
    reconcile,
    restart,
    send,
    status,
    token,
    top,
    trace,
    up,
    why,
    worker,
)
from cloudia.cli.colours import terminal_is_mono
from cloudia.cli.exits import FAILED, INTERRUPTED, OK, USAGE, exit_code
from cloudia.cli.output import STATE, print_error, shown_on_stderr
from cloudia.cli.streams import prepare_streams
from cloudia.errors import CloudiaError, UsageError

__all__ = ["app", "main", "verbs"]

_HELP = "NoArgsIsHelpError"
"""Raised for a command without arguments; it has no public name."""

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}

app = typer.Typer(
    help="A toolkit and local cloud for LLM chat backends on AWS.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 failed, 2 usage, 3 no stack running, 4 not allowed, 5 timed out, 6 dead-lettered, "
    "7 LLM unavailable, 130 interrupted.",
)
app.command(short_help="Write a small project that runs at once.")(init.init)
app.command(short_help="Run the stack of this folder.")(up.up)
app.command(short_help="Stop it, and leave nothing behind.")(down.down)
app.command(short_help="Show its parts: state, process, address.")(status.status)
app.command(short_help="Print or follow the logs of its parts.")(logs.logs)
app.command(short_help="Stop a part and start it again.")(restart.restart)
app.command(short_help="Send a message and stream the answer.")(send.send)
app.command(short_help="Talk to a stack in the terminal.")(chat.chat)
app.add_typer(conversations.app, name="conversations")
app.add_typer(dlq.app, name="dlq", short_help="See, redrive and purge dead letters.")
app.add_typer(queue.app, name="queue", short_help="See how full the queues are, and what is in them.")
app.command(short_help="Send again, or end, the jobs that nobody has.")(reconcile.reconcile)
app.command(short_help="Draw what a message's time went to.")(trace.trace)
app.command(short_help="Say why a message was late, or not answered.")(why.why)
app.add_typer(chaos.app, name="chaos", short_help="Break parts of the local stack on purpose.")
app.add_typer(llm.app, name="llm", short_help="Keep what a real LLM provider sends, and play it.")
app.command(short_help="Run a storm, then check that nothing was lost.")(drill.drill)
app.add_typer(cost.app, name="cost", short_help="Sum up what the LLM has cost; estimate what AWS would.")
app.command(short_help="Watch parts, queue, throughput and latency.")(top.top)
app.command(short_help="Run one more worker in this terminal.")(worker.worker)
app.command(short_help="Run one more gateway in this terminal.")(gateway.gateway)
app.command(short_help="Create what the engine lacks, bring back what drifted.")(provision.provision)
app.add_typer(build.app, name="build")
app.command(short_help="Print what other tools need to talk to the stack.")(env.env)
app.command(short_help="Print a bearer token.")(token.token)
app.command(short_help="Show each setting, its value and its source.")(config.config)
app.command(short_help="Check this machine.")(doctor.doctor)


def _print_version(value: bool) -> None:
    if value:
        print(f"cloudia {__version__}")  # noqa: T201 - the answer
        raise typer.Exit


@app.callback()
def _options(
    *,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print data and errors only.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Print tracebacks.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    STATE.quiet = quiet
    STATE.debug = STATE.debug or debug


def verbs() -> dict[str, Any]:
    """Return the command of every verb by its full name, such as `dlq list`, in the order of the help."""
    found: dict[str, Any] = {}

    def walk(group: Any, name: str) -> None:
        for part, command in group.commands.items():
            if hasattr(command, "commands"):
                if command.invoke_without_command:
                    found[name + part] = command
                walk(command, f"{name}{part} ")
            else:
                found[name + part] = command

    walk(typer.main.get_command(app), "")
    return found


def main() -> int:
    """Run the command line. Return the exit code."""
    prepare_streams()
    STATE.json = "--json" in sys.argv
    STATE.debug = os.environ.get("CLOUDIA_DEBUG", "") not in {"", "0"}
    if terminal_is_mono():
        os.environ["NO_COLOR"] = "1"  # Rich and Textual both ask for it, and neither asks the terminal.
    try:
        code = app(standalone_mode=False)
    except BaseException as error:  # noqa: BLE001 - each ends as an exit code
        if STATE.debug and not isinstance(error, SystemExit | KeyboardInterrupt | TyperException):
            print(shown_on_stderr(traceback.format_exc()), file=sys.stderr)  # noqa: T201 - it was asked for
            return FAILED
        return _end(error)
    return code if isinstance(code, int) else OK


def _is_nowhere() -> bool:
    """Tell whether the working folder is gone."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _end(error: BaseException) -> int:
    """Print what went wrong. Return the exit code."""
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        where = error.filename or "the output"
        error = CloudiaError(f"{where} cannot be used: {error.strerror}", hint="Make room, or use another.")
    if isinstance(error, FileNotFoundError) and _is_nowhere():
        error = UsageError(
            "the folder that you are in was deleted", hint="Go to another one, or to it by its path again."
        )
    match error:
        case CloudiaError():
            print_error(error)
            return exit_code(error)
        case TyperException() if type(error).__name__ == _HELP:
            print(error.format_message())  # noqa: T201 - the help of a command that needs a verb
            return USAGE
        case TyperException():
            context = getattr(error, "ctx", None)
            hint = f"See `{context.command_path if context else 'cloudia'} --help`."
            print_error(UsageError(error.format_message().rstrip("."), hint=hint))
            return USAGE
        case KeyboardInterrupt() | typer.Abort():
            return INTERRUPTED
        case BrokenPipeError() | SystemExit(__context__=BrokenPipeError()):  # typer makes the one of the other
            # Whoever read our output has what they wanted. Python would complain once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return OK
        case Exception():
            message = f"{type(error).__name__}: {error}"
            print_error(CloudiaError(message, hint="This is a defect of cloudia; --debug prints where."))
            return FAILED
        case _:
            raise error
