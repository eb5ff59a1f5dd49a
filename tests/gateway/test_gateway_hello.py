"""What follows a hello: `ready` and what was missed, or a refusal that says why."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed

from cloudia.cloud.identity import issue_token
from cloudia.cloud.redis import Keys, connect
from cloudia.protocol import MAX_FRAME_BYTES, START, VERSION, Hello
from tests.gateway.nodes import (
    CONVERSATION,
    JOB,
    Node,
    append,
    frames_until,
    greet,
    next_frame,
    opened,
    running,
    said_no,
    texts,
)
from tests.support import Cloud

if TYPE_CHECKING:
    from pathlib import Path

    from cloudia.cloud.events import EventLog

_STRANGER = "a-secret-that-is-not-ours-but-long-enough"


async def test_a_hello_without_a_session_makes_one(node: Node, token: str) -> None:
    """Each has an id of its own, signed, and nothing to resume."""
    seen = set()
    for _ in range(2):
        async with opened(node) as socket:
            ready = await greet(socket, token)
        assert ready.keys() == {"type", "session_id", "connection_id", "resumed", "protocol", "heartbeat_seconds"}
        assert ready["resumed"] is False
        assert ready["protocol"] == VERSION
        name, _, signature = ready["session_id"].partition(".")
        assert name.startswith("ses_")
        assert len(signature) == 43
        seen |= {ready["session_id"], ready["connection_id"]}
    assert len(seen) == 4


async def test_events_arrive_as_they_are_logged(node: Node, token: str, log: EventLog) -> None:
    """A frame is the logged event with its id in the log, and that of the one before."""
    async with opened(node) as socket:
        session = (await greet(socket, token))["session_id"]
        (event_id,) = await append(log, session, ['"}\\ äöü 🦊\u2028\n'])
        assert await next_frame(socket) == {
            "id": event_id,
            "after": START,
            "type": "delta",
            "job_id": JOB,
            "conversation_id": CONVERSATION,
            "attempt": 1,
            "text": '"}\\ äöü 🦊\u2028\n',
        }


async def test_i4_resume_replays_exactly_what_was_missed(node: Node, token: str, log: EventLog) -> None:
    """1,500 events, many pages of them: all after the last one that was seen, each once, then what is new."""
    async with opened(node) as socket:
        session = (await greet(socket, token))["session_id"]
        ids = await append(log, session, [str(number) for number in range(1500)])
        seen = await frames_until(socket, ids[24])
        socket.transport.abort()
    assert texts(seen) == [str(number) for number in range(25)]

    async with opened(node) as socket:
        ready = await greet(socket, token, session, ids[24])
        assert ready["session_id"] == session
        assert ready["resumed"] is True
        missed = await frames_until(socket, ids[-1])
        (later,) = await append(log, session, ["later"])
        assert texts(await frames_until(socket, later)) == ["later"]
    assert [frame["id"] for frame in missed] == ids[25:]
    assert texts(missed) == [str(number) for number in range(25, 1500)]


async def test_a_session_that_saw_nothing_gets_all(node: Node, token: str, log: EventLog) -> None:
    """A hello with a session and no last event is a client that was cut before its first."""
    async with opened(node) as socket:
        session = (await greet(socket, token))["session_id"]
    ids = await append(log, session, ["a", "b"])
    for last in (None, "0-0"):
        async with opened(node) as socket:
            assert (await greet(socket, token, session, last))["resumed"] is True
            assert texts(await frames_until(socket, ids[-1])) == ["a", "b"]


async def test_what_the_log_lost_is_not_called_resumed(
    node: Node, token: str, log: EventLog, shared_cloud: Cloud
) -> None:
    """A last event that the log no longer has means that others may be missing, and the client is told."""
    async with opened(node) as socket:
        session = (await greet(socket, token))["session_id"]
    ids = await append(log, session, ["a", "b", "c"])
    client = connect(shared_cloud.settings.redis_url)
    await client.xdel(Keys(shared_cloud.stack.name).log(session), ids[0])
    await client.aclose()
    async with opened(node) as socket:
        assert (await greet(socket, token, session, ids[0]))["resumed"] is False
        assert texts(await frames_until(socket, ids[-1])) == ["b", "c"]
    async with opened(node) as socket:
        assert (await greet(socket, token, session, ids[1]))["resumed"] is True
        assert texts(await frames_until(socket, ids[-1])) == ["c"]


async def test_i5_a_session_of_another_user_is_refused(node: Node, shared_cloud: Cloud, log: EventLog) -> None:
    """Whoever knows a session's id still hears nothing of it, and its owner stays connected."""
    async with opened(node) as socket:
        session = (await greet(socket, shared_cloud.token("alice")))["session_id"]
        async with opened(node) as intruder:
            await intruder.send(Hello(shared_cloud.token("bob"), session).encode())
            code, error = await said_no(intruder)
        assert code == 4400
        assert error is not None
        assert error["code"] == "no_session"
        assert error["hint"]
        ids = await append(log, session, ["for alice"])
        assert texts(await frames_until(socket, ids[0])) == ["for alice"]


