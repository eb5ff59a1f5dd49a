"""A page of somebody else's in a real browser, and what it can do from there."""

from __future__ import annotations

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from tests.servers import Quiet, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.async_api import Page

_FETCH = """async ([url, options]) => {
    try {
        const answer = await fetch(url, options);
        return {status: answer.status, body: await answer.text()};
    } catch (error) {
        return {status: 0, body: String(error)};
    }
}"""


class _Handler(Quiet, BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>a game</title><h1>Play</h1>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def foreign_site() -> Iterator[str]:
    """Serve a page at an origin of its own, and yield its URL."""
    with serving(_Handler) as url:
        yield f"{url}/"


async def fetched(page: Page, url: str, **options: Any) -> tuple[int, str]:
    """Call `fetch` in a page. Return what its script is told: status and body, or 0 and why it learns nothing."""
    told = await page.evaluate(_FETCH, [url, options])
    return told["status"], told["body"]
