"""The witness of a drill: sends the messages, follows each one, and gathers from outside what the verdict is made of."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import TYPE_CHECKING, Any, Protocol

from cloudia.client import Answer, Client
from cloudia.cloud.cloud import Cloud
from cloudia.cloud.identity import issue_token
from cloudia.drill.verdict import Sent, Verdict, judge
from cloudia.errors import PartError, TimedOutError, UnavailableError
from cloudia.local.chaos import Chaos
from cloudia.operate.dead_letters import DeadLetters
from cloudia.protocol import PostMessage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from cloudia.drill.storm import Message
    from cloudia.local.run_file import PlannedRun
    from cloudia.protocol import Accepted
    from cloudia.settings import Settings

__all__ = ["DrillView", "Witness", "ended"]

_SEND_SECONDS = 60.0
_STALL_SECONDS = 120.0
"""When nothing has ended for this long, what has not ended counts as lost."""
_LEDGER_SECONDS = 1.0


class DrillView(Protocol):
    """Whoever shows how a drill goes on."""

    def count(self, *, accepted: int, ended: int) -> None:
        """Show how far it is."""


class Witness:
    """One client for each conversation of a stack that runs."""

    def __init__(
        self,
        run: PlannedRun,
        settings: Settings,
        token_secret: str,
        conversations: Sequence[Sequence[Message]],
        view: DrillView,
    ) -> None:
        self._run = run
        self._settings = settings
        self._conversations = conversations
        self._view = view
        self.clients = [
            Client(
                run.urls.api_url, run.urls.websocket_url, issue_token(token_secret, f"user-{number}", seconds=4 * 3600)
            )
            for number in range(len(conversations))
        ]
        self._sent: list[Sent] = []
        self._ended = 0
        self._calls: dict[int, Mapping[str, Any]] = {}
        self._open = contextlib.AsyncExitStack()
        self._patience = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        for client in self.clients:
            await self._open.enter_async_context(client)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def talk(self) -> None:
        """Send all messages and wait until each was seen to end, or nothing ends any more."""
        ledger = asyncio.create_task(self._keep_ledger())
        try:
            async with asyncio.timeout(_STALL_SECONDS) as self._patience:
                await asyncio.gather(*(self._talk(number) for number in range(len(self.clients))))
        except TimeoutError:
            pass  # The verdict says what is missing.
        finally:
            await ended(ledger)

    async def verdict(self) -> Verdict:
        """Ask the stack how everything ended, and judge."""
        await self._read_ledger()
        for sent in self._sent:
            sent.job = await _patiently(lambda sent=sent: self.clients[sent.conversation].api.job(sent.job_id))
        histories = {}
        for sent in self._sent:
            if sent.conversation_id not in histories:
                histories[sent.conversation_id] = await self._history(sent)
        dead_letters = await asyncio.to_thread(self._dead_letters)
        return judge(self._sent, histories=histories, dead_letters=dead_letters, calls=self._calls.values())

    async def _talk(self, number: int) -> None:
        """Send the messages of a conversation one after another, without waiting for answers; then wait for these."""
        conversation_id = None
        following = []
        for turn, message in enumerate(self._conversations[number]):
            await asyncio.sleep(message.after)
            accepted, again = await self._send(self.clients[number], message, conversation_id)
            conversation_id = accepted.conversation_id
            sent = Sent(number, turn, accepted.job_id, accepted.message_id, conversation_id, again)
            self._sent.append(sent)
            following.append(asyncio.create_task(self._follow(number, sent)))
            self._show()
        await asyncio.gather(*following)

    async def _send(self, client: Client, message: Message, conversation_id: str | None) -> tuple[Accepted, list[str]]:
        session_id = await client.connected(timeout=_SEND_SECONDS)
        post = PostMessage(message.content, conversation_id, session_id, secrets.token_urlsafe(12))
        accepted: Accepted = await _patiently(lambda: client.api.post_message(post))
        again = [(await _patiently(lambda: client.api.post_message(post))).job_id] if message.twice else []
        return accepted, again

    async def _follow(self, number: int, sent: Sent) -> None:
        answer = Answer(sent.job_id)
        async for event in self.clients[number].follow(sent.job_id):
            sent.events.append(event)
            answer.apply(event)
            sent.text, sent.status = answer.text, answer.status
        self._ended += 1
        self._show()

    def _show(self) -> None:
        self._patience.reschedule(asyncio.get_running_loop().time() + _STALL_SECONDS)
        self._view.count(accepted=len(self._sent), ended=self._ended)

    async def _keep_ledger(self) -> None:
        """Gather the provider's records, of which it keeps the last thousand."""
        while True:
            await self._read_ledger()
            await asyncio.sleep(_LEDGER_SECONDS)

    async def _read_ledger(self) -> None:
        with contextlib.suppress(PartError):
            counted = await asyncio.to_thread(Chaos(self._run).requests)
            self._calls |= {record["sequence"]: record for record in counted["records"]}

    async def _history(self, sent: Sent) -> list[Mapping[str, Any]]:
        api, cursor = self.clients[sent.conversation].api, None
        found: list[Mapping[str, Any]] = []
        while True:
            page = await api.messages(sent.conversation_id, limit=100, cursor=cursor)
            found += page["messages"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def _dead_letters(self) -> list[str]:
        """Return the job ids in the DLQ."""
        cloud = Cloud(self._settings)
        shelf = DeadLetters(cloud.dead_letters, cloud.queue, cloud.jobs).look()
        return [letter.job.job_id for letter in shelf.letters if letter.job]


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
