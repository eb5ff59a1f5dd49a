"""The client against a running stack: a message goes out, and its answer comes back whole, whatever happens on the way."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.client import Answer, Client
from cloudia.client import client as client_module
from cloudia.cloud.events import Frame
from cloudia.cloud.redis import Keys, connect
from cloudia.errors import (
    ConflictError,
    NotFoundError,
    TimedOutError,
    UnauthorizedError,
    UnavailableError,
    UsageError,
)
from cloudia.protocol import Accepted, Event, PostMessage
from cloudia.sim.ports import LOOPBACK, choose_port
from tests.cli.provider import ask_provider
from tests.gateway.lines import line
from tests.gateway.nodes import log_of, running
from tests.patience import HANGS
from tests.support import Cloud, RunningStack, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_LONG = "[[words:90]]"
"""An answer that takes about two seconds."""


async def _collect(events: AsyncIterator[Event]) -> list[Event]:
    async with asyncio.timeout(HANGS):
        return [event async for event in events]


def _answer(events: list[Event]) -> Answer:
    answer = Answer(events[0].job_id or "")
    for event in events:
        answer.apply(event)
    return answer


async def _record(client: Client, job_id: str | None) -> dict[str, Any]:
    return await client.api.job(job_id or "")


async def _forget(stack: RunningStack, session_id: str | None) -> None:
    """Delete a session's log, as a Redis does that starts anew."""
    redis = connect(stack.settings.redis_url)
    assert await redis.delete(Keys(stack.settings.stack_name).log(session_id or "")) == 1
    await redis.aclose()


async def test_an_answer_comes_in_order_and_is_what_was_recorded(stack: RunningStack) -> None:
    """`started`, text, `done`, all of one job; and the text is that of the record."""
    async with stack.client() as client:
        events = await _collect(client.ask("say something [[words:20]]"))
        assert [event.type for event in events[:1] + events[-1:]] == ["started", "done"]
        assert {event.type for event in events[1:-1]} == {"delta"}
        assert len({(event.job_id, event.conversation_id, event.attempt) for event in events}) == 1
        assert all(event.id for event in events)
        record = await _record(client, events[0].job_id)
        answer = _answer(events)
        assert record["reply"]["content"] == answer.text != ""
        assert (answer.message_id, answer.usage) == (record["reply_message_id"], record["usage"])


async def test_a_conversation_goes_on(stack: RunningStack) -> None:
    """A second message in the same conversation is answered with the first in mind."""
    async with stack.client() as client:
        first = await _collect(client.ask("remember the walrus [[words:20]]"))
        second = await _collect(client.ask("and now? [[words:40]]", conversation_id=first[0].conversation_id))
        assert second[0].conversation_id == first[0].conversation_id
        assert "walrus" in _answer(second).text


async def test_i4_an_answer_is_whole_though_its_stream_is_cut(stack: RunningStack) -> None:
    """Cut off four times in the middle: each event once, in order, and the text is the recorded one."""
    async with stack.client() as client:
        events: list[Event] = []
        async with asyncio.timeout(HANGS):
            async for event in client.ask(_LONG):
                events.append(event)
                if len(events) in {2, 6, 10, 14}:
                    await client.stream.cut()
        assert len(events) > 16
        ids = [event.id for event in events]
        assert len(set(ids)) == len(ids)
        assert [event.type for event in events] == ["started", *["delta"] * (len(events) - 2), "done"]
        record = await _record(client, events[0].job_id)
        assert _answer(events).text == record["reply"]["content"]


async def test_i5_thirty_answers_at_once_are_each_ones_own(stack: RunningStack) -> None:
    """Over one client and one connection: each text is complete, and belongs to its question."""
    async with stack.client() as client:
        names = [f"question-{number}" for number in range(30)]
        answers = await asyncio.gather(*[_collect(client.ask(f"{name} [[words:25]]")) for name in names])
        for name, events in zip(names, answers, strict=True):
            answer = _answer(events)
            assert answer.status == "done"
            assert name in answer.text
            assert answer.text == (await _record(client, answer.job_id))["reply"]["content"]


