"""A case as it goes over the wire: to the byte, whatever the path, and the connection as the case leaves it."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sim.llm.conftest import Server


@pytest.fixture(autouse=True)
def _no_case(server: Server) -> Iterator[None]:
    server.delete("cases")
    yield
    server.delete("cases")


@pytest.fixture
def wire(server: Server) -> Iterator[socket.socket]:
    """A bare connection to the provider."""
    url = httpx2.URL(server.url)
    with socket.create_connection((url.host, url.port), timeout=20) as connection:
        yield connection


def _play(server: Server, *exchanges: dict[str, Any]) -> None:
    server.post("cases", case={"api": "openai", "turns": [{"exchanges": list(exchanges)}]})


def _ask(wire: socket.socket, path: str = "/v1/chat/completions", body: object = None) -> None:
    raw = json.dumps(body or {}).encode()
    wire.sendall(
        b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b" % (path.encode(), len(raw), raw)
    )


def _until(wire: socket.socket, end: bytes) -> bytes:
    came = b""
    while not came.endswith(end):
        came += (part := wire.recv(65536))
        assert part, came
    return came


def test_bytes_are_exact_and_the_connection_stays(server: Server, wire: socket.socket) -> None:
    """Nothing is added to the case's bytes, under a path that the provider does not know; then comes the next request."""
    _play(server, {"body": [{"text": "a"}, {"base64": "/w=="}], "headers": {"x-odd": "é"}}, {"status": 503, "body": []})
    _ask(wire, "/openai/deployments/x?api-version=1")
    assert _until(wire, b"0\r\n\r\n") == (
        b"HTTP/1.1 200 Case\r\ncontent-type: text/event-stream\r\nx-odd: \xe9\r\ntransfer-encoding: chunked\r\n\r\n"
        b"1\r\na\r\n1\r\n\xff\r\n0\r\n\r\n"
    )
    _ask(wire)
    assert _until(wire, b"\r\n\r\n").startswith(b"HTTP/1.1 503 Case\r\n")
    _ask(wire)  # Nothing is played any more, and the provider is itself again on the same connection.
    assert b"No API key came" in _until(wire, b"0\r\n\r\n")
    assert [record["outcome"] for record in server.ended(3)] == ["played", "played", "refused"]


@pytest.mark.parametrize("body", [[1], "text", {"messages": 1}, {"model": 5}])
def test_it_answers_whatever_is_asked(server: Server, wire: socket.socket, body: object) -> None:
    """A request that the provider would refuse is answered as the case says."""
    _play(server, {"framing": "length", "body": [{"text": "played"}]})
    _ask(wire, body=body)
    assert _until(wire, b"played")


def test_a_close(server: Server, wire: socket.socket) -> None:
    """`close` ends the connection in the middle of the chunks, with all that was written before."""
    _play(server, {"body": [{"text": "a"}], "end": "close"})
    _ask(wire)
    _until(wire, b"1\r\na\r\n")
    assert wire.recv(1) == b""


def test_a_reset(server: Server, wire: socket.socket) -> None:
    """A status of 0 and `reset` is a connection that breaks without an answer."""
    _play(server, {"status": 0, "end": "reset"})
    _ask(wire)
    with pytest.raises(ConnectionResetError):
        wire.recv(1)


def test_a_client_that_leaves_is_noticed_in_a_pause(server: Server, wire: socket.socket) -> None:
    """A pause of an hour holds nothing up once nobody waits for its end."""
    _play(server, {"body": [{"text": "a"}, {"pause_ms": 3_600_000}]})
    _ask(wire)
    _until(wire, b"a\r\n")
    wire.close()
    (record,) = server.ended()
    assert record["outcome"] == "played"


def test_what_is_much_waits_for_who_reads(server: Server, wire: socket.socket) -> None:
    """Ten megabytes in pieces of 64 kB arrive whole, however slowly they are read at first."""
    _play(
        server, {"framing": "until_close", "end": "close", "split": 65536, "body": [{"text": "x", "times": 10 << 20}]}
    )
    _ask(wire)
    head = wire.recv(64)
    size = len(head)
    while part := wire.recv(1 << 20):
        size += len(part)
    assert size == (10 << 20) + len(b"HTTP/1.1 200 Case\r\ncontent-type: text/event-stream\r\n\r\n")


def test_cases_are_listed_and_forgotten(server: Server) -> None:
    """The control lists what waits, takes it back, and is closed to who has no token."""
    _play(server, {})
    assert server.get("cases") == {"cases": [{"name": "unnamed", "turns": 1}]}
    assert server.delete("cases") == {"deleted": 1}
    bare = httpx2.post(f"{server.url}/_cloudia/cases", json={})
    assert bare.status_code == 401
    refused = server.http.post("/_cloudia/cases", json={"case": {"api": "openai", "turns": []}})
    assert refused.status_code == 400
    assert "turns must be given" in refused.text


def test_a_case_comes_before_faults(server: Server) -> None:
    """What is to be played is played, also where every request is to fail; the fault strikes the next one."""
    server.fault("status", status=529)
    _play(server, {"status": 418})
    asked: dict[str, Any] = {"json": {"model": "m", "messages": []}, "headers": {"authorization": "Bearer k"}}
    assert server.http.post("/v1/chat/completions", **asked).status_code == 418
    assert server.http.post("/v1/chat/completions", **asked).status_code == 400
