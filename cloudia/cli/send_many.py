"""Many messages: sent a few at a time, and a line of JSON for each as it ends."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from cloudia.cli.bar import Bar
from cloudia.cli.exits import exit_code
from cloudia.cli.output import json_line, note
from cloudia.cli.send_result import Result
from cloudia.client.answer import Answer
from cloudia.client.api import Api
from cloudia.client.client import Client
from cloudia.errors import CloudiaError, TimedOutError
from cloudia.protocol import TERMINAL_STATUSES, PostMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudia.cli.input_text import Line
    from cloudia.cli.target import Target

__all__ = ["lanes", "send_many", "worst"]

_FROM_MILD_TO_BAD = (7, 5, 1, 6, 2, 4)
"""Exit codes. What may go well when it is tried again is milder than what will not."""


def send_many(target: Target, lines: list[Line], *, concurrency: int, seconds: float, wait: bool) -> None:
    """Send messages, those of one conversation one after the other, each with `seconds` for its answer.

    Prints each one's line when it ends, in the order in which they end. Raises the worst of their errors when all have ended.
    """
    errors: dict[int, CloudiaError] = {}
    with Bar("sending", len(lines)) as bar:
        run = _Run(target, bar, errors, seconds=seconds, wait=wait)
        try:
            asyncio.run(run.all(lines, concurrency))
        except KeyboardInterrupt:
            left = len(lines) - bar.done
            note(f"interrupted; {left} of {len(lines)} messages were not sent" if left else "interrupted")
            raise
    if errors:
        number, error = worst(errors)
        raise type(error)(
            f"{len(errors)} of {len(lines)} messages ended without an answer; line {number}: {error.message}",
            hint=error.hint,
            code=error.code,
        )


def lanes(lines: Iterable[Line]) -> list[list[Line]]:
    """Return the lines in lanes: those of one conversation share one, any other has its own."""
    found: dict[Any, list[Line]] = {}
    for line in lines:
        found.setdefault(line.message.conversation_id or line.number, []).append(line)
    return list(found.values())


def worst(errors: dict[int, CloudiaError]) -> tuple[int, CloudiaError]:
    """Return the line and the error whose exit code is the worst; of several, the first line's."""
    return max(sorted(errors.items()), key=lambda entry: _FROM_MILD_TO_BAD.index(exit_code(entry[1])))


class _Run:
    """One run over all lines."""

    def __init__(
        self, target: Target, bar: Bar, errors: dict[int, CloudiaError], *, seconds: float, wait: bool
    ) -> None:
        self._target = target
        self._bar = bar
        self._errors = errors
        self._seconds = seconds
        self._wait = wait

    async def all(self, lines: list[Line], concurrency: int) -> None:
        async with AsyncExitStack() as opened:
            client = api = None
            if self._wait:
                target = self._target
                client = await opened.enter_async_context(Client(target.api_url, target.websocket_url, target.tokens))
                await client.connected()
            else:
                api = await opened.enter_async_context(Api(self._target.api_url, self._target.tokens))
            waiting = deque(lanes(lines))

            async def work() -> None:
                while waiting:
                    for line in waiting.popleft():
                        await (self._answer(client, line) if client else self._post(api, line))

            working = [asyncio.create_task(work()) for _ in range(min(concurrency, len(waiting)))]
            try:
                await asyncio.gather(*working)
            finally:
                for task in working:
                    task.cancel()
                await asyncio.gather(*working, return_exceptions=True)

    async def _answer(self, client: Client, line: Line) -> None:
        """Send a message, follow it to its end, and print what came of it."""
        result = Result()
        try:
            async with asyncio.timeout(self._seconds):
                await _follow(client, line.message, result)
        except asyncio.CancelledError:
            self._print(line, result, status="interrupted")
            raise
        except TimeoutError:
            late = TimedOutError(f"no answer within {self._seconds:g} s", hint="Wait longer with --timeout.")
            self._print(line, result, late, status="timed_out")
        except CloudiaError as error:
            self._print(line, result, error, status="unknown" if result.accepted else "not_accepted")
        else:
            self._print(line, result, result.error())

    async def _post(self, api: Api | None, line: Line) -> None:
        """Send a message, and print that it was accepted."""
        assert api  # noqa: S101 - it was opened
        result = Result()
        message = line.message
        key = message.idempotency_key or secrets.token_urlsafe(16)
        try:
            result.accepted = await api.post_message(PostMessage(message.content, message.conversation_id, None, key))
        except asyncio.CancelledError:
            self._print(line, result, status="interrupted")
            raise
        except CloudiaError as error:
            self._print(line, result, error, status="not_accepted")
            return
        result.accepted_at = time.monotonic()
        self._print(line, result, status="queued")

    def _print(self, line: Line, result: Result, error: CloudiaError | None = None, *, status: str = "") -> None:
        document = {"line": line.number, **result.to_json()}
        if status:
            document["status"] = status
        if error:
            self._errors[line.number] = error
            document["error"] = document["error"] or error.to_json()["error"]
        self._bar.print(json_line(document))
        self._bar.advance(failed=error is not None)


async def _follow(client: Client, message: PostMessage, result: Result) -> None:
    accepted = result.accepted = await client.send(
        message.content, conversation_id=message.conversation_id, idempotency_key=message.idempotency_key
    )
    result.accepted_at = time.monotonic()
    answer = Answer(accepted.job_id)
    # A key that was used before is the job of then: its events went elsewhere, and its record says how it ended.
    job = await client.api.job(accepted.job_id) if message.idempotency_key else {}
    if job.get("status") in TERMINAL_STATUSES:
        answer = _recorded(job)
    else:
        async for event in client.follow(accepted.job_id):
            if event.type == "delta" and result.first_token_at is None:
                result.first_token_at = time.monotonic()
            answer.apply(event)
    result.answer = answer
    result.ended_at = time.monotonic()


def _recorded(job: dict[str, Any]) -> Answer:
    return Answer(
        job["job_id"],
        status=job["status"],
        text=(job.get("reply") or {}).get("content", ""),
        attempts=job["attempts"],
        message_id=job["reply_message_id"],
        provider=job["provider"],
        model=job["model"],
        usage=job["usage"],
        error=job["error"],
    )
