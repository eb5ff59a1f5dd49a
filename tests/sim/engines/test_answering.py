"""The engine `endpoint`: what is asked of a URL before anything starts."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cloudia.errors import PartError, UsageError
from cloudia.sim.engines.answering import check_answers, check_url

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:4566", "https://sqs.eu-west-1.amazonaws.com", "http://[::1]:4566/path"]
)
def test_urls(url: str) -> None:
    """Any HTTP URL with a host will do."""
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "127.0.0.1:4566",
        "http://",
        "http://:4566",
        "ftp://host",
        "http://[",
        "http://host:0",
        "http://h:x",
    ],
)
def test_urls_that_are_none(url: str) -> None:
    """Anything else is a usage error that quotes it."""
    with pytest.raises(UsageError, match="is not a URL of AWS") as caught:
        check_answers(url)
    assert caught.value.hint


@contextmanager
def _server(answer: bytes) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=once)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join(5)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
        b"something else\r\n\r\n",
    ],
)
def test_any_answer_will_do(answer: bytes) -> None:
    """What it says is not judged here: provisioning tells what is wrong with it."""
    with _server(answer) as where:
        check_answers(f"http://{where}")


def test_certificates_are_not_judged() -> None:
    """An engine behind TLS answers, whatever this Python thinks of its certificate: boto3 has its own."""
    with _server(b"no TLS here\r\n") as where:
        check_answers(f"https://{where}")


def test_nobody_answers() -> None:
    """Where nothing listens, it is told in a sentence."""
    with pytest.raises(PartError, match=r"no engine answers at http://127\.0\.0\.1:9") as caught:
        check_answers("http://127.0.0.1:9")
    assert caught.value.hint