async def test_i1_a_request_whose_answer_got_lost_is_one_message(stack: RunningStack) -> None:
    """The API took the message and its 202 never came: it is sent again with the same key, and is one job."""
    word = f"once-{secrets.token_hex(4)}"
    async with line(stack.run["api_url"]) as way:
        way.lost_answers = 2
        url = f"http://{LOOPBACK}:{way.port}"
        async with Client(url, stack.run["websocket_url"], stack.token()) as client:
            events = await _collect(client.ask(f"{word} [[words:5]]"))
            assert events[-1].type == "done"
            assert way.lost_answers == 0
            messages = await client.api.messages(events[0].conversation_id or "")
        assert [message["role"] for message in messages["messages"]] == ["user", "assistant"]
        assert (await _listed(stack, word)) == 1


async def _listed(stack: RunningStack, title: str) -> int:
    async with stack.client() as client:
        found = (await client.api.conversations(limit=100))["conversations"]
    return sum(title in conversation["title"] for conversation in found)


async def test_a_message_whose_session_is_none_any_more_is_sent_for_the_new_one(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The functions may know before the stream does that a session's secret changed; the key stays, so it is one message."""
    async with stack.client() as client:
        post, sent = client.api.post_message, []

        async def refusing(message: PostMessage) -> Accepted:
            sent.append(message)
            if len(sent) == 1:
                client.stream.session_id = "ses_of_the_one_before"
                raise NotFoundError("there is no such session", code="no_session")
            return await post(replace(message, session_id=session))

        session = await client.connected()
        monkeypatch.setattr(client.api, "post_message", refusing)
        accepted = await client.send("hello [[words:3]]")
        assert (await client.api.job(accepted.job_id))["job_id"] == accepted.job_id
        assert [message.session_id for message in sent] == [session, "ses_of_the_one_before"]
        assert len({message.idempotency_key for message in sent}) == 1
        with pytest.raises(NotFoundError, match="conversation"):
            await client.send("hello", conversation_id="cnv_01k0000000000000000000000a")


async def test_a_message_waits_for_an_api_that_is_briefly_away(stack: RunningStack) -> None:
    """Refused connections are tried again, for a second or so; then `UnavailableError`."""
    async with line(stack.run["api_url"]) as way:
        url = f"http://{LOOPBACK}:{way.port}"
        async with Client(url, stack.run["websocket_url"], stack.token()) as client:
            way.refusing = True
            sending = asyncio.create_task(client.send("patience [[words:5]]"))
            await eventually(lambda: way.refused >= 2)
            way.refusing = False
            accepted = await sending
            assert accepted.job_id.startswith("job_")
            way.refusing = True
            await way.cut()
            with pytest.raises(UnavailableError):
                await client.send("no patience")
            assert way.refused == 2 + 4
            way.refusing = False
            assert [event.type for event in await _collect(client.follow(accepted.job_id))][-1] == "done"


async def test_i8_where_all_events_were_lost_the_record_answers(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection went before the first event and the log is gone: reset, the whole text, and how it ended."""
    monkeypatch.setattr(client_module, "_POLL_SECONDS", 0.3)
    async with line(stack.run["websocket_url"]) as way:
        url = f"ws://{LOOPBACK}:{way.port}"
        async with Client(stack.run["api_url"], url, stack.token()) as client:
            accepted = await client.send("lost and found [[words:20]]")
            way.refusing = True
            await way.cut()
            await eventually(lambda: _ended(client, accepted.job_id))
            await _forget(stack, client.stream.session_id)
            way.refusing = False
            events = await _collect(client.follow(accepted.job_id))
        assert [event.type for event in events][-3:] == ["reset", "delta", "done"]
        await _is_the_record(stack, events)


async def _ended(client: Client, job_id: str | None) -> bool:
    status: str = (await _record(client, job_id))["status"]
    return status == "done"


async def _is_the_record(stack: RunningStack, events: list[Event]) -> None:
    async with stack.client() as client:
        record = await _record(client, events[-1].job_id)
    answer = _answer(events)
    assert (answer.status, answer.text) == (record["status"], record["reply"]["content"])
    assert (answer.usage, answer.model, answer.provider) == (record["usage"], record["model"], record["provider"])


async def test_i8_where_the_rest_was_lost_the_record_answers_at_once(stack: RunningStack) -> None:
    """The connection went in the middle and the log is gone when it is back: the client is told, and asks."""
    async with line(stack.run["websocket_url"]) as way:
        url = f"ws://{LOOPBACK}:{way.port}"
        async with Client(stack.run["api_url"], url, stack.token()) as client:
            events = []
            async with asyncio.timeout(HANGS):
                async for event in client.ask(_LONG):
                    events.append(event)
                    if len(events) == 4:
                        way.refusing = True
                        await way.cut()
                        await eventually(lambda: _ended(client, event.job_id))  # noqa: B023
                        await _forget(stack, client.stream.session_id)
                        way.refusing = False
                        began = time.monotonic()
            assert time.monotonic() - began < 4
        assert [event.type for event in events][4:] == ["reset", "delta", "done"]
        await _is_the_record(stack, events)


async def test_i4_where_the_middle_was_lost_the_record_answers(stack: RunningStack) -> None:
    """Redis forgot a part of an answer that still goes on: what is left of it must not pass for the whole."""
    async with line(stack.run["websocket_url"]) as way:
        url = f"ws://{LOOPBACK}:{way.port}"
        async with Client(stack.run["api_url"], url, stack.token()) as client:
            redis = connect(stack.settings.redis_url)
            key = Keys(stack.settings.stack_name).log(await client.connected())
            events = []
            async with asyncio.timeout(HANGS):
                async for event in client.ask(_LONG):
                    events.append(event)
                    if len(events) == 4:
                        way.refusing = True
                        await way.cut()
                        length = await redis.xlen(key)

                        async def grown(most: int = length) -> bool:
                            return bool(await redis.xlen(key) > most + 2)

                        await eventually(grown)
                        await redis.delete(key)
                        way.refusing = False
            await redis.aclose()
        assert [event.type for event in events][-3:] == ["reset", "delta", "done"]
        await _is_the_record(stack, events)


async def test_a_job_that_was_followed_can_be_followed_again(stack: RunningStack) -> None:
    """From its record, for its events have gone by; by any client of its owner, in any session."""
    async with stack.client() as client:
        events = await _collect(client.ask("twice [[words:5]]"))
        text, job_id = _answer(events).text, events[0].job_id or ""
    async with stack.client() as another:
        again = await _collect(another.follow(job_id))
        assert [event.type for event in again] == ["reset", "delta", "done"]
        assert _answer(again).text == text


async def test_a_job_that_failed_ends_with_its_error(stack: RunningStack) -> None:
    """What the provider refuses is a friendly error, as an event and as the record."""
    await asyncio.to_thread(ask_provider, stack.run, "POST", "faults", kind="status", status=400, count=1)
    async with stack.client() as client:
        events = await _collect(client.ask("this will be refused"))
        answer = _answer(events)
        assert (events[-1].type, answer.status) == ("error", "failed")
        assert answer.error is not None
        assert answer.error["code"] == "llm_rejected"
        assert answer.error["message"]
        record = await _record(client, answer.job_id)
        assert (record["status"], record["error"]) == ("failed", answer.error)
    async with stack.client() as client:
        again = await _collect(client.follow(answer.job_id))
        assert [event.type for event in again] == ["reset", "error"]
        assert _answer(again).error == answer.error


async def test_a_cancelled_job_ends_as_cancelled(stack: RunningStack) -> None:
    """Stopped in the middle: the last event says so, and what came stays."""
    async with stack.client() as client:
        events = []
        async with asyncio.timeout(HANGS):
            async for event in client.ask(_LONG):
                events.append(event)
                if len(events) == 4:
                    await client.api.cancel(event.job_id or "")
        answer = _answer(events)
        assert answer.status == "cancelled"
        assert answer.text
        assert (await _record(client, answer.job_id))["reply"]["content"].startswith(answer.text)


async def test_where_the_secret_of_sessions_changed_a_new_one_begins(cloud: Cloud, tmp_path: Path) -> None:
    """The token is good, so the client goes on: whoever asks for the session waits for the new one, and events come by it."""
    async with log_of(cloud.settings) as log, AsyncExitStack() as until:
        old = await until.enter_async_context(running(cloud, tmp_path / "old.log"))
        way = await until.enter_async_context(line(old.url))
        address = f"ws://{LOOPBACK}:{way.port}"
        client = await until.enter_async_context(Client("http://127.0.0.1:9", address, cloud.token()))
        first = await client.connected(timeout=HANGS)
        cloud.aws.ssm.put_parameter(
            Name=cloud.stack.session_secret.name, Value="another-secret-of-32-bytes-or-more", Overwrite=True
        )
        new = await until.enter_async_context(running(cloud, tmp_path / "new.log"))
        way.target = f"{LOOPBACK}:{new.port}"
        old.terminate()

        async def another() -> str | None:
            session = await client.connected(timeout=HANGS)
            return session if session != first else None

        second = await eventually(another)
        events = [Event(kind, "job_1", attempt=1) for kind in ("started", "done")]
        await log.append([Frame(second, 1, event) for event in events])
        assert [event.type for event in await _collect(client.follow("job_1"))] == ["started", "done"]


async def test_i5_nobody_follows_a_job_of_another_user(stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """`NotFoundError`, as if there were none."""
    monkeypatch.setattr(client_module, "_POLL_SECONDS", 0.1)
    async with stack.client("alice") as alice, stack.client("bob") as bob:
        accepted = await alice.send("mine [[words:5]]")
        await bob.connected()
        with pytest.raises(NotFoundError):
            await _collect(bob.follow(accepted.job_id))


async def test_i5_a_bad_token_is_said_to_whoever_waits(stack: RunningStack) -> None:
    """`UnauthorizedError` from `connected`, and from everything that needs a connection."""
    async with Client(stack.run["api_url"], stack.run["websocket_url"], "garbage") as client:
        with pytest.raises(UnauthorizedError):
            await client.connected()
        with pytest.raises(UnauthorizedError):
            await client.send("hello")


async def test_who_follows_hears_that_the_session_was_taken_over(stack: RunningStack) -> None:
    """`ConflictError` for the one that was replaced, at once; the newer client sees the answer to its end."""
    async with stack.client() as older:
        session = await older.connected()
        accepted = await older.send(_LONG)
        following = asyncio.create_task(_collect(older.follow(accepted.job_id)))
        await eventually(lambda: older.stream.last_event_id)
        async with stack.client(session_id=session) as newer:
            with pytest.raises(ConflictError):
                await following
            events = await _collect(newer.follow(accepted.job_id))
            assert events[0].type == "started"
            await _is_the_record(stack, events)


async def test_where_nothing_listens_waiting_has_an_end(stack: RunningStack) -> None:
    """`TimedOutError` with a hint, after as long as one is willing to wait."""
    nowhere = f"{LOOPBACK}:{choose_port()}"
    async with Client(f"http://{nowhere}", f"ws://{nowhere}", stack.token()) as client:
        began = time.monotonic()
        with pytest.raises(TimedOutError) as late:
            await client.connected(timeout=0.3)
        assert time.monotonic() - began < 2
        assert late.value.hint
        assert client.stream.state in {"connecting", "reconnecting"}
        with pytest.raises(UnavailableError):
            await client.api.health()


async def test_a_url_that_is_none_is_said(stack: RunningStack) -> None:
    """`UsageError` from `connected`."""
    async with Client(stack.run["api_url"], "http://not-a-gateway", stack.token()) as client:
        with pytest.raises(UsageError):
            await client.connected()


async def test_i7_who_follows_too_slowly_costs_no_more_than_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """I7: a job whose events nobody takes keeps a thousand at most; its answer is whole all the same, from the record."""
    client = Client("http://127.0.0.1:9", "ws://127.0.0.1:9", "token")
    ids: dict[str, Any] = {"job_id": "job", "conversation_id": "cnv", "attempt": 1}

    async def events() -> AsyncIterator[Event]:
        yield Event("started", **ids, data={})
        for number in range(5000):
            yield Event("delta", **ids, data={"text": f"{number} "})
        yield Event("done", **ids, data={"message_id": "msg"})

    async def job(job_id: str) -> dict[str, Any]:
        answered = {"content": "the whole answer"}
        return {**ids, "job_id": job_id, "status": "done", "attempts": 1, "reply_message_id": "msg", "reply": answered}

    monkeypatch.setattr(client.stream, "events", events)
    monkeypatch.setattr(client.api, "job", job)
    await client._read()
    assert client._queue("job").qsize() <= 1001
    answer = _answer(await _collect(client.follow("job")))
    assert (answer.status, answer.text) == ("done", "the whole answer")
    await client.api.__aexit__(None, None, None)