async def test_i5_a_session_that_was_never_made_is_refused(node: Node, token: str) -> None:
    """Nor does a made-up id pass, a changed one, or one of another cloud."""
    async with opened(node) as socket:
        session = (await greet(socket, token))["session_id"]
    name, _, signature = session.partition(".")
    for other in ("", "ses_x", name, f"{name}.", f"{name}x.{signature}", f"{name}.{signature[::-1]}", f"{session}\n"):
        async with opened(node) as socket:
            await socket.send(Hello(token, other).encode())
            code, error = await said_no(socket)
        assert code == 4400
        assert error is not None
        assert error["code"] == "no_session", other


@pytest.mark.parametrize(
    ("case", "code"),
    [("garbage", "bad_token"), ("stranger", "bad_token"), ("expired", "token_expired"), ("half", "bad_token")],
)
async def test_i5_a_token_that_is_not_good_is_refused(node: Node, shared_cloud: Cloud, case: str, code: str) -> None:
    """4401, with the reason: not ours, not whole, or too old."""
    good = shared_cloud.token()
    token = {
        "garbage": "garbage",
        "stranger": issue_token(_STRANGER, "alice"),
        "expired": shared_cloud.token(seconds=-60),
        "half": good[: len(good) // 2],
    }[case]
    async with opened(node) as socket:
        await socket.send(Hello(token).encode())
        close_code, error = await said_no(socket)
    assert close_code == 4401
    assert error is not None
    assert error["code"] == code
    assert error["message"]
    assert "cloudia token" in error["hint"]


def _hello(token: str, **fields: Any) -> str:
    return json.dumps({"type": "hello", "token": token, **fields})


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("garbage", "not_json"),
        ("", "not_json"),
        (b'{"type": "hello"}', "bad_frame"),
        ("[]", "invalid_request"),
        ("[" * 10_000, "not_json"),
        ('{"type": "ready"}', "no_hello"),
        ('{"type": "hello"}', "no_token"),
        (_hello("t", colour="red"), "unknown_field"),
        (_hello("t", **{"🦊" * 64: 1}), "unknown_field"),
        (_hello("t", last_event_id="yesterday"), "bad_last_event_id"),
        (_hello("t", session_id=7), "wrong_type"),
    ],
)
async def test_a_frame_that_is_no_hello_is_refused(node: Node, frame: str | bytes, code: str) -> None:
    """4400, and before it an `error` event that says what is wrong: code, message and hint."""
    async with opened(node) as socket:
        await socket.send(frame)
        close_code, error = await said_no(socket)
    assert close_code == 4400
    assert error is not None
    assert error.keys() == {"code", "message", "hint"}
    assert error["code"] == code
    assert error["message"]


async def test_an_event_id_of_the_future_is_no_outage(node: Node, token: str, log: EventLog) -> None:
    """An id beyond all that the log will ever hold is taken for what it is: an event that it does not have."""
    async with opened(node) as socket:
        ready = await greet(socket, token, None, f"{2**64 - 1}-0")
        assert ready["resumed"] is False


async def test_a_frame_after_the_hello_is_refused(node: Node, token: str) -> None:
    """A client sends one frame and then listens."""
    async with opened(node) as socket:
        await greet(socket, token)
        await socket.send(Hello(token).encode())
        code, error = await said_no(socket)
    assert code == 4400
    assert error is not None
    assert error["code"] == "unexpected_frame"


async def test_a_frame_that_is_too_large_ends_its_connection_alone(node: Node, token: str, log: EventLog) -> None:
    """1009 for the one; the process and the connections of others stay."""
    async with opened(node) as socket:
        session = (await greet(socket, token))["session_id"]
        for text in (_hello("t" * MAX_FRAME_BYTES), "🦊" * MAX_FRAME_BYTES):
            async with opened(node) as large:
                # The gateway closes as soon as it knows the size, perhaps while this is still being sent.
                with contextlib.suppress(ConnectionClosed):
                    await large.send(text)
                assert await said_no(large) in {(1009, None), (None, None)}
        async with opened(node) as large:
            await large.send(_hello("t" * (MAX_FRAME_BYTES - 64)))
            assert (await said_no(large))[0] == 4401
        ids = await append(log, session, ["still here"])
        assert texts(await frames_until(socket, ids[0])) == ["still here"]
    assert node.process.returncode is None


async def test_no_hello_in_time_is_refused(shared_cloud: Cloud, tmp_path: Path) -> None:
    """4408 for whoever connects and says nothing."""
    async with (
        running(shared_cloud, tmp_path / "gateway.log", CLOUDIA_GATEWAY_HELLO_SECONDS="0.3") as node,
        opened(node) as socket,
    ):
        code, error = await said_no(socket)
    assert code == 4408
    assert error is not None
    assert error["code"] == "hello_timeout"
    assert error["hint"]


async def test_i6_no_token_and_no_text_is_logged(node: Node, token: str, log: EventLog) -> None:
    """The log of a gateway names connections, never what went over them."""
    async with opened(node) as socket:
        session = (await greet(socket, token))["session_id"]
        ids = await append(log, session, ["a text that nobody else may read"])
        await frames_until(socket, ids[0])
    async with opened(node) as socket:
        await socket.send(Hello(f"{token}x", session).encode())
        await said_no(socket)
    logged = node.log.read_text()
    assert "connected" in logged
    assert "a text that nobody" not in logged
    assert token not in logged
    assert session.partition(".")[2] not in logged
