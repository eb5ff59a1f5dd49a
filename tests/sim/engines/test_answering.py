"""The engine `endpoint`: what is asked of a URL before anything starts."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

import pytest

from cloudia.errors import PartError, UsageError
from cloudia.sim.engines.answering import check_answers, check_url, open_to_pages
from tests.patience import HANGS
from tests.servers import Quiet, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support import RunningStack


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
        thread.join(HANGS)


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


@pytest.mark.parametrize(
    ("allows", "refuses", "told"),
    [
        (
            "*",
            (),
            "to another origin it answers 200 with Access-Control-Allow-Origin: *, and to another Host it answers 200",
        ),
        (
            "http://page.invalid",
            ("host",),
            "to another origin it answers 200 with Access-Control-Allow-Origin: http://page.inv",
        ),
        ("https://app.localstack.cloud", ("origin",), "to another Host it answers 200"),
        ("", ("origin", "host"), ""),
    ],
)
def test_whether_a_page_could_use_it(allows: str, refuses: tuple[str, ...], told: str) -> None:
    """`doctor` asks an engine of the user's as a page would, and says what it answered."""

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            foreign = {name for name in ("origin", "host") if "page.invalid" in self.headers.get(name, "")}
            self.send_response(403 if foreign & set(refuses) else 200)
            self.send_header("Access-Control-Allow-Origin", allows)
            self.end_headers()

    with serving(Handler) as url:
        said = open_to_pages(url)
    assert (told in said) if told else said == ""


def test_no_page_could_use_the_engine_of_a_stack(stack: RunningStack) -> None:
    """It refuses either way."""
    assert open_to_pages(stack.run["aws_endpoint_url"]) == ""
