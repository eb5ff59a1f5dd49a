"""A connection that died without a word: what tells that it lives, and what a client does when nothing does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.errors import InvalidRequestError
from cloudia.protocol import START, LaterVersionError
from tests.client.test_client_stream import listening
from tests.gateway.lines import line
from tests.gateway.nodes import SCRIPTED_READY, append, greet, log_of, opened, running, scripted
from tests.support import Cloud, eventually

if TYPE_CHECKING:
    from pathlib import Path

BEATS = {"CLOUDIA_GATEWAY_HEARTBEAT_SECONDS": "0.25"}


async def test_a_gateway_says_that_the_line_lives(cloud: Cloud, tmp_path: Path) -> None:
    """`ready` tells the interval; each heartbeat names the event that was sent last, also to a connection that resumes."""
    async with log_of(cloud.settings) as log, running(cloud, tmp_path / "gateway.log", **BEATS) as node:
        async with opened(node) as socket:
            ready = await greet(socket, cloud.token())
            assert ready["heartbeat_seconds"] == 0.25
            assert json.loads(await socket.recv()) == {"type": "heartbeat", "after": START}
            first, last = await append(log, ready["session_id"], ["a", "b"])
            heard = [json.loads(await socket.recv())]
            while (heard[-1]["type"], heard[-1]["after"]) != ("heartbeat", last):
                heard.append(json.loads(await socket.recv()))
            events = [(frame["id"], frame["after"]) for frame in heard if frame["type"] == "delta"]
            assert events == [(first, START), (last, first)]
        async with opened(node) as socket:
            await greet(socket, cloud.token(), ready["session_id"], first)
            again = json.loads(await socket.recv())
            assert (again["id"], again["after"]) == (last, first)
            assert json.loads(await socket.recv()) == {"type": "heartbeat", "after": last}


async def test_i4_a_line_that_swallows_everything_is_left(cloud: Cloud, tmp_path: Path) -> None:
    """Nobody closes anything; the stream reconnects by itself, and has what was said meanwhile once the line is back."""
    async with (
        log_of(cloud.settings) as log,
        running(cloud, tmp_path / "gateway.log", **BEATS) as node,
        line(node.url) as way,
        listening(way.url, cloud.token()) as listener,
    ):
        session = await listener.session()
        ids = await append(log, session, ["a"])
        await eventually(lambda: listener.ids == ids)
        way.silent = True
        ids += await append(log, session, ["b", "c"])
        await eventually(lambda: listener.stream.state == "reconnecting")
        assert listener.ids == ids[:1]
        way.silent = False
        await eventually(lambda: listener.ids == ids)
        assert all((ready.data or {})["resumed"] for ready in listener.readies[1:])


@pytest.mark.parametrize("goes_on", [True, False])
async def test_i4_a_frame_that_was_swallowed_is_missed(cloud: Cloud, tmp_path: Path, *, goes_on: bool) -> None:
    """The next event tells that one was lost before it, or else the next heartbeat; the stream has both, in order."""
    async with (
        log_of(cloud.settings) as log,
        running(cloud, tmp_path / "gateway.log", CLOUDIA_GATEWAY_HEARTBEAT_SECONDS="60" if goes_on else "0.5") as node,
        line(node.url) as way,
        listening(way.url, cloud.token()) as listener,
    ):
        session = await listener.session()
        ids = await append(log, session, ["a"])
        await eventually(lambda: listener.ids == ids)
        way.silent = True
        ids += await append(log, session, ["b" * 1000])
        await eventually(lambda: way.swallowed > 1000)
        way.silent = False
        if goes_on:
            ids += await append(log, session, ["c"])
        await eventually(lambda: listener.ids == ids)
        assert len(listener.readies) == 2


async def test_i9_what_a_later_version_adds_is_passed_over() -> None:
    """Events of an unknown type count as events, so that none seems to be lost; unknown fields are nobody's business."""
    frames: list[dict[str, Any]] = [
        {**SCRIPTED_READY, "novel": {"a": 1}},
        {"type": "novel"},
        {"type": "novel", "id": "1-0", "after": START, "job_id": "job"},
        {"type": "delta", "id": "2-0", "after": "1-0", "job_id": "job", "text": "a", "novel": [1]},
        {"type": "heartbeat", "after": "2-0", "novel": True},
        {"type": "delta", "id": "3-0", "after": "2-0", "job_id": "job", "text": "b"},
    ]
    async with scripted(frames) as url, listening(url, "token") as listener:
        await eventually(lambda: listener.ids == ["2-0", "3-0"])
        assert len(listener.readies) == 1


async def test_i9_a_gateway_of_an_earlier_version_is_understood() -> None:
    """Without heartbeats, and without a word on what came before an event, nothing counts as lost."""
    frames: list[dict[str, Any]] = [
        SCRIPTED_READY,
        *({"type": "delta", "id": f"{at}-0", "job_id": "job", "text": "a"} for at in (1, 2)),
    ]
    async with scripted(frames) as url, listening(url, "token", last_event_id="0-5") as listener:
        await eventually(lambda: listener.ids == ["1-0", "2-0"])
        assert len(listener.readies) == 1


@pytest.mark.parametrize(("protocol", "kind"), [(2, LaterVersionError), ("1", InvalidRequestError)])
async def test_i9_a_gateway_that_speaks_another_protocol_ends_the_stream(protocol: object, kind: type) -> None:
    """A version that is too high is told as that, with what to do; something that is no version, too."""
    async with scripted([{**SCRIPTED_READY, "protocol": protocol}]) as url, listening(url, "token") as listener:
        failure = await eventually(lambda: listener.failure)
    assert isinstance(failure, InvalidRequestError)
    assert type(failure) is kind
    assert failure.code == "bad_version"
    assert (failure.hint == "Update cloudia here.") == (kind is LaterVersionError)
