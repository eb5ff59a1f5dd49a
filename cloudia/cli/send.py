"""`cloudia send`: send a message, and print the answer as it comes; or many, and a line for each."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from cloudia.cli.completion import complete_conversation
from cloudia.cli.output import STATE, console, note, print_json, print_text, stderr_console
from cloudia.errors import TimedOutError, UsageError

if TYPE_CHECKING:
    from cloudia.cli.send_result import Result
    from cloudia.cli.target import Target
    from cloudia.protocol import Accepted

_CONCURRENCY = 4
_MOST_CONTENT_BYTES = 170_000
"""limits.content_bytes cannot be set higher."""


def send(
    text: Annotated[str | None, typer.Argument(help="The message; - or nothing reads it from stdin.")] = None,
    *,
    file: Annotated[str | None, typer.Option("--file", "-f", help="Read the message from this file.")] = None,
    jsonl: Annotated[
        str | None,
        typer.Option(
            help="Send many: a file, or - for stdin, with a JSON string or an object "
            "{content, conversation_id?, idempotency_key?} in each line. Prints a line of JSON for each as it ends."
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help=f"With --jsonl: most messages under way at once; {_CONCURRENCY} if left out."
        ),
    ] = None,
    conversation: Annotated[
        str | None,
        typer.Option("--conversation", "-c", help="Go on in this conversation.", autocompletion=complete_conversation),
    ] = None,
    user: Annotated[str | None, typer.Option(help="As which user of the local stack.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the answer.")] = True,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for each answer.")] = 120.0,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace", help="Draw what its time went to on stderr, after the answer, as `cloudia trace` does."
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send a message to the stack of this folder and stream the answer."""
    STATE.json = json
    if sum(given is not None for given in (text, file, jsonl)) > 1:
        raise UsageError("the text, --file and --jsonl exclude each other", hint="See `cloudia send --help`.")
    if concurrency is not None and jsonl is None:
        raise UsageError("--concurrency is for --jsonl", hint="See `cloudia send --help`.")
    if trace and (jsonl is not None or not wait):
        raise UsageError("--trace is for one message that is waited for", hint="See `cloudia trace --help`.")
    if jsonl is not None:
        _send_many(jsonl, conversation, user, concurrency=concurrency or _CONCURRENCY, seconds=timeout, wait=wait)
    else:
        result = _send_one(_text(text, file), conversation, user, seconds=timeout, wait=wait, json=json)
        if trace and result:
            _trace(result)
        error = result.error() if result else None
        if error:
            raise error


def _trace(result: Result) -> None:
    """Draw what the time of a message went to, from its record."""
    from cloudia.cli.services import open_services  # noqa: PLC0415 - lazy
    from cloudia.cli.trace_view import view  # noqa: PLC0415 - lazy
    from cloudia.operate.evidence import find_job  # noqa: PLC0415 - lazy
    from cloudia.operate.waterfall import waterfall  # noqa: PLC0415 - lazy

    if result.accepted:
        out = stderr_console()
        job = find_job(open_services(None).cloud, result.accepted.job_id)
        out.print(view(waterfall(job, now=time.time()), out))


def _text(text: str | None, file: str | None) -> str:
    """Return the message's text, wherever it is to come from."""
    from cloudia.cli.input_text import STDIN, read_text  # noqa: PLC0415 - lazy

    if text is not None and text != STDIN:
        try:
            return os.fsencode(text).decode()  # In a locale of ASCII, what is more came as bytes.
        except UnicodeError as error:
            raise UsageError("the text is not UTF-8", hint="Convert it to UTF-8.") from error
    if text is None and file is None and sys.stdin and sys.stdin.isatty():
        raise UsageError("there is no text to send", hint="See `cloudia send --help`.")
    found = read_text(file or STDIN)
    if not found.strip():
        raise UsageError("there is no text to send", hint="See `cloudia send --help`.")
    return found


