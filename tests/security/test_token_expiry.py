"""A token's end is the end of what it opened: a connection is closed, and goes on only with another token."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import TYPE_CHECKING

import jwt
import pytest

from cloudia.client import Client
from cloudia.cloud.identity import Identity
from cloudia.errors import UnauthorizedError, UnavailableError
from cloudia.frames import CLOSE_UNAUTHORIZED
from cloudia.protocol import Hello
from cloudia.settings import Settings
from cloudia.stack import Stack
from cloudia.tui.status_line import connection_text
from tests.cli.provider import reply
from tests.functions.test_jwks import RSA, key_server
from tests.functions.test_jwks import token as signed
from tests.gateway.nodes import append, greet, log_of, next_frame, opened, running, said_no
from tests.support import Cloud, RunningStack, cli, eventually, start_stack, stop_stack

if TYPE_CHECKING:
    from pathlib import Path

_LEEWAY = 10
"""Seconds that a token is taken for after its `exp`, here and over HTTP."""


def _seconds_left(seconds: float) -> float:
    """Return the lifetime of a token that is refused in so many seconds."""
    return seconds - _LEEWAY


async def test_an_open_connection_ends_with_its_token(cloud: Cloud, tmp_path: Path) -> None:
    """At `exp` and the leeway an error says `token_expired`, and the connection is closed with 4401; another's stays."""
    async with running(cloud, tmp_path / "log") as node, opened(node) as mine, opened(node) as other:
        ready = await greet(mine, cloud.token(seconds=_seconds_left(3)))
        await greet(other, cloud.token())
        began = time.monotonic()
        async with log_of(cloud.settings) as log:
            (event_id,) = await append(log, ready["session_id"], ["before"])
            assert (await next_frame(mine))["id"] == event_id
            code, error = await said_no(mine)
            assert (code, mine.close_reason) == (CLOSE_UNAUTHORIZED, "the token has expired")
            assert error
            assert error["code"] == "token_expired"
            assert time.monotonic() - began < 5
            (missed,) = await append(log, ready["session_id"], ["after"])
        async with opened(node) as again:
            assert (await greet(again, cloud.token(), ready["session_id"], event_id))["resumed"] is True
            assert (await next_frame(again))["id"] == missed
        await (await other.ping())
        assert len(node.events("disconnected")) >= 1


async def test_a_reader_that_stands_still_is_ended_too(cloud: Cloud, tmp_path: Path) -> None:
    """Who reads nothing cannot hold a connection beyond its token: it is broken off."""
    async with running(cloud, tmp_path / "log", CLOUDIA_GATEWAY_PING_SECONDS="1") as node:
        with socket.create_connection(("127.0.0.1", node.port)) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            key = "dGhlIHNhbXBsZSBub25jZQ=="
            raw.sendall(
                f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{node.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
            )
            frame = Hello(cloud.token(seconds=_seconds_left(2))).encode().encode()
            mask = os.urandom(4)
            masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(frame))
            raw.sendall(bytes([0x81, 0xFE]) + len(frame).to_bytes(2, "big") + mask + masked)
            await eventually(lambda: node.events("connected"))
            await eventually(lambda: node.events("disconnected"))
            await eventually(lambda: node.health()[1]["connections"] == 0)


async def test_a_client_with_a_function_goes_on(stack: RunningStack) -> None:
    """It is asked again when a token has expired: the same session resumes, and what is sent then is answered."""
    given: list[str] = []

    def fresh() -> str:
        given.append(stack.token("ada", seconds=_seconds_left(3) if not given else 600))
        return given[-1]

    async with Client(stack.run["api_url"], stack.run["websocket_url"], fresh) as client:
        session = await client.connected()
        await eventually(lambda: len(given) == 2 and client.stream.state == "connected")
        assert await client.connected() == session
        reply(stack.run, "Still here.")
        texts = [(event.data or {})["text"] async for event in client.ask("hello") if event.type == "delta"]
        assert "".join(texts) == "Still here."
        assert len(given) == 2


async def test_requests_ask_again_too(stack: RunningStack) -> None:
    """A request that is refused for its token is sent once more with another; many at once ask for one."""
    given: list[str] = []

    async def fresh() -> str:
        await asyncio.sleep(0)
        given.append(stack.token("ada", seconds=-60 if not given else 600))
        return given[-1]

    client = Client(stack.run["api_url"], stack.run["websocket_url"], fresh)
    async with client.api as api:
        await asyncio.gather(*(api.conversations() for _ in range(8)))
    assert len(given) == 2


