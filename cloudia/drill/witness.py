"""The witness of a drill: sends the messages, follows each one, and gathers from outside what the verdict is made of."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from cloudia import telemetry
from cloudia.client import Answer, Client
from cloudia.client.stream import EventStream
from cloudia.client.tokens import TokenSource
from cloudia.cloud.cloud import Cloud
from cloudia.cloud.identity import issue_token
from cloudia.drill.verdict import Sent, Verdict, judge
from cloudia.errors import PartError, TimedOutError, UnavailableError
from cloudia.operate.dead_letters import DeadLetters
from cloudia.protocol import Accepted, PostMessage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from typing import Self

    from cloudia.drill.storm import Message, Way
    from cloudia.local.chaos import Chaos
    from cloudia.local.run_file import PlannedRun
    from cloudia.protocol import Event, QueuedJob
    from cloudia.settings import Settings

__all__ = ["DrillView", "Witness", "ended"]

_SEND_SECONDS = 60.0
_LATE_SECONDS = 0.3
"""How long after its transaction a slow function sends: longer than the others of its burst take."""
_STALL_SECONDS = 120.0
"""When nothing has moved for this long the storm is over; where it does not for as long after that, what is open is lost."""
_LEDGER_SECONDS = 1.0


class DrillView(Protocol):
    """Whoever shows how a drill goes on."""

    def count(self, *, accepted: int, ended: int) -> None:
        """Show how far it is."""


class Witness:
    """One client for each conversation of a stack that runs.

    `provider` is whose records of its requests are read; None where they tell nothing of how often a message was answered.
    """

    def __init__(
        self,
        run: PlannedRun,
        settings: Settings,
        token_secret: str,
        conversations: Sequence[Sequence[Message]],
        view: DrillView,
        *,
        provider: Chaos | None,
    ) -> None:
        self._provider = provider
        self._settings = settings
        self._conversations = conversations
        self._view = view
        self._cloud = Cloud(settings)
        self._ends: defaultdict[str, set[tuple[str, int | None]]] = defaultdict(set)
        issue = partial(issue_token, token_secret, issuer=settings.auth_issuer, audience=settings.auth_audience)
        tokens = [issue(_user(number), seconds=4 * 3600) for number in range(len(conversations))]
        self._connections = [
            tuple(_Heard(run.urls.api_url, run.urls.websocket_url, token, self._ends) for _ in range(each))
            for token, each in zip(tokens, map(_connections, conversations), strict=True)
        ]
        self._sent: list[Sent] = []
        self._ended = 0
        self._calls: dict[int, Mapping[str, Any]] = {}
        self._open = contextlib.AsyncExitStack()
        self._patience = asyncio.timeout(None)

    @property
    def clients(self) -> list[Client]:
        """All clients of all conversations."""
        return [client for clients in self._connections for client in clients]

    async def __aenter__(self) -> Self:
        for client in self.clients:
            await self._open.enter_async_context(client)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def talk(self, *, calm: Callable[[], object] = lambda: None) -> None:
        """Send all messages and wait until each ended, or nothing moves any more, also after `calm`, which ends the storm."""
        ledger = asyncio.create_task(self._keep_ledger())
        talking = [asyncio.create_task(self._talk(number)) for number in range(len(self._connections))]
        try:
            if not await self._come_to_an_end(talking):
                calm()
                await self._come_to_an_end(talking)  # The verdict says what is missing then.
        finally:
            await given_up(talking)
            await ended(ledger)

    async def _come_to_an_end(self, talking: Sequence[asyncio.Task[None]]) -> bool:
        """Wait until all are done, and return that they are; False where nothing moved for long. What one raises is raised."""
        try:
            async with asyncio.timeout(_STALL_SECONDS) as self._patience:
                await asyncio.gather(*map(asyncio.shield, talking))
        except TimeoutError:
            return False
        return True

    async def verdict(self, *, clocks: bool = True) -> Verdict:
        """Ask the stack how everything ended, and judge. `clocks` says whether those of the workers were right."""
        await self._read_ledger()
        for sent in self._sent:
            sent.job = await _patiently(lambda sent=sent: self._connections[sent.conversation][0].api.job(sent.job_id))
        records = await asyncio.to_thread(self._cloud.jobs.records, [sent.job_id for sent in self._sent])
        histories = {}
        for sent in self._sent:
            sent.ends, sent.attempts = self._ends[sent.job_id], records[sent.job_id].attempt_history
            if sent.conversation_id not in histories:
                histories[sent.conversation_id] = await self._history(sent)
        dead_letters = await asyncio.to_thread(self._dead_letters)
        calls = self._calls.values() if self._provider else None
        return judge(self._sent, histories=histories, dead_letters=dead_letters, calls=calls, clocks=clocks)

    async def _talk(self, number: int) -> None:
        """Send the messages of a conversation burst by burst, without waiting for answers; then wait for these."""
        conversation_id = None
        following: list[asyncio.Task[None]] = []
        try:
            for burst in _bursts(self._conversations[number]):
                await asyncio.sleep(burst[0][1].after)
                sending = (self._send(number, turn, message, conversation_id) for turn, message in burst)
                for (_, message), sent in zip(burst, await asyncio.gather(*sending), strict=True):
                    conversation_id = sent.conversation_id
                    self._sent.append(sent)
                    client = self._connections[number][message.connection]
                    following.append(asyncio.create_task(self._follow(client, sent)))
                self._show()
            await asyncio.gather(*following)
        finally:
            await given_up(following)

    async def _send(self, number: int, turn: int, message: Message, conversation_id: str | None) -> Sent:
        client = self._connections[number][message.connection]
        session_id = await client.connected(timeout=_SEND_SECONDS)
        post = PostMessage(message.content, conversation_id, session_id, secrets.token_urlsafe(12))
        accepted: Accepted
        if message.way == "api":
            accepted = await _patiently(lambda: client.api.post_message(post))
        else:
            job = await _patiently(lambda: asyncio.to_thread(self._record, number, post))
            await self._enqueue(job, message.way)
            accepted = Accepted(job.job_id, job.conversation_id, job.message_id)
        again = [(await _patiently(lambda: client.api.post_message(post))).job_id] if message.twice else []
        return Sent(number, turn, accepted.job_id, accepted.message_id, accepted.conversation_id, again)

    def _record(self, number: int, post: PostMessage) -> QueuedJob:
        """Do the first of a function's two writes."""
        job, _ = self._cloud.intake.accept(
            user_id=_user(number),
            content=post.content,
            conversation_id=post.conversation_id,
            session_id=post.session_id,
            idempotency_key=post.idempotency_key,
            traceparent=telemetry.new_traceparent(),
        )
        return job

    async def _enqueue(self, job: QueuedJob, way: Way) -> None:
        """Do the second one: late, as a later version does, or not at all, as one that died."""
        queue = self._cloud.queue
        if way == "late":
            await asyncio.sleep(_LATE_SECONDS)
            await _patiently(lambda: asyncio.to_thread(queue.send, job))
        if way == "later":
            body = json.dumps({**json.loads(job.encode()), "added": {"by": ["a", "later", "version"]}})
            send = partial(queue.send_raw, body, group=job.conversation_id, deduplication_id=job.job_id)
            await _patiently(lambda: asyncio.to_thread(send))

    async def _follow(self, client: Client, sent: Sent) -> None:
        answer = Answer(sent.job_id)
        async for event in client.follow(sent.job_id):
            sent.events.append(event)
            self._move()
            answer.apply(event)
            sent.text, sent.status = answer.text, answer.status
        self._ended += 1
        self._show()

    def _move(self) -> None:
        if not self._patience.expired():
            self._patience.reschedule(asyncio.get_running_loop().time() + _STALL_SECONDS)

    def _show(self) -> None:
        self._move()
        self._view.count(accepted=len(self._sent), ended=self._ended)

    async def _keep_ledger(self) -> None:
        """Gather the provider's records, of which it keeps the last thousand."""
        while True:
            await self._read_ledger()
            await asyncio.sleep(_LEDGER_SECONDS)

    async def _read_ledger(self) -> None:
        if self._provider is None:
            return
        with contextlib.suppress(PartError):
            counted = await asyncio.to_thread(self._provider.requests)
            self._calls |= {record["sequence"]: record for record in counted["records"]}

    async def _history(self, sent: Sent) -> list[Mapping[str, Any]]:
        api, cursor = self._connections[sent.conversation][0].api, None
        found: list[Mapping[str, Any]] = []
        while True:
            page = await api.messages(sent.conversation_id, limit=100, cursor=cursor)
            found += page["messages"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def _dead_letters(self) -> list[str]:
        """Return the job ids in the DLQ."""
        shelf = DeadLetters(self._cloud.dead_letters, self._cloud.queue, self._cloud.jobs).look()
        return [letter.job.job_id for letter in shelf.letters if letter.job]


class _Heard(Client):
    """A client that notes each end of a job that comes over its connection, also one that it has no use for."""

    def __init__(
        self, api_url: str, websocket_url: str, token: str, ends: dict[str, set[tuple[str, int | None]]]
    ) -> None:
        super().__init__(api_url, websocket_url, token)
        self.stream = _Ear(websocket_url, TokenSource(token), ends)


class _Ear(EventStream):
    def __init__(self, url: str, tokens: TokenSource, ends: dict[str, set[tuple[str, int | None]]]) -> None:
        super().__init__(url, tokens)
        self._ends = ends

    async def events(self) -> AsyncIterator[Event]:
        async for event in super().events():
            if event.terminal and event.job_id:
                self._ends[event.job_id].add((event.type, event.attempt))
            yield event


def _user(number: int) -> str:
    return f"user-{number}"


def _connections(messages: Sequence[Message]) -> int:
    """Return how many connections a conversation has."""
    return 1 + max((message.connection for message in messages), default=0)


def _bursts(messages: Sequence[Message]) -> list[list[tuple[int, Message]]]:
    """Return the messages, each with its place, in lists of those that are posted at once."""
    bursts: list[list[tuple[int, Message]]] = []
    for turn, message in enumerate(messages):
        if message.at_once and bursts:
            bursts[-1].append((turn, message))
        else:
            bursts.append([(turn, message)])
    return bursts


async def given_up(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel what still runs of these, and wait until none does."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def ended(task: asyncio.Task[None]) -> None:
    """End a task that goes on beside the messages; raises what it failed with."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _patiently(ask: Any) -> Any:
    """Ask until there is an answer: what the storm takes is asked again."""
    deadline = time.monotonic() + _SEND_SECONDS
    while True:
        try:
            return await ask()
        except (UnavailableError, TimedOutError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
