"""`cloudia send`: send a message, and print the answer as it comes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloudia.cli.output import STATE, console, note, print_json
from cloudia.errors import CloudiaError, DeadLetteredError, JobFailedError, LLMUnavailableError, TimedOutError

if TYPE_CHECKING:
    from cloudia.cli.target import Target
    from cloudia.client.answer import Answer
    from cloudia.protocol import Accepted

_UNAVAILABLE = "llm_unavailable"


def send(
    text: Annotated[str, typer.Argument(help="The message.")],
    *,
    conversation: Annotated[
        str | None, typer.Option("--conversation", "-c", help="Go on in this conversation.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="As which user of the local stack.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the answer.")] = True,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the answer.")] = 120.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send a message to the stack of this folder and stream the answer."""
    import asyncio  # noqa: PLC0415 - lazy

    from cloudia.cli.target import find_target  # noqa: PLC0415 - lazy

    STATE.json = json
    target = find_target(user=user)
    if not wait:
        accepted = asyncio.run(_post(target, text, conversation))
        if json:
            print_json({**accepted.to_json(), "status": "queued"})
        else:
            print(accepted.job_id)  # noqa: T201 - the data
        return
    result = _Result(time.monotonic())
    try:
        asyncio.run(_converse(target, text, conversation, result, seconds=timeout, show=not json))
    except TimeoutError as error:
        where = f" It goes on as {result.accepted.job_id}." if result.accepted else ""
        raise TimedOutError(f"no answer within {timeout:g} s.{where}", hint="Wait longer with --timeout.") from error
    assert result.answer  # noqa: S101 - it has come
    if json:
        print_json(result.to_json())
    error_ = _error(result.answer)
    if error_:
        raise error_


class _Result:
    """What came of a message, and when (monotonic seconds)."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.accepted: Accepted | None = None
        self.answer: Answer | None = None
        self.accepted_at: float | None = None
        self.first_token_at: float | None = None
        self.ended_at: float | None = None

    def to_json(self) -> dict[str, Any]:
        accepted, answer = self.accepted, self.answer
        assert accepted  # noqa: S101 - it was
        assert answer  # noqa: S101 - it has come
        return {
            **accepted.to_json(),
            "status": answer.status,
            "reply": answer.text,
            "reply_message_id": answer.message_id,
            "attempts": answer.attempts,
            "provider": answer.provider,
            "model": answer.model,
            "usage": answer.usage,
            "error": answer.error,
            "timings": {
                "accepted_ms": self._since(self.accepted_at),
                "first_token_ms": self._since(self.first_token_at),
                "total_ms": self._since(self.ended_at),
            },
        }

    def _since(self, at: float | None) -> float | None:
        return None if at is None else round((at - self.began) * 1000, 1)


async def _post(target: Target, text: str, conversation: str | None) -> Accepted:
    import secrets  # noqa: PLC0415 - lazy

    from cloudia.client.api import Api  # noqa: PLC0415 - lazy
    from cloudia.protocol import PostMessage  # noqa: PLC0415 - lazy

    async with Api(target.api_url, target.token) as api:
        return await api.post_message(PostMessage(text, conversation, None, secrets.token_urlsafe(16)))


async def _converse(
    target: Target,
    text: str,
    conversation: str | None,
    result: _Result,
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
    async with asyncio.timeout(seconds), Client(target.api_url, target.websocket_url, target.token) as client:
        await client.connected()
        result.began = time.monotonic()
        accepted = result.accepted = await client.send(text, conversation_id=conversation)
        result.accepted_at = time.monotonic()
        answer = result.answer = Answer(accepted.job_id)
        async for event in client.follow(accepted.job_id):
            if event.type == "delta" and result.first_token_at is None:
                result.first_token_at = time.monotonic()
            if streams and event.type == "reset" and answer.text:
                out.out("")
                note("— what came so far is void; the answer begins anew —")
            answer.apply(event)
            if streams and event.type == "delta":
                out.out((event.data or {})["text"], end="")
        result.ended_at = time.monotonic()
    if show and answer.text:
        out.out("" if streams else answer.text)


def _error(answer: Answer) -> CloudiaError | None:
    """Return the error that a failed answer is, None where it is none."""
    if answer.status not in {"failed", "dead_lettered"}:
        return None
    told = answer.error or {}
    message, code = str(told.get("message", "the job failed")), str(told.get("code", "job_failed"))
    kind: type[CloudiaError] = JobFailedError
    hint = str(told.get("hint", ""))
    if answer.status == "dead_lettered":
        kind, message = DeadLetteredError, f"{message} The job is a dead letter after {answer.attempts} attempts."
    elif code == _UNAVAILABLE:
        kind = LLMUnavailableError
    return kind(message, hint=hint, code=code)
