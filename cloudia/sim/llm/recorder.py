"""The recorder: it stands between a client and a provider, hands on what both say, and keeps what the provider sent.

What the client sees is the provider's own: status, headers, chunks and the way it ends. Only compression is not asked for.
"""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from cloudia.errors import TimedOutError, TooLargeError
from cloudia.hosts import is_loopback
from cloudia.sim.llm import fields
from cloudia.sim.llm.chat import MAX_BODY
from cloudia.sim.llm.fields import FieldError
from cloudia.sim.llm.line import GoneError, Line
from cloudia.sim.llm.recording import Heard

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from starlette.datastructures import Headers
    from starlette.types import Receive, Scope, Send

    from cloudia.sim.llm.case import End

__all__ = ["Recorder"]

_OWN = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "expect"}
_HOP_BY_HOP = {"connection", "keep-alive"}
_AUTHORIZING = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
_CONNECT_SECONDS = 10.0
_LEFT = "a client left before its answer ended: it is not kept"


class Recorder:
    """An ASGI application that hands requests on to the origin of a URL.

    `keep` is given each answer once it has ended; `say` is told in a sentence what is not kept, and why. `verify` says which
    certificates are trusted.
    """

    def __init__(
        self,
        provider: str,
        keep: Callable[[Heard], object],
        say: Callable[[str], object],
        *,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        parts = urlsplit(provider)
        self._origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._direct = is_loopback(parts.hostname or "")
        self._keep = keep
        self._say = say
        self._verify = verify
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close the connections to the provider."""
        if self._session:
            await self._session.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        line = Line(scope, receive, send)
        try:
            body = await line.body(MAX_BODY)
            line.watch()
            relay = asyncio.ensure_future(self._relay(line, scope, body))
            line.on_leave = relay.cancel  # The provider sees its client leave, as it would without us.
            await asyncio.wait({relay})
            if relay.cancelled():
                self._say(_LEFT)
            else:
                relay.result()
        except GoneError:
            self._say(_LEFT)
        except (TooLargeError, TimedOutError) as error:
            await line.answer(413, error.to_json(), {})
        finally:
            line.close()

    async def _relay(self, line: Line, scope: Scope, body: bytes) -> None:
        target = f"{self._origin}{scope['raw_path'].decode('latin-1')}"
        if scope["query_string"]:
            target += f"?{scope['query_string'].decode('latin-1')}"
        headers = [(name, value) for name, value in line.headers.items() if name not in _OWN]
        heard = _heard(scope["path"], line.headers, body)
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            answer = await self._http().request(
                scope["method"],
                URL(target, encoded=True),
                data=body or None,
                headers=[*headers, ("accept-encoding", "identity")],
                allow_redirects=False,
            )
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
            self._say(f"the provider cannot be reached ({type(error).__name__}): nothing is kept")
            await line.answer(502, {"error": {"message": "The recorder cannot reach the provider."}}, {})
            return
        except (aiohttp.ClientResponseError, HttpProcessingError):
            self._say("the provider does not answer in HTTP that can be read: nothing is kept")
            await line.hang_up()
            return
        except (aiohttp.ClientError, OSError) as error:
            heard.began, heard.end = clock() - began, _end(error)
            self._keep(heard)
            await line.hang_up(reset=heard.end == "reset")
            return
        heard.began = clock() - began
        async with answer:
            await self._hear(line, answer, heard, clock, began)
        self._keep(heard)
        if heard.end == "chunked_end":
            await line.hand_back()
        else:
            await line.hang_up(reset=heard.end == "reset")

    async def _hear(
        self, line: Line, answer: aiohttp.ClientResponse, heard: Heard, clock: Callable[[], float], began: float
    ) -> None:
        """Hand an answer on as it comes, and note it."""
        chunked = "chunked" in answer.headers.get("transfer-encoding", "").lower()
        heard.framing = "chunked" if chunked else "length" if "content-length" in answer.headers else "until_close"
        heard.status = answer.status
        heard.http = "1.0" if answer.version == aiohttp.HttpVersion10 else "1.1"
        raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.raw_headers]
        heard.headers = raw = [(name, value) for name, value in raw if name.lower() not in _HOP_BY_HOP]
        lines = [f"HTTP/{heard.http} {answer.status} {answer.reason or ''}", *(f"{a}: {b}" for a, b in raw), "", ""]
        await line.take_over()
        await line.put("\r\n".join(lines).encode("latin-1"))
        try:
            async for piece, _ in answer.content.iter_chunks():
                if piece:
                    heard.note(clock() - began, piece)
                    await line.put(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        except (aiohttp.ClientError, OSError) as error:
            heard.end = _end(error)
            return
        if chunked:
            await line.put(b"0\r\n\r\n")
        elif heard.framing == "until_close":
            heard.end = "close"

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                trust_env=not self._direct,
                timeout=timeout,
                skip_auto_headers=["user-agent", "accept", "content-type"],
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(force_close=True, ssl=self._verify),
            )
        return self._session


def _end(error: Exception) -> End:
    """Return how a connection ended that an error tells of."""
    causes = [error, error.__cause__, error.__context__]
    reset = any(isinstance(cause, OSError) and cause.errno == errno.ECONNRESET for cause in causes)
    return "reset" if reset else "close"


def _heard(path: str, headers: Headers, body: bytes) -> Heard:
    try:
        asked = _asked(fields.decode(body))
    except FieldError:
        asked = ""
    secrets = [headers[name].rpartition(" ")[2] for name in _AUTHORIZING if headers.get(name)]
    return Heard("anthropic" if "/messages" in path else "openai", headers.get("x-cloudia-job-id"), asked, secrets)


def _asked(body: Mapping[str, Any]) -> str:
    """Return the last text of the user."""
    messages = body.get("messages") or body.get("input")  # The latter is that of OpenAI's Responses.
    if isinstance(messages, str):
        return messages
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, dict) and message.get("role") == "user" and isinstance(message.get("content"), str):
            return str(message["content"])
    return ""
