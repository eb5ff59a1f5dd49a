"""Recorded transcripts of events through the Python client. tests/web holds the page's own modules to the same ones."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.client import Answer, Client
from cloudia.client.stream import EventStream
from cloudia.protocol import Event
from tests.patience import HANGS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TRANSCRIPTS: list[dict[str, Any]] = json.loads((Path(__file__).parent.parent / "transcripts/answers.json").read_text())


class Played(EventStream):
    """A stream that brings the frames of a transcript, then nothing more."""

    frames: list[dict[str, Any]]

    async def events(self) -> AsyncIterator[Event]:
        """Yield what the real one would yield of these frames."""
        for frame in self.frames:
            event = Event.decode(json.dumps(frame))
            if event.type == "ready" or self._is_next(event):
                yield event
        await asyncio.Event().wait()


def client_of(transcript: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[Client, str]:
    """Return a client that is given a transcript's frames and, when it asks, the job's record; and the job's id."""
    job_id: str = next(frame["job_id"] for frame in transcript["events"] if "job_id" in frame)
    client, stream = Client("http://127.0.0.1:9", "ws://127.0.0.1:9", "token"), Played("ws://127.0.0.1:9", "token")
    stream.frames, client.stream = transcript["events"], stream

    async def record(asked: str) -> Any:
        assert asked == job_id
        return transcript["record"]

    monkeypatch.setattr(client.api, "job", record)
    client._queue(job_id)  # So that a `ready` finds who follows, as in a client that sent the message.
    return client, job_id


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=[transcript["name"] for transcript in TRANSCRIPTS])
async def test_a_transcript_makes_the_answer(transcript: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the client makes of these frames, and of the job's record where events were lost, is the answer."""
    client, job_id = client_of(transcript, monkeypatch)
    answer = Answer(job_id)
    following = client.follow(job_id)
    async with asyncio.timeout(HANGS), client:
        async for event in following:
            answer.apply(event)
    expected = transcript["expected"]
    assert {name: getattr(answer, name) for name in expected} == expected