async def test_a_function_without_a_good_token(stack: RunningStack) -> None:
    """Two refused in a row are enough: `UnauthorizedError`, no hammering. What the function raises is raised."""
    given = []

    def bad() -> str:
        given.append(1)
        return stack.token("ada", seconds=-60 - len(given))

    async with Client(stack.run["api_url"], stack.run["websocket_url"], bad) as client:
        with pytest.raises(UnauthorizedError):
            await client.connected()
        with pytest.raises(UnauthorizedError):
            await client.api.conversations()
    assert len(given) <= 4

    def fails() -> str:
        raise UnauthorizedError("sign in again")

    async with Client(stack.run["api_url"], stack.run["websocket_url"], fails) as client:
        with pytest.raises(UnauthorizedError, match="sign in again"):
            await client.connected()


async def test_a_function_that_fails_for_a_moment(stack: RunningStack) -> None:
    """An issuer that is away is tried again, as a gateway is."""
    tries: list[int] = []

    def fresh() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise UnavailableError("the issuer is away")
        return stack.token("ada")

    async with Client(stack.run["api_url"], stack.run["websocket_url"], fresh) as client:
        assert (await client.connected()).startswith("ses_")


async def test_a_client_with_a_token_alone(stack: RunningStack) -> None:
    """It ends with `UnauthorizedError` of the code `token_expired`, to whoever waits, and says so of itself."""
    token = stack.token("ada", seconds=_seconds_left(2))
    async with Client(stack.run["api_url"], stack.run["websocket_url"], token) as client:
        await client.connected()
        assert client.failure is None
        failure = await eventually(lambda: client.failure)
        assert isinstance(failure, UnauthorizedError)
        assert failure.code == "token_expired"
        with pytest.raises(UnauthorizedError, match="the token has expired"):
            await client.connected()
    assert connection_text("closed", retry_in=None, resumed_for=None, why=failure.message) == (
        "○ closed: the token has expired",
        "$error",
    )


@pytest.mark.parametrize("exp", [10**12, 10**300, 2**63, 1e18])
def test_a_token_for_ever(exp: float, cloud: Cloud) -> None:
    """However far away an expiry is, it is a time that a clock can wait for."""
    identity = Identity(cloud.parameters, Stack(cloud.settings.stack_name), Settings())
    token = jwt.encode({"sub": "ada", "exp": exp}, cloud.secrets["token"], "HS256")
    assert identity.caller(token).expires_at == 253_402_300_800 + _LEEWAY


# --- tokens that others sign ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("functions", ["edge", pytest.param("zip", marks=pytest.mark.long)])
async def test_a_stack_whose_tokens_others_sign(tmp_path: Path, functions: str) -> None:
    """`up` with `auth.jwks_url` gets ready; tokens of those keys are callers, the stack's own are none, nor is its page's."""
    with key_server() as keys:
        stack = start_stack(
            tmp_path, "--functions", functions, CLOUDIA_AUTH_JWKS_URL=keys.url, CLOUDIA_LLM_MODEL="sim-1"
        )
        try:
            (tmp_path / "cloudia.toml").write_text(f'[auth]\njwks_url = "{keys.url}"\n')
            refused = stack.cli("send", "hello")
            assert refused.returncode == 2
            assert "auth.jwks_url" in refused.stderr
            assert "CLOUDIA_TOKEN" in refused.stderr
            done = stack.json("send", "hello", CLOUDIA_TOKEN=signed(RSA, "RS256", "rsa"))
            assert done["status"] == "done"
            async with Client(stack.run["api_url"], stack.run["websocket_url"], stack.token()) as client:
                with pytest.raises(UnauthorizedError):
                    await client.connected()
        finally:
            stop_stack(stack)


def test_zips_for_tokens_that_others_sign(tmp_path: Path) -> None:
    """`build functions` makes the zips, which run on any architecture, and says which layer they need on AWS."""
    (tmp_path / "cloudia.toml").write_text('[auth]\njwks_url = "https://id.example/keys"\n')
    built = cli("build", "functions", folder=tmp_path)
    assert built.returncode == 0, built.stderr
    assert "pip install cryptography --target layer/python --only-binary :all: --python-version 3.13" in built.stderr
    (tmp_path / "cloudia.toml").write_text("")
    assert "cryptography" not in cli("build", "functions", folder=tmp_path).stderr
