"""Jobs over HTTP: how one stands, its answer, and asking it to stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.cloud.job_records import Lease
from cloudia.cloud.redis import connect
from cloudia.cloud.stops import Stops
from cloudia.worker.failures import Failure
from tests.functions.apis import Users, edge_of
from tests.gateway.lines import line
from tests.patience import HANGS
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

    from cloudia.protocol import JobStatus
    from tests.functions.apis import QuietCloud

SHORT, SLOW = "[[words:5]]", "[[words:3000]]"
"""What the simulated LLM answers in a moment, and in half a minute."""


async def ended(client: httpx2.Client, job_id: str) -> dict[str, Any]:
    """Wait for the end of a job, and return it."""

    def look() -> dict[str, Any] | None:
        job: dict[str, Any] = client.get(f"/jobs/{job_id}").json()
        return job if job["status"] not in {"queued", "running"} else None

    found: dict[str, Any] = await eventually(look)
    return found


async def test_a_job_has_its_answer_once_it_has_ended(users: Users, user: str) -> None:
    """`reply` is null at first, and then the message that the conversation has, with usage, provider and model."""
    client = users.client(user)
    sent = client.post("/messages", json={"content": SHORT}).json()
    before = client.get(f"/jobs/{sent['job_id']}").json()
    assert before["reply"] is None
    assert before["reply_message_id"] is None
    job = await ended(client, sent["job_id"])
    assert (job["status"], job["attempts"], job["error"]) == ("done", 1, None)
    assert (job["provider"], job["model"]) == ("openai", "sim-1")
    assert job["usage"]["output_tokens"] > 0
    reply = job["reply"]
    assert reply["message_id"] == job["reply_message_id"]
    assert (reply["role"], reply["status"], reply["usage"]) == ("assistant", "done", job["usage"])
    question, answer = client.get(f"/conversations/{sent['conversation_id']}/messages").json()["messages"]
    assert question["message_id"] == sent["message_id"]
    assert answer == reply


async def test_a_running_job_is_cancelled(users: Users, user: str) -> None:
    """Asking is a 202 at once; the job ends as cancelled, and what came of the answer until then is kept."""
    client = users.client(user)
    job_id = client.post("/messages", json={"content": SLOW}).json()["job_id"]
    await eventually(lambda: client.get(f"/jobs/{job_id}").json()["status"] == "running")
    response = client.post(f"/jobs/{job_id}/cancel")
    assert (response.status_code, response.json()) == (202, {"job_id": job_id, "status": "running"})
    job = await ended(client, job_id)
    assert (job["status"], job["cancel_requested"], job["reply"]["status"]) == ("cancelled", True, "cancelled")


async def test_a_waiting_job_is_cancelled_before_it_is_begun(users: Users, user: str) -> None:
    """A job that waits behind another of its conversation ends as cancelled with an empty answer once it is its turn."""
    client = users.client(user)
    first = client.post("/messages", json={"content": SLOW}).json()
    waiting = client.post("/messages", json={"content": SLOW, "conversation_id": first["conversation_id"]}).json()
    await eventually(lambda: client.get(f"/jobs/{first['job_id']}").json()["status"] == "running")
    response = client.post(f"/jobs/{waiting['job_id']}/cancel")
    assert (response.status_code, response.json()["status"]) == (202, "queued")
    assert client.post(f"/jobs/{first['job_id']}/cancel").status_code == 202
    job = await ended(client, waiting["job_id"])
    assert (job["status"], job["cancel_requested"], job["reply"]["content"]) == ("cancelled", True, "")


@pytest.mark.parametrize("status", ["done", "failed", "cancelled", "dead_lettered"])
def test_a_job_that_has_ended_stays_as_it_is(quiet: QuietCloud, user: str, status: JobStatus) -> None:
    """Cancelling it is a 200 with its status, however often, and changes neither the job nor its answer."""
    client = quiet.client(user)
    job_id = client.post("/messages", json={"content": "hello"}).json()["job_id"]
    lease = quiet.cloud.jobs.lease(job_id, "a worker", 60)
    assert isinstance(lease, Lease)
    failure = Failure("llm_failed", "The LLM did not answer.", "503", retry_after=1.5)
    wrong = status in {"failed", "dead_lettered"}
    quiet.cloud.jobs.finish(
        lease, status, content="" if wrong else "so far", error=failure.to_json() if wrong else None
    )
    before = client.get(f"/jobs/{job_id}").json()
    assert before["error"] == before["reply"]["error"] == (failure.to_json() if wrong else None)
    for _ in range(2):
        response = client.post(f"/jobs/{job_id}/cancel")
        assert (response.status_code, response.json()) == (200, {"job_id": job_id, "status": status})
    assert client.get(f"/jobs/{job_id}").json() == before


def test_what_an_answer_cost_is_shown(quiet: QuietCloud, user: str) -> None:
    """The cost that a worker recorded is in the usage of the job and of its answer."""
    client = quiet.client(user)
    job_id = client.post("/messages", json={"content": "hello"}).json()["job_id"]
    lease = quiet.cloud.jobs.lease(job_id, "a worker", 60)
    assert isinstance(lease, Lease)
    usage = {"input_tokens": 24, "output_tokens": 61, "cost_usd": 0.000128}
    quiet.cloud.jobs.finish(lease, "done", content="so far", usage=usage)
    job = client.get(f"/jobs/{job_id}").json()
    assert job["usage"] == job["reply"]["usage"] == usage


def test_a_queued_job_keeps_the_request_to_stop(quiet: QuietCloud, user: str) -> None:
    """The flag waits for the worker; asking again, with any body, is a 202 again."""
    client = quiet.client(user)
    job_id = client.post("/messages", json={"content": "hello"}).json()["job_id"]
    for content in (b"", b"{}", b"\xff"):
        response = client.post(f"/jobs/{job_id}/cancel", content=content)
        assert (response.status_code, response.json()["status"]) == (202, "queued")
    assert client.get(f"/jobs/{job_id}").json()["cancel_requested"]
    assert quiet.cloud.jobs.cancel_requested([job_id]) == {job_id}


def test_a_failed_attempt_shows_why(quiet: QuietCloud, user: str) -> None:
    """Between two attempts a job is queued and says why the last one failed; in the next one it no longer matters."""
    client = quiet.client(user)
    job_id = client.post("/messages", json={"content": "hello"}).json()["job_id"]
    lease = quiet.cloud.jobs.lease(job_id, "a worker", 60)
    assert isinstance(lease, Lease)
    failure = Failure("llm_rate_limited", "The LLM did not answer.", retry_after=2.0)
    quiet.cloud.jobs.release(lease, error=failure.to_json())
    job = client.get(f"/jobs/{job_id}").json()
    assert (job["status"], job["attempts"], job["error"], job["reply"]) == ("queued", 1, failure.to_json(), None)


async def test_the_workers_are_told_of_a_cancel(quiet: QuietCloud, user: str) -> None:
    """A job that is to stop is published once it is written; one that has ended is not."""
    client, settings = quiet.client(user), quiet.cloud.settings
    running, over = (client.post("/messages", json={"content": "hello"}).json()["job_id"] for _ in range(2))
    quiet.cloud.jobs.abandon(over, owner="a test", error={})
    subscribed = asyncio.Event()
    async with connect(settings.redis_url) as redis:
        stops = Stops(redis, settings.stack_name).published(subscribed=subscribed)
        heard = asyncio.ensure_future(anext(stops))
        await asyncio.wait_for(subscribed.wait(), HANGS)
        for job_id in (over, running):
            await asyncio.to_thread(client.post, f"/jobs/{job_id}/cancel")
        assert await asyncio.wait_for(heard, HANGS) == running
        assert quiet.cloud.jobs.cancel_requested([running]) == {running}
        await stops.aclose()


@pytest.mark.parametrize("state", ["refusing", "silent"])
async def test_a_cancel_does_not_depend_on_redis(quiet: QuietCloud, user: str, tmp_path: Path, state: str) -> None:
    """I8: without Redis a cancel is written and accepted all the same, and the log says that the worker sees it later."""
    job_id = quiet.client(user).post("/messages", json={"content": "hello"}).json()["job_id"]
    async with line(quiet.cloud.settings.redis_url) as away:
        setattr(away, state, True)
        async with edge_of(quiet.cloud, tmp_path / "edge.log", redis_url=away.url) as (url, _):
            with Users(url, quiet.cloud.token) as users:
                response = await asyncio.to_thread(users.client(user).post, f"/jobs/{job_id}/cancel")
    assert (response.status_code, response.json()) == (202, {"job_id": job_id, "status": "queued"})
    assert quiet.cloud.jobs.cancel_requested([job_id]) == {job_id}
    assert "stop not published" in (tmp_path / "edge.log").read_text()
