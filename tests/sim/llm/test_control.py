"""The control endpoint."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.sim.llm.conftest import Server

STATES = ("faults", "settings", "replies")


def test_health(server: Server) -> None:
    """Health says ok, and which process says so."""
    health = server.get("health")
    assert (health["status"], health["in_flight"]) == ("ok", 0)
    assert health["pid"] == server.process.pid
    assert health["uptime"] > 0


def test_faults(server: Server) -> None:
    """A fault is listed as it was sent, with what is left of it, until it is deleted."""
    sent = server.fault("status", status=429, retry_after=1, count=3, **{"for": 60}, provider="openai", rate=0.5)
    assert sent["id"] == 1
    assert sent["model"] is None
    assert 59 < sent["remaining_seconds"] <= 60
    listed = server.get("faults")["faults"]
    assert [{**fault, "remaining_seconds": 0} for fault in listed] == [{**sent, "remaining_seconds": 0}]
    wanted = {
        "kind": "status",
        "status": 429,
        "retry_after": 1,
        "rate": 0.5,
        "struck": 0,
        "remaining_count": 3,
        "for": 60,
    }
    assert wanted.items() <= sent.items()
    assert server.delete("faults") == {"deleted": 1}
    assert server.get("faults") == {"faults": []}


def test_settings(server: Server) -> None:
    """A setting that is named changes, the others stay."""
    assert server.get("settings") == {"ttft": 0, "tps": 0, "seed": 0}
    assert server.post("settings", ttft=0.5) == {"ttft": 0.5, "tps": 0, "seed": 0}
    assert server.post("settings", tps=9, seed=-3) == {"ttft": 0.5, "tps": 9, "seed": -3}


def test_requests_are_reset_and_bounded(server: Server) -> None:
    """All requests are counted, the last thousand listed, and a reset begins anew."""
    for _ in range(1_001):
        server.http.post("/v1/messages", json={})
    requests = server.get("requests")
    assert requests["total"] == requests["by_api"]["anthropic"] == requests["by_outcome"]["refused"] == 1_001
    sequences = [record["sequence"] for record in requests["records"]]
    assert sequences == list(range(sequences[0], sequences[0] + 1_000))
    assert server.delete("requests") == {"deleted": 1_001}
    empty = server.get("requests")
    assert (empty["total"], empty["records"], set(empty["by_outcome"].values())) == (0, [], {0})


@pytest.mark.parametrize(
    ("what", "body", "said"),
    [
        ("faults", b"", "not valid JSON"),
        ("faults", b"[1]", "must be a JSON object"),
        ("faults", b'{"kind": "hang", "rate": NaN}', "not valid JSON"),
        ("faults", {}, "kind must be one of status, hang"),
        ("faults", {"kind": "hang", "colour": 1}, "colour is not a field; there are"),
        ("faults", {"kind": "hang", "rate": 2}, "rate must be between 0 and 1"),
        ("faults", {"kind": "status", "status": "429"}, "status must be a whole number"),
        ("settings", {"tps": -1}, "tps must be between"),
        ("settings", {"ttft": 0.5, "tps": "fast"}, "tps must be a number"),
        ("settings", {"speed": 1}, "speed is not a field"),
        ("replies", {}, "text must be given"),
        ("replies", {"text": 1}, "text must be a string"),
        ("replies", {"text": "x", "times": 0}, "times must be at least 1"),
        ("replies", {"text": "x" * 200_001}, "text must have 200000 characters at most"),
    ],
)
def test_bad_input_changes_nothing(server: Server, what: str, body: Any, said: str) -> None:
    """What is wrong is answered 400 with what is wrong and a hint, and everything stays as it was."""
    before = [server.get(state) for state in STATES]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    got = server.http.post(f"/_cloudia/{what}", content=content)
    assert got.status_code == 400
    error = got.json()["error"]
    assert error["code"] == "invalid_request"
    assert said in error["message"]
    assert error["hint"]
    assert [server.get(state) for state in STATES] == before


def test_other_refusals(server: Server) -> None:
    """What is not there, not allowed or too large is refused in the same shape."""
    for method, path, status in (("GET", "nothing", 404), ("PUT", "faults", 405)):
        got = server.http.request(method, f"/_cloudia/{path}")
        assert (got.status_code, got.json()["error"]["code"]) == (status, "not_found")
    large = server.http.post("/_cloudia/replies", content=b" " * 2_000_000)
    assert (large.status_code, large.json()["error"]["code"]) == (413, "too_large")


def test_a_client_that_leaves_while_it_asks(server: Server) -> None:
    """A client that goes in the middle of its request leaves no traceback behind."""
    before = server.log.read_text()
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as leaving:
        head = f"host: localhost\r\nauthorization: bearer {server.token}\r\ncontent-type: application/json"
        leaving.sendall(f"POST /_cloudia/faults HTTP/1.1\r\n{head}\r\ncontent-length: 100\r\n\r\n{{".encode())
        server.get("health")  # the half request came first, so it has been read by now
    server.get("health")
    assert server.log.read_text() == before


def test_the_script_is_bounded(server: Server) -> None:
    """No more than a thousand replies wait."""
    for _ in range(1_000):
        server.post("replies", text="x")
    assert server.http.post("/_cloudia/replies", json={"text": "x"}).status_code == 400
    assert server.delete("replies") == {"deleted": 1_000}
