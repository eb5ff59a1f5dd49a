"""Accepting a message: what a 202 promises, and what the same request again does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.cloud.job_records import Lease
from tests.functions.contract import code_of
from tests.support import eventually
from tests.worker.working import worker

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

    from tests.functions.apis import QuietCloud

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def accept(client: httpx2.Client, **body: Any) -> dict[str, str]:
    """Send a message that has to be accepted."""
    response = client.post("/messages", json={"content": "hello", **body})
    assert response.status_code == 202, response.text
    accepted: dict[str, str] = response.json()
    return accepted


def test_i1_what_is_accepted_is_recorded_and_queued(quiet: QuietCloud, user: str) -> None:
    """After a 202 the job and the message are in DynamoDB, and one SQS message has all that a worker needs."""
    quiet.drain()
    session = quiet.session(user)
    response = quiet.client(user).post(
        "/messages",
        json={"content": "grüße 👋", "session_id": session},
        headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
    )
    assert response.status_code == 202
    accepted = response.json()
    job = quiet.cloud.jobs.get(accepted["job_id"], user)
    assert (job.status, job.attempts, job.session_id, job.trace_id) == ("queued", 0, session, TRACE)
    message = quiet.cloud.history.message(accepted["conversation_id"], accepted["message_id"])
    assert message
    assert (message.role, message.content, message.job_id) == ("user", "grüße 👋", job.job_id)
    (queued,) = quiet.drain()
    assert {name: getattr(queued, name) for name in accepted} == accepted
    assert (queued.content, queued.user_id, queued.session_id) == ("grüße 👋", user, session)
    assert (queued.traceparent or "").startswith(f"00-{TRACE}-")
    assert queued.previous_message_id is None


@pytest.mark.parametrize("traceparent", ["", "garbage", f"00-{'0' * 32}-00f067aa0ba902b7-01", "00-x-y-z"])
def test_a_bad_traceparent_is_ignored(quiet: QuietCloud, user: str, traceparent: str) -> None:
    """A message without a usable trace context begins a trace of its own."""
    response = quiet.client(user).post("/messages", json={"content": "hello"}, headers={"traceparent": traceparent})
    assert response.status_code == 202
    job = quiet.client(user).get(f"/jobs/{response.json()['job_id']}").json()
    assert job["trace_id"]
    assert job["trace_id"] != TRACE


def test_i3_turns_are_queued_in_the_order_they_were_accepted(quiet: QuietCloud, user: str) -> None:
    """Messages sent one after another have rising ids, stand in one message group, and each names the one before."""
    quiet.drain()
    first = accept(quiet.client(user))
    conversation = first["conversation_id"]
    sent = [first, *(accept(quiet.client(user), conversation_id=conversation) for _ in range(9))]
    ids = [each["message_id"] for each in sent]
    assert ids == sorted(set(ids))
    queued = quiet.drain()
    assert [job.message_id for job in queued] == ids
    assert [job.previous_message_id for job in queued] == [None, *ids[:-1]]


def test_messages_sent_at_once_are_all_accepted(quiet: QuietCloud, user: str) -> None:
    """20 messages to one conversation at the same time: each has its own place, and none is lost or doubled.

    The queue may have them in another order; each of its messages names the one before it.
    """
    client = quiet.client(user)
    quiet.drain()
    conversation = accept(client)["conversation_id"]
    with ThreadPoolExecutor(20) as threads:
        sent = list(threads.map(lambda n: accept(client, content=f"m{n}", conversation_id=conversation), range(20)))
    listed = client.get(f"/conversations/{conversation}/messages").json()["messages"][1:]
    ids = [message["message_id"] for message in listed]
    assert ids == sorted(set(ids))
    assert {each["message_id"] for each in sent} == set(ids)
    assert {message["content"] for message in listed} == {f"m{n}" for n in range(20)}
    queued = quiet.drain()
    assert len(queued) == 21
    following = {job.previous_message_id: job.message_id for job in queued}
    chain = [following[None]]
    while chain[-1] in following:
        chain.append(following[chain[-1]])
    assert chain[1:] == ids


@pytest.mark.long
async def test_i3_messages_sent_at_once_are_answered_in_the_order_of_their_history(
    quiet: QuietCloud, user: str, tmp_path: Path
) -> None:
    """I3: eight at the same time, as in the history; each answer is begun when the one before has ended, and knows of it."""
    client = quiet.client(user)
    quiet.drain()
    conversation = accept(client)["conversation_id"]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: accept(client, content=f"m{n}", conversation_id=conversation), range(8)))

    def answers() -> list[dict[str, Any]]:
        listed = client.get(f"/conversations/{conversation}/messages").json()["messages"]
        return [message for message in listed if message["role"] == "assistant"]

    async with worker(quiet.cloud, tmp_path):
        await eventually(lambda: len(answers()) == 9)
    records = [quiet.cloud.jobs.get(message["job_id"], user) for message in answers()]
    for before, after in pairwise(records):
        assert (before.attempt_history[-1].ended_at or 0) <= after.attempt_history[0].began_at
    assert [f"turn {number}" in message["content"] for number, message in enumerate(answers(), 1)] == [True] * 9


def test_null_is_as_good_as_left_out(quiet: QuietCloud, user: str) -> None:
    """An optional field may be null."""
    quiet.drain()
    accept(quiet.client(user), conversation_id=None, session_id=None, idempotency_key=None)
    accept(quiet.client(user), conversation_id=None, session_id=None, idempotency_key=None)
    assert len(quiet.drain()) == 2


# --- the same request again -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["k", " ", "~" * 128, '"\\'])
@pytest.mark.parametrize("goes_on", [False, True], ids=["a new conversation", "an old one"])
def test_the_same_key_and_message_is_one_job(quiet: QuietCloud, user: str, key: str, *, goes_on: bool) -> None:
    """Sent three times it has the same ids each time, and there is one message in the history and one in the queue."""
    client = quiet.client(user)
    body = {"idempotency_key": key}
    if goes_on:
        body["conversation_id"] = accept(client)["conversation_id"]
    quiet.drain()
    first = accept(client, **body)
    assert [accept(client, **body) for _ in range(2)] == [first, first]
    assert [job.job_id for job in quiet.drain()] == [first["job_id"]]
    messages = client.get(f"/conversations/{first['conversation_id']}/messages").json()["messages"]
    assert [message["message_id"] for message in messages][goes_on:] == [first["message_id"]]


def test_the_same_key_at_once_is_one_job(quiet: QuietCloud, user: str) -> None:
    """Ten requests at the same time with one key have one answer, one conversation, and one message in the queue."""
    client = quiet.client(user)
    quiet.drain()
    with ThreadPoolExecutor(10) as threads:
        sent = list(threads.map(lambda _: accept(client, idempotency_key="once"), range(10)))
    assert sent == [sent[0]] * 10
    assert [job.job_id for job in quiet.drain()] == [sent[0]["job_id"]]
    assert len(client.get("/conversations").json()["conversations"]) == 1


def test_the_same_key_for_another_message_is_a_conflict(quiet: QuietCloud, user: str) -> None:
    """Other content, or another conversation, under a used key is a 409 and leaves nothing."""
    client = quiet.client(user)
    other = accept(client)["conversation_id"]
    first = accept(client, idempotency_key="used")
    before = quiet.depth()
    for body in (
        {"content": "another"},
        {"content": "hello "},
        {"content": "hello", "conversation_id": other},
        {"content": "hello", "conversation_id": first["conversation_id"]},
    ):
        response = client.post("/messages", json={**body, "idempotency_key": "used"})
        assert (response.status_code, code_of(response)) == (409, "idempotency_conflict")
    assert quiet.depth() == before
    assert len(client.get(f"/conversations/{other}/messages").json()["messages"]) == 1


def test_a_job_that_was_begun_is_not_queued_again(quiet: QuietCloud, user: str) -> None:
    """Once a worker has begun a job, the same key still gives the same answer and nothing goes to the queue; so at its end."""
    client = quiet.client(user)
    first = accept(client, idempotency_key="again")
    quiet.drain()
    lease = quiet.cloud.jobs.lease(first["job_id"], "a worker", 60)
    assert isinstance(lease, Lease)
    assert accept(client, idempotency_key="again") == first
    quiet.cloud.jobs.finish(lease, "done", content="the answer")
    assert accept(client, idempotency_key="again") == first
    assert quiet.depth() == 0
    job = client.get(f"/jobs/{first['job_id']}").json()
    assert (job["status"], job["attempts"], job["reply"]["content"]) == ("done", 1, "the answer")


def test_a_request_that_died_between_its_writes_is_mended(quiet: QuietCloud, user: str) -> None:
    """Where the first request recorded the job and did not enqueue it, the same one again does, and answers 202."""
    quiet.drain()
    recorded, unsent = quiet.cloud.intake.accept(
        user_id=user,
        content="hello",
        conversation_id=None,
        session_id=None,
        idempotency_key="torn",
        traceparent=f"00-{TRACE}-00f067aa0ba902b7-01",
    )
    assert unsent
    assert quiet.depth() == 0
    assert accept(quiet.client(user), idempotency_key="torn")["job_id"] == recorded.job_id
    assert quiet.drain() == [recorded]
