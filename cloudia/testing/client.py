"""The client of a test: asks and waits in a plain test, and is awaited in an async one.

The connection lives in a thread of its own, so a test needs no event loop, and one that has a loop keeps it free.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudia.client import Answer, Client
from cloudia.errors import CloudiaError, TimedOutError, UsageError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator
    from concurrent.futures import Future
    from types import TracebackType
    from typing import Self

    from cloudia.protocol import Accepted, Event, JobStatus
    from cloudia.testing.stack import RunningStack

__all__ = ["ChatClient", "Reply"]

_TIMEOUT_SECONDS = 30.0


@dataclass(slots=True)
class _Exchange:
    """A message and what came of it so far."""

    conversation_id: str | None
    answer: Answer | None = None
    events: list[Event] = field(default_factory=list)


class Reply:
    """What came of a message. In an async test it is awaited first: `reply = await cloudia_client.ask("hello")`."""

    def __init__(self, exchange: _Exchange, ended: Future[None]) -> None:
        self._exchange = exchange
        self._ended = ended

    def __await__(self) -> Generator[Any, None, Reply]:
        """Wait until the answer has ended. Raises what `ask` raises in a plain test."""
        __tracebackhide__ = True
        try:
            yield from asyncio.wrap_future(self._ended).__await__()
        except CloudiaError as error:
            raise _with_hint(error) from None
        return self

    @property
    def text(self) -> str:
        """The answer; what came of it, where it failed or was cancelled."""
        return self._known().text

    @property
    def status(self) -> JobStatus:
        """`done`, `failed`, `cancelled` or `dead_lettered`."""
        return self._known().status

    @property
    def error(self) -> dict[str, Any] | None:
        """What the user is told of a failure: `code`, `message`, `hint`, `retryable`, `retry_after`."""
        return self._known().error

    @property
    def attempts(self) -> int:
        """How many times the worker began."""
        return self._known().attempts

    @property
    def usage(self) -> dict[str, Any] | None:
        """`input_tokens` and `output_tokens`; None where no LLM was called."""
        return self._known().usage

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self._known().job_id

    @property
    def conversation_id(self) -> str:
        """The conversation, to go on in: `ask("and now?", conversation_id=reply.conversation_id)`."""
        self._known()
        return self._exchange.conversation_id or ""

    @property
    def events(self) -> tuple[Event, ...]:
        """Each event as a client saw it."""
        self._known()
        return tuple(self._exchange.events)

    def __repr__(self) -> str:
        """Return what a failed assertion shows."""
        if not self._ended.done():
            return "<Reply, not awaited>"
        if self._ended.exception():
            return f"<Reply, {self._ended.exception()!r}>"
        return f"<Reply {self.status}: {(self.error or {}).get('message') or self.text[:60]!r}>"

    def _known(self) -> Answer:
        """Return the answer. `UsageError` where it has not been waited for."""
        __tracebackhide__ = True
        if not self._ended.done():
            raise UsageError("this reply was not awaited; in an async test it is `await cloudia_client.ask(…)`")
        self._ended.result()
        assert self._exchange.answer  # noqa: S101 - it has ended
        return self._exchange.answer


class ChatClient:
    """One user of a stack. Use as `with ChatClient(stack) as client`."""

    def __init__(self, stack: RunningStack) -> None:
        self.user = f"user-{secrets.token_hex(8)}"
        """No other test's user; so nobody sees anybody else's conversations."""
        self.token = stack.token(self.user)
        """The user's bearer token, for a client of your own."""
        self._urls = stack.api_url, stack.websocket_url
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._asking: set[asyncio.Task[Any]] = set()
        self._sending: set[asyncio.Task[Accepted]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cloudia client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._run(self._leave()).result(_TIMEOUT_SECONDS)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_TIMEOUT_SECONDS)
            self._loop.close()

    def ask(self, content: str, *, conversation_id: str | None = None, timeout: float = _TIMEOUT_SECONDS) -> Reply:
        """Send a message, in a new conversation unless told, and wait for its answer; in an async test, `await` it.

        A failed answer is a reply too, with its `status` and `error`. `RequestError` where the message is refused;
        `TimedOutError` where the answer has not ended after `timeout` seconds.
        """
        __tracebackhide__ = True
        exchange = _Exchange(conversation_id)
        ended = self._run(self._ask(content, exchange, timeout))
        if not _in_event_loop():
            try:
                ended.result()
            except CloudiaError as error:
                raise _with_hint(error) from None
            except BaseException:
                ended.cancel()  # Such as Ctrl-C.
                raise
        return Reply(exchange, ended)

    def _run(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _ask(self, content: str, exchange: _Exchange, seconds: float) -> None:
        asking = asyncio.current_task()
        assert asking  # noqa: S101 - it runs as one
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        try:
            async with asyncio.timeout(seconds):
                await self._converse(content, exchange)
        except TimeoutError:
            begun = exchange.answer.attempts if exchange.answer else 0
            raise TimedOutError(
                f"no answer within {seconds:g} s; the worker began {begun} times",
                hint="The logs say why. Where that is as it should be, give `ask` a longer timeout.",
            ) from None

    async def _converse(self, content: str, exchange: _Exchange) -> None:
        client = await self._connected()
        sending = asyncio.create_task(client.send(content, conversation_id=exchange.conversation_id))
        self._sending.add(sending)
        sending.add_done_callback(self._sent)
        accepted = await asyncio.shield(sending)  # Nobody can tell of a request that is broken off what came of it.
        exchange.conversation_id = accepted.conversation_id
        answer = exchange.answer = Answer(accepted.job_id)
        async for event in client.follow(accepted.job_id):
            answer.apply(event)
            exchange.events.append(event)

    def _sent(self, sending: asyncio.Task[Accepted]) -> None:
        self._sending.discard(sending)
        if not sending.cancelled():
            sending.exception()  # Whoever asked is told, if there still is anybody.

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None:
                self._client = await Client(*self._urls, self.token).__aenter__()
            await self._client.connected()
            return self._client

    async def _leave(self) -> None:
        """Send nothing more, and close. What was sent is accepted before that, and can be ended as the test's (`end_jobs`)."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, *self._sending, return_exceptions=True)
        if self._client:
            await self._client.__aexit__(None, None, None)
        await asyncio.get_running_loop().shutdown_asyncgens()


def _with_hint(error: CloudiaError) -> CloudiaError:
    """Return an error as it is to be shown: with its hint, and without the way it took through our thread."""
    if error.hint and not getattr(error, "__notes__", None):
        error.add_note(f"hint: {error.hint}")
    return error.with_traceback(None)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
