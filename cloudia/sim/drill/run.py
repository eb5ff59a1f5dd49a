"""A drill: starts a stack of its own, lets the storm loose on it, and gathers what the verdict is made of."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cloudia.client import Answer, Client
from cloudia.cloud.aws import Aws
from cloudia.cloud.identity import issue_token
from cloudia.cloud.queue import JobQueue
from cloudia.errors import CloudiaError, NoStackError, PartError, TimedOutError, UnavailableError
from cloudia.protocol import PostMessage, QueuedJob
from cloudia.settings import from_environment
from cloudia.sim import start
from cloudia.sim.chaos import Chaos
from cloudia.sim.drill.storm import make_storm
from cloudia.sim.drill.verdict import Sent, Verdict, judge
from cloudia.sim.project import Project
from cloudia.sim.stop import stop_stack
from cloudia.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudia.protocol import Accepted
    from cloudia.sim.drill.storm import Blow, Message, Storm, StormSize
    from cloudia.sim.start import Progress

__all__ = ["DrillView", "run_drill"]

# A killed worker's jobs come back when visibility and lease run out: in a drill within seconds.
_SETTINGS: Mapping[str, Any] = {
    "worker_visibility_seconds": 4,
    "worker_lease_seconds": 4,
    "worker_poll_seconds": 1,
    "llm_breaker_errors": 30,
    "llm_breaker_open_seconds": 2.0,
    "llm_first_token_seconds": 5.0,
    "llm_gap_seconds": 5.0,
}
_PROVIDER = {"ttft": 0.03, "tps": 300}
_SEND_SECONDS = 60.0
_END_SECONDS = 180.0
_LEDGER_SECONDS = 1.0


class DrillView(Protocol):
    """Whoever shows how a drill goes on."""

    def count(self, *, accepted: int, ended: int, blows: int) -> None:
        """Show how far it is."""


def run_drill(size: StormSize, *, workers: int, view: DrillView, progress: Progress) -> Verdict:
    """Run a drill in a folder of its own, and leave nothing behind."""
    with tempfile.TemporaryDirectory(prefix="cloudia-drill-") as name:
        project = Project(Path(name))
        flags = {**_SETTINGS, "up_workers": workers, "up_engine": "ministack", "up_llm": "sim"}
        try:
            run = start.detached(project, flags, progress)
            return asyncio.run(_Drill(project, run, size, view).run())
        finally:
            stop_stack(project)


class _Drill:
    """One drill on a running stack."""

    def __init__(self, project: Project, run: Mapping[str, Any], size: StormSize, view: DrillView) -> None:
        self._project = project
        self._run = run
        self._size = size
        self._view = view
        self._storm: Storm = make_storm(size)
        self._clients: list[Client] = []
        self._sent: list[Sent] = []
        self._ended = 0
        self._blows = 0
        self._calls: dict[int, Mapping[str, Any]] = {}

    async def run(self) -> Verdict:
        chaos = Chaos(self._run)
        chaos.set_pace(**_PROVIDER, seed=self._size.seed)
        for fault, rate in self._storm.faults:
            chaos.add_fault(fault, rate=rate)
        async with contextlib.AsyncExitStack() as stack:
            for number in range(len(self._storm.conversations)):
                client = Client(self._run["api_url"], self._run["websocket_url"], self._token(number))
                self._clients.append(await stack.enter_async_context(client))
            weather = [asyncio.create_task(work) for work in (self._blow(), self._keep_ledger())]
            try:
                await asyncio.gather(*(self._talk(number) for number in range(len(self._clients))))
            finally:
                for task in weather:
                    task.cancel()
                await asyncio.wait(weather)
            return await self._judge()

    # --- the messages -------------------------------------------------------------------------------------------------

    async def _talk(self, number: int) -> None:
        """Send the messages of a conversation one after another, without waiting for answers; then wait for these."""
        conversation_id = None
        following = []
        for turn, message in enumerate(self._storm.conversations[number]):
            await asyncio.sleep(message.after)
            accepted, again = await self._send(self._clients[number], message, conversation_id)
            conversation_id = accepted.conversation_id
            sent = Sent(number, turn, accepted.job_id, accepted.message_id, conversation_id, again)
            self._sent.append(sent)
            following.append(asyncio.create_task(self._follow(number, sent)))
            self._show()
        await asyncio.gather(*following)

    async def _send(self, client: Client, message: Message, conversation_id: str | None) -> tuple[Accepted, list[str]]:
        session_id = await client.connected(timeout=_SEND_SECONDS)
        post = PostMessage(message.content, conversation_id, session_id, secrets.token_urlsafe(12))
        accepted = await _persist(client, post)
        again = [(await _persist(client, post)).job_id] if message.twice else []
        return accepted, again

    async def _follow(self, number: int, sent: Sent) -> None:
        answer = Answer(sent.job_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                async for event in self._clients[number].follow(sent.job_id):
                    sent.events.append(event)
                    answer.apply(event)
        sent.text, sent.status = answer.text, answer.status
        self._ended += 1
        self._show()

    def _show(self) -> None:
        self._view.count(accepted=len(self._sent), ended=self._ended, blows=self._blows)

    # --- the weather --------------------------------------------------------------------------------------------------

    async def _blow(self) -> None:
        began = time.monotonic()
        for blow in self._storm.blows:
            await asyncio.sleep(max(0.0, blow.at - (time.monotonic() - began)))
            with contextlib.suppress(NoStackError):  # It is down already: the blow before is not mended yet.
                await self._strike(blow)
            self._blows += 1
            self._show()

    async def _strike(self, blow: Blow) -> None:
        if blow.target == "client":
            await self._clients[blow.number % len(self._clients)].stream.cut()
            return
        run = await asyncio.to_thread(self._project.read_run)
        if run:
            Chaos(run).kill(blow.target, pick=blow.number)

    async def _keep_ledger(self) -> None:
        """Gather the provider's records, of which it keeps the last thousand."""
        while True:
            await self._read_ledger()
            await asyncio.sleep(_LEDGER_SECONDS)

    async def _read_ledger(self) -> None:
        with contextlib.suppress(PartError):
            counted = await asyncio.to_thread(Chaos(self._run).requests)
            self._calls |= {record["sequence"]: record for record in counted["records"]}

    # --- the verdict --------------------------------------------------------------------------------------------------

    async def _judge(self) -> Verdict:
        await self._read_ledger()
        for sent in self._sent:
            sent.job = await _patiently(lambda sent=sent: self._clients[sent.conversation].api.job(sent.job_id))
        histories = {}
        for sent in self._sent:
            if sent.conversation_id not in histories:
                histories[sent.conversation_id] = await self._history(sent)
        dead_letters = await asyncio.to_thread(self._dead_letters)
        return judge(self._sent, histories=histories, dead_letters=dead_letters, calls=self._calls.values())

    async def _history(self, sent: Sent) -> list[Mapping[str, Any]]:
        api, cursor = self._clients[sent.conversation].api, None
        found: list[Mapping[str, Any]] = []
        while True:
            page = await api.messages(sent.conversation_id, limit=100, cursor=cursor)
            found += page["messages"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def _dead_letters(self) -> list[str]:
        """Return the job ids in the DLQ. The stack ends with the drill, so receiving them takes them from nobody."""
        settings = from_environment(self._run["environment"])
        queue = JobQueue(Aws(settings).sqs, Stack(settings.stack_name).dead_letters)
        found = []
        while received := queue.receive(most=10, wait_seconds=0, visibility_seconds=600):
            for letter in received:
                with contextlib.suppress(CloudiaError):
                    found.append(QueuedJob.decode(letter.body).job_id)
        return found

    def _token(self, number: int) -> str:
        return issue_token(self._project.secrets()["token"], f"user-{number}", seconds=4 * 3600)


async def _persist(client: Client, message: PostMessage) -> Accepted:
    """Send a request until it is accepted: what the storm takes is sent again, and is one message."""
    accepted: Accepted = await _patiently(lambda: client.api.post_message(message))
    return accepted


async def _patiently(ask: Any) -> Any:
    deadline = time.monotonic() + _SEND_SECONDS
    while True:
        try:
            return await ask()
        except (UnavailableError, TimedOutError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
