"""Listeners: told in order, apart from whoever tells; and the lines that the log has of it."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import time
import typing
from typing import TYPE_CHECKING, Any

import pytest

from cloudia import telemetry
from cloudia.errors import UsageError
from cloudia.telemetry import events
from cloudia.telemetry.events import AttemptFailed, AttemptIds, FrameDelivered, Happening, JobAccepted, JobEnded, JobIds
from tests.patience import HANGS

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
JOB = JobIds(job_id="job_1", conversation_id="cnv_1", traceparent=PARENT)
ATTEMPT = AttemptIds(job_id="job_1", conversation_id="cnv_1", traceparent=PARENT, attempt=2, fence=3)
IDS = {"job_id": "job_1", "conversation_id": "cnv_1", "trace_id": TRACE}
OF_REQUEST = {**IDS, "span_id": "b7ad6b7169203331"}
OF_ATTEMPT = {**IDS, "span_id": telemetry.attempt_span_id("job_1", 3)}


def delivered(number: int) -> FrameDelivered:
    """Return a happening that is no line of the log."""
    return FrameDelivered(
        job_id="job_1",
        attempt=1,
        kind="delta",
        event_id=f"{number}-0",
        session_id="ses_1",
        connection_id="con_1",
        at=1.0,
        seconds=0.1,
        bytes=number,
    )


@pytest.fixture(autouse=True)
def nobody_stays() -> Iterator[None]:
    """Each test has listeners of its own."""
    yield
    telemetry.stop_listening(0)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> logging.Handler:
    """The log of this process, of any level."""
    caplog.set_level(logging.DEBUG, "cloudia")
    return caplog.handler


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    """Return the event and fields of each line."""
    return [(record.getMessage(), getattr(record, "fields", {})) for record in caplog.records]


def test_a_listener_is_told_in_order_on_a_thread_of_its_own() -> None:
    """All that happens, once; nobody is told any more once it was stopped."""
    told: list[Happening] = []
    threads: set[str] = set()

    def listener(event: Happening) -> None:
        told.append(event)
        threads.add(threading.current_thread().name)

    assert not telemetry.listening()
    telemetry.listen(listener)
    assert telemetry.listening()
    for number in range(100):
        telemetry.notify(delivered(number))
    telemetry.flush(5)
    assert told == [delivered(number) for number in range(100)]
    assert threads == {"listener"}
    telemetry.stop_listening(5)
    telemetry.notify(delivered(100))
    assert len(told) == 100
    assert not telemetry.listening()


def test_what_a_listener_raises_is_logged_once(caplog: pytest.LogCaptureFixture, lines: logging.Handler) -> None:
    """It is told the next event all the same, also after a SystemExit; the count is logged at the end."""
    told: list[Happening] = []

    def listener(event: Happening) -> None:
        told.append(event)
        raise SystemExit

    telemetry.listen(listener)
    for number in range(3):
        telemetry.notify(delivered(number))
    telemetry.stop_listening(5)
    assert len(told) == 3
    assert [name for name, _ in said(caplog)] == ["the listener failed", "the listener missed events"]
    assert said(caplog)[1][1] == {"dropped": 0, "failed": 3, "untold": 0}


def test_a_slow_listener_keeps_nobody(caplog: pytest.LogCaptureFixture, lines: logging.Handler) -> None:
    """I7: what finds no room is dropped and counted, told once; telling, flushing and stopping are bounded."""
    going, told = threading.Event(), []

    def listener(event: Happening) -> None:
        told.append(event)
        going.wait(HANGS)

    telemetry.listen(listener, most=10)
    began = time.monotonic()
    for number in range(1000):
        telemetry.notify(delivered(number))
    telemetry.flush(0.05)
    telemetry.stop_listening(0.05)
    assert time.monotonic() - began < 5
    names = [name for name, _ in said(caplog)]
    assert names == ["the listener is too slow; events are dropped", "the listener missed events"]
    counts = said(caplog)[1][1]
    assert counts["dropped"] + counts["untold"] + len(told) == 1000
    going.set()


@pytest.mark.parametrize(
    ("name", "says"),
    [("nonsense", "module:function"), ("no_such_module:told", "cannot be loaded"), ("sys:path", "plain function")],
)
def test_a_listener_that_cannot_be_loaded_is_named(name: str, says: str) -> None:
    """What is wrong with `telemetry.listener` is one sentence with an example."""
    with pytest.raises(UsageError, match=says) as raised:
        telemetry.load_listener(name)
    assert raised.value.code == "bad_listener"
    assert "def told" in raised.value.hint
    assert telemetry.load_listener("json:dumps") is json.dumps


# --- the log -----------------------------------------------------------------------------------------------------------


def test_an_accepted_job_is_a_line(caplog: pytest.LogCaptureFixture, lines: logging.Handler) -> None:
    """Its ids; and `again`, where the request had come before."""
    facts: dict[str, Any] = {"at": 5.0, "seconds": 0.1, "content_bytes": 3, "parent": None}
    telemetry.notify(JobAccepted(job=JOB, send_seconds=0.05, again=False, **facts))
    telemetry.notify(JobAccepted(job=JOB, send_seconds=None, again=True, **facts))
    assert said(caplog) == [("job accepted", OF_REQUEST), ("job accepted", {**OF_REQUEST, "again": True})]


def test_a_failed_attempt_is_a_warning(caplog: pytest.LogCaptureFixture, lines: logging.Handler) -> None:
    """With what follows, and the traceback of what nobody foresaw, which no listener sees."""
    told: list[Happening] = []
    telemetry.listen(told.append)
    facts: dict[str, Any] = {"job": ATTEMPT, "at": 5.0, "seconds": 1.0, "reason": "503", "max_attempts": 5}
    telemetry.notify(AttemptFailed(code="llm_failed", decision="Retry", delay=4, **facts))
    error = RuntimeError("quotes a message")
    telemetry.notify(AttemptFailed(code="responder_failed", decision="GiveUp", delay=None, **facts), exc_info=error)
    telemetry.flush(5)
    first, second = said(caplog)
    told_first = {**OF_ATTEMPT, "attempt": 2, "code": "llm_failed", "reason": "503", "then": "Retry", "delay": 4}
    assert first == ("attempt failed", told_first)
    assert second[1] == {**OF_ATTEMPT, "attempt": 2, "code": "responder_failed", "reason": "503", "then": "GiveUp"}
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert [bool(record.exc_info) for record in caplog.records] == [False, True]
    assert "quotes" not in repr(told)


def test_the_end_of_a_job_is_a_line(caplog: pytest.LogCaptureFixture, lines: logging.Handler) -> None:
    """Its times in milliseconds, its usage, and how many requests the LLM had."""
    facts: dict[str, Any] = {"code": None, "provider": "openai", "model": "sim-1", "usage": {"input_tokens": 1}}
    telemetry.notify(
        JobEnded(
            job=ATTEMPT,
            at=14.5,
            accepted_at=10.0,
            began_at=11.0,
            first_text_at=11.25,
            status="done",
            llm_calls=2,
            **facts,
        )
    )
    times = {"waited_ms": 1000, "first_token_ms": 250, "total_ms": 4500}
    fields = {**OF_ATTEMPT, "status": "done", "attempt": 2, **times, "usage": {"input_tokens": 1}, "llm_calls": 2}
    assert said(caplog) == [("job ended", fields)]


# --- what is told ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", typing.get_args(Happening), ids=lambda kind: kind.__name__)
def test_i6_no_happening_has_room_for_text(kind: type) -> None:
    """I6: ids, words of ours, times and counts; each is documented, frozen, and says when it was."""
    names = {field.name for field in dataclasses.fields(kind)}
    assert "at" in names
    assert not names & {"text", "content", "body", "messages_text", "arguments", "result", "exception"}
    assert kind.__doc__
    assert kind.__name__ in events.__all__
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert hasattr(kind, "__slots__")
