"""`cloudia llm record`: it stands between a client and a provider, changes nothing, and what it keeps plays the same."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.cli.recording import answers, recording
from tests.patience import HANGS
from tests.sim.llm.conftest import Server, started, wait_until
from tests.support import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "sk-very-secret"
HELLO = 'data: {"choices":[{"delta":{"content":"Hello"}}]}\n\n'


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with started(tmp_path_factory.mktemp("provider") / "stderr.log") as server:
        yield server


def _wire(url: str) -> tuple[bytes, bool]:
    """Ask over a bare connection. Return all that comes until it is closed, and whether it was reset."""
    base = httpx2.URL(url)
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "my plan"}]}).encode()
    with socket.create_connection((base.host, base.port), timeout=HANGS) as connection:
        connection.sendall(
            b"POST %b/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b"
            % (base.path.encode(), KEY.encode(), len(body), body)
        )
        came = b""
        try:
            while part := connection.recv(65536):
                came += part
                if came.endswith((b"\r\n0\r\n\r\n", b"whole")):
                    break
        except ConnectionResetError:
            return came, True
        return came, False


@pytest.mark.parametrize(
    "exchange",
    [
        {"body": [{"text": HELLO}, {"pause_ms": 60}, {"base64": "/w=="}, {"pause_ms": 60}, {"text": "x"}]},
        {"body": [{"text": HELLO}, {"pause_ms": 60}, {"text": "cut"}], "end": "close"},
        {"body": [{"text": HELLO}], "framing": "until_close", "end": "close", "http": "1.0"},
        {"status": 429, "headers": {"retry-after": "7", "set-cookie": "a=b"}, "body": [{"text": f"{KEY} whole"}]},
        {"status": 0, "end": "close"},
        {"status": 0, "end": "reset"},
    ],
    ids=["pieces", "cut", "until-close", "429", "nothing", "reset"],
)
def test_a_client_sees_no_difference_and_the_case_plays_the_same(
    provider: Server, tmp_path: Path, exchange: dict[str, Any]
) -> None:
    """Directly, through the recorder, and replayed: the same bytes and the same end; but no key, and no cookie."""
    case = {"api": "openai", "turns": [{"exchanges": [exchange]}]}
    file = tmp_path / "mine.json"
    provider.post("cases", case=case)
    direct = _wire(f"{provider.url}/v1")
    provider.post("cases", case=case)
    with recording(file, f"{provider.url}/v1", "--text") as url:
        assert _wire(url) == direct
        wait_until(file.exists)
    assert KEY not in file.read_text()
    assert "a=b" not in file.read_text()
    assert json.loads(file.read_text())["turns"][0]["send"] == "my plan"
    (answer,) = answers(file)
    pauses = [piece["pause_ms"] for piece in exchange.get("body", []) if "pause_ms" in piece]
    kept = [piece["pause_ms"] for piece in answer["body"] if piece.get("pause_ms", 0) >= 40]
    assert len(kept) == len(pauses)
    provider.post("cases", case=json.loads(file.read_text()))
    replayed, reset = _wire(f"{provider.url}/v1")
    assert (_body(replayed), reset) == (_body(direct[0]).replace(KEY.encode(), b"x" * len(KEY)), direct[1])
    assert _status(replayed) == _status(direct[0])


def _body(came: bytes) -> bytes:
    return came.partition(b"\r\n\r\n")[2]


def _status(came: bytes) -> bytes:
    return came[:12]


def test_unless_asked_nothing_that_was_said_is_kept(provider: Server, tmp_path: Path) -> None:
    """Neither the message nor the answer is in the file; the shape of the answer is."""
    file = tmp_path / "mine.json"
    provider.delete("cases")
    provider.post("settings", ttft=0, tps=0)
    provider.post("replies", text="Humboldt, the parrot.")
    with recording(file, f"{provider.url}/v1") as url:
        came, _ = _wire(url)
        assert b"Humboldt" in came
        wait_until(file.exists)
    kept = file.read_text()
    assert "my plan" not in kept
    assert "Humboldt" not in kept
    assert "chat.completion.chunk" in kept
    assert file.stat().st_mode & 0o077 == 0


def test_a_provider_that_is_not_there(tmp_path: Path) -> None:
    """The client is answered 502, nothing is kept, and a proxy of the environment is not asked for what is on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with recording(tmp_path / "mine.json", f"{dead}/v1", http_proxy="http://127.0.0.1:9") as url:
        assert _wire(url)[0].startswith(b"HTTP/1.1 502 ")
    assert not (tmp_path / "mine.json").exists()


def test_a_client_that_leaves(provider: Server, tmp_path: Path) -> None:
    """The provider sees its client leave, also while it is silent; an answer that nobody waited for is not kept."""
    provider.delete("cases")
    provider.delete("requests")
    silent = {"wait_ms": 3_600_000, "body": [{"text": HELLO}]}
    provider.post("cases", case={"api": "openai", "turns": [{"exchanges": [silent]}]})
    with recording(tmp_path / "mine.json", f"{provider.url}/v1") as url:
        base = httpx2.URL(url)
        with socket.create_connection((base.host, base.port), timeout=HANGS) as connection:
            connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}")
            wait_until(lambda: provider.get("requests")["in_flight"] == 1)
        wait_until(lambda: provider.get("requests")["in_flight"] == 0)
    assert not (tmp_path / "mine.json").exists()


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}])
def test_no_page_asks_through_it(provider: Server, tmp_path: Path, headers: dict[str, str]) -> None:
    """A page of a browser, and whoever comes by a foreign name, is refused before the provider hears of it."""
    provider.delete("requests")
    with recording(tmp_path / "mine.json", f"{provider.url}/v1") as url:
        assert httpx2.post(f"{url}/chat/completions", json={}, headers=headers).status_code == 403
    assert provider.get("requests")["total"] == 0


@pytest.mark.parametrize(
    ("arguments", "said"), [(["here.json"], "is there already"), (["new.json", "ftp://x"], "is no URL")]
)
def test_mistakes_are_told_at_once(tmp_path: Path, arguments: list[str], said: str) -> None:
    """A file that is there is not overwritten; what is no URL is named."""
    (tmp_path / "here.json").touch()
    done = subprocess.run(
        [sys.executable, "-m", "cloudia", "llm", "record", *arguments],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
