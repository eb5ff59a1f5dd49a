"""What a listener is told by the functions, and what it may cost a request."""

from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import httpx2
import pytest

from cloudia import telemetry
from cloudia.functions import http
from cloudia.telemetry.events import JobAccepted, JobIds
from tests.functions.apis import edge_of
from tests.patience import HANGS
from tests.support import Cloud, eventually
from tests.told import told_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cloudia.functions.http import Answer, Request
    from cloudia.telemetry.events import Happening

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_an_accepted_message_is_told(cloud: Cloud, tmp_path: Path) -> None:
    """Its ids, whose trace it is in, how long both writes took, and how much it was; sent again, that it was."""
    file = tmp_path / "told.jsonl"
    variables = {"CLOUDIA_TELEMETRY_LISTENER": "tests.told:told", "TOLD": str(file)}
    headers = {"authorization": f"Bearer {cloud.token()}", "traceparent": PARENT}
    body = {"content": "xyzzy é", "idempotency_key": "k"}
    async with (
        edge_of(cloud, tmp_path / "edge.log", environment=variables) as (url, _),
        httpx2.AsyncClient(base_url=url, trust_env=False, headers=headers) as client,
    ):
        accepted = (await client.post("/messages", json=body)).json()
        cloud.jobs.lease(accepted["job_id"], "wrk_1", 60)
        assert (await client.post("/messages", json=body)).json() == accepted
        await eventually(lambda: len(told_in(file)) == 2)
    first, again = told_in(file)
    assert (first["event"], first["job"]["job_id"]) == ("JobAccepted", accepted["job_id"])
    assert telemetry.trace_id(first["job"]["traceparent"]) == telemetry.trace_id(PARENT)
    assert (first["parent"], first["content_bytes"], first["again"]) == (PARENT, 8, False)
    assert 0 < first["send_seconds"] < first["seconds"]
    assert (again["send_seconds"], again["again"]) == (None, True)
    assert "xyzzy" not in file.read_text()


async def test_a_listener_that_is_not_there_refuses_no_message(cloud: Cloud, tmp_path: Path) -> None:
    """A function's zip may lack its module: the log says so, and messages are accepted."""
    variables = {"CLOUDIA_TELEMETRY_LISTENER": "nowhere:told"}
    headers = {"authorization": f"Bearer {cloud.token()}"}
    log = tmp_path / "edge.log"
    async with (
        edge_of(cloud, log, environment=variables) as (url, _),
        httpx2.AsyncClient(base_url=url, trust_env=False, headers=headers) as client,
    ):
        for _ in range(2):
            assert (await client.post("/messages", json={"content": "hello"})).status_code == 202
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (line,) = [line for line in lines if line["event"] == "listener not loaded"]
    assert "nowhere:told" in line["reason"]


@pytest.fixture
def lambda_(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process of Lambda's; nobody listens afterwards."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "cloudia-post_message")
    monkeypatch.setattr(http, "services", SimpleNamespace)
    yield
    telemetry.stop_listening(0)


def accepting(_: Request) -> Answer:
    """Tell of a job and answer 202."""
    job = JobIds(job_id="job_1", conversation_id="cnv_1", traceparent=None)
    telemetry.notify(
        JobAccepted(job=job, at=1.0, seconds=0.1, send_seconds=0.1, content_bytes=1, again=False, parent=None)
    )
    return 202, {}


def test_in_lambda_a_listener_is_told_before_the_answer(lambda_: None) -> None:
    """The process stands still afterwards, so what was told by then is all that will be for a while."""
    told: list[Happening] = []

    def listener(event: Happening) -> None:
        time.sleep(0.05)
        told.append(event)

    telemetry.listen(listener)
    assert http.function(accepting)({}, None)["statusCode"] == 202
    assert len(told) == 1


def test_in_lambda_a_listener_that_hangs_costs_a_moment(lambda_: None) -> None:
    """I7: a request waits for it a quarter of a second, and no more."""
    going = threading.Event()
    telemetry.listen(lambda _event: going.wait(HANGS))
    began = time.monotonic()
    assert http.function(accepting)({}, None)["statusCode"] == 202
    assert 0.2 < time.monotonic() - began < 5
    going.set()