def _send_many(
    source: str, conversation: str | None, user: str | None, *, concurrency: int, seconds: float, wait: bool
) -> None:
    from cloudia.cli.input_text import parse_lines, read_lines  # noqa: PLC0415 - lazy
    from cloudia.cli.send_many import send_many  # noqa: PLC0415 - lazy
    from cloudia.cli.target import find_target  # noqa: PLC0415 - lazy

    target = find_target(user=user)
    lines = parse_lines(read_lines(source), conversation_id=conversation, content_bytes=_content_bytes())
    send_many(target, lines, concurrency=concurrency, seconds=seconds, wait=wait)


def _content_bytes() -> int:
    """Return how large a message may be: what the stack of this folder takes, or the most that any can be set to."""
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy
    from cloudia.settings import from_environment  # noqa: PLC0415 - lazy

    project = find_project()
    run = project.live_run()
    if project.settings().settings.api_url or not run:
        return _MOST_CONTENT_BYTES
    return from_environment(run.environment).limits_content_bytes


def _send_one(
    text: str, conversation: str | None, user: str | None, *, seconds: float, wait: bool, json: bool
) -> Result | None:
    """Send a message. Return what came of it; nothing where it is not waited for."""
    import asyncio  # noqa: PLC0415 - lazy

    from cloudia.cli.send_result import Result  # noqa: PLC0415 - lazy
    from cloudia.cli.target import find_target, of_conversation  # noqa: PLC0415 - lazy

    target = find_target(user=user)
    if not wait:
        with of_conversation():
            accepted = asyncio.run(_post(target, text, conversation))
        if json:
            print_json({**accepted.to_json(), "status": "queued"})
        else:
            print_text(accepted.job_id)
        return None
    result = Result()
    try:
        with of_conversation():
            asyncio.run(_converse(target, text, conversation, result, seconds=seconds, show=not json))
    except TimeoutError as error:
        where = f" It goes on as {result.accepted.job_id}." if result.accepted else ""
        raise TimedOutError(f"no answer within {seconds:g} s.{where}", hint="Wait longer with --timeout.") from error
    if json:
        print_json(result.to_json())
    return result


async def _post(target: Target, text: str, conversation: str | None) -> Accepted:
    import secrets  # noqa: PLC0415 - lazy

    from cloudia.client.api import Api  # noqa: PLC0415 - lazy
    from cloudia.protocol import PostMessage  # noqa: PLC0415 - lazy

    async with Api(target.api_url, target.tokens) as api:
        return await api.post_message(PostMessage(text, conversation, None, secrets.token_urlsafe(16)))


async def _converse(
    target: Target,
    text: str,
    conversation: str | None,
    result: Result,
    *,
    seconds: float,
    show: bool,
) -> None:
    """Send, follow and print. `TimeoutError` after `seconds`."""
    import asyncio  # noqa: PLC0415 - lazy

    from cloudia.client.answer import Answer  # noqa: PLC0415 - lazy
    from cloudia.client.client import Client  # noqa: PLC0415 - lazy

    out = console()
    # What is void cannot be taken back from a pipe: there the answer is printed when it is whole.
    streams = show and out.is_terminal
    async with asyncio.timeout(seconds), Client(target.api_url, target.websocket_url, target.tokens) as client:
        await client.connected()
        result.began = time.monotonic()
        accepted = result.accepted = await client.send(text, conversation_id=conversation)
        result.accepted_at = time.monotonic()
        answer = result.answer = Answer(accepted.job_id)
        async for event in client.follow(accepted.job_id):
            if event.type == "delta" and result.first_token_at is None:
                result.first_token_at = time.monotonic()
            void = event.type == "reset" and answer.text
            answer.apply(event)
            if streams and void:
                anew = answer.attempt_text if answer.resets[-1] == "new_attempt" else "the answer"
                out.out("")
                note(f"— what came so far is void; {anew} begins anew —")
            if streams and event.type == "delta":
                out.out((event.data or {})["text"], end="")
        result.ended_at = time.monotonic()
    if streams and answer.text:
        out.out("")
    elif show and answer.text:
        print_text(answer.text)
    if show and answer.cut_text:
        note(f"— {answer.cut_text} —")
