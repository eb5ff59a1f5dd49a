"""MiniStack's own process: a guard lets in who names the stack's key, and no browser; what is to be kept is saved as it goes.

MiniStack answers whoever asks, under any name, and lets every web page read the answer. Run by its path in MiniStack's own
Python, where cloudia is not installed, this file puts itself before the application and starts it. A proxy would cost each
call a hop; this costs it some microseconds.

The access key id is a secret of 256 bits, made for the stack, so naming it is enough: signatures are not checked. Whoever can
read the key (the stack's owner, in its environment and in `.cloudia`) can read what would sign as well, and a check would have
to hold each body and hash it.

What it has to know comes as JSON in `CLOUDIA_GUARD`: the arguments of `Rules`.

MiniStack saves what it keeps when it is asked to end; one that is killed would lose all since it began. It looks for messages
each 0.1 s while somebody waits for one; here a message that may have come ends that pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

__all__ = ["VARIABLE", "Refusal", "Rules", "guarded", "refusal", "saving", "telling"]

VARIABLE = "CLOUDIA_GUARD"
_NAMES = ("127.0.0.1", "localhost", "[::1]")
_OPEN = frozenset({"/_ministack/ready", "/_ministack/health", "/_localstack/health"})
"""What may be asked without a key: whether it lives, and what it is."""
_NEVER = "/_ministack/config"
"""Would switch Lambda's executor on."""
_READING = frozenset({"GET", "HEAD"})
_CHANGING = frozenset({"POST", "PUT", "PATCH"})
_SCHEME = b"AWS4-HMAC-SHA256 "
_KEY = b"Credential="

_TARGET, _SQS, _POLL = b"x-amz-target", b"AmazonSQS.", b"AmazonSQS.ReceiveMessage"
"""The action of a request, as the SDKs name it."""

_SAVE_SECONDS = 2.0
_SHARE = 0.05
"""The most of its time that saving takes: it is done in the application's own loop, where nothing changes meanwhile."""


class Rules:
    """Who may ask for what, as each request is compared with it.

    `api` is the HTTP API that the functions are behind, which asks for no key, and `origins` where the page comes from that may
    call it. Where `api` is empty there is none, and nothing runs in Lambda. `ValueError` where there is no key.
    """

    __slots__ = ("api_path", "hosts", "key", "origins")

    def __init__(self, *, port: int, access_key_id: str, api: str = "", origins: Sequence[str] = ()) -> None:
        if not access_key_id:
            raise ValueError("there is no key to ask for")
        self.hosts = frozenset(f"{name}:{port}".encode() for name in _NAMES)
        self.key = access_key_id.encode()
        self.api_path = f"/_aws/execute-api/{api}/" if api else ""
        self.origins = frozenset(origin.encode() for origin in origins)


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused. `code` is AWS's where there is one."""

    code: str
    message: str


_HOST = Refusal("Forbidden", "This name is not the engine's.")
_BROWSER = Refusal("Forbidden", "No web page has business here.")
_STRANGER = Refusal(
    "InvalidClientTokenId", "These are not the credentials of this stack. `cloudia env` prints those that are."
)
_NO_FUNCTIONS = Refusal(
    "AccessDeniedException", "Functions do not run here: the stack was started without --functions zip."
)


def refusal(rules: Rules, scope: Mapping[str, Any]) -> Refusal | None:
    """Return why a request is refused, None where it may pass. `scope` is ASGI's, of HTTP or a WebSocket."""
    host, origin, signed, browser = _told(scope["headers"])
    if host not in rules.hosts:
        return _HOST
    path, method = scope["path"], scope.get("method", "")  # A WebSocket has no method.
    to_api = method and rules.api_path and path.startswith(rules.api_path) and "@connections" not in path
    if browser and not (to_api and origin in rules.origins):
        return _BROWSER
    if to_api or (path in _OPEN and method in _READING):
        return None
    key, service = _claim(signed, scope["query_string"])
    if not hmac.compare_digest(key, rules.key) or path == _NEVER:
        return _STRANGER
    if not rules.api_path and method in _CHANGING and (service == b"lambda" or _is_lambda(path)):
        return _NO_FUNCTIONS
    return None


def _told(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, bytes, bytes, bool]:
    """Return host, origin and authorization, empty where they are missing, and whether a browser asks. Two hosts are none."""
    host: bytes | None = None
    origin = signed = b""
    browser = False
    for name, value in headers:
        if name == b"host":
            host = value if host is None else b""
        elif name == b"authorization":
            signed = value
        elif name == b"origin":
            origin, browser = value, True
        elif name == b"sec-fetch-site":
            browser = True
    return host or b"", origin, signed, browser


def _claim(signed: bytes, query: bytes) -> tuple[bytes, bytes]:
    """Return the key that a request names, and the service: `Credential=KEY/DATE/REGION/SERVICE/aws4_request`."""
    if signed.startswith(_SCHEME):
        claim = signed.partition(_KEY)[2].partition(b",")[0]
    elif query:
        claim = parse_qs(query.decode("latin-1")).get("X-Amz-Credential", [""])[0].encode(errors="replace")
    else:
        claim = b""
    words = claim.split(b"/")
    return words[0], words[3] if len(words) > 3 else b""  # noqa: PLR2004 - see above


def _is_lambda(path: str) -> bool:
    """Tell whether a path is of Lambda's API, such as `/2015-03-31/functions/NAME/invocations`."""
    words = path.split("/", 3)
    return len(words) > 2 and words[2] in {"functions", "event-source-mappings"}  # noqa: PLR2004 - see above


def guarded(app: Callable[..., Awaitable[None]], rules: Rules) -> Callable[..., Awaitable[None]]:
    """Return an ASGI application that hands on to `app` what `rules` let pass, and refuses the rest with 403."""

    async def guard(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await app(scope, receive, send)
            return
        refused = refusal(rules, scope)
        if refused is None:
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # Before it was accepted: that is a 403.
        else:
            await _refuse(send, refused)

    return guard


def telling(app: Callable[..., Awaitable[None]], queues: Any) -> Callable[..., Awaitable[None]]:
    """Return an ASGI application that ends the pauses of `queues`, the module of SQS, when another request to SQS was answered.

    What was sent, deleted or given back may be what a poll waits for; a poll that ends gives no reason to look.
    """
    clock = queues.asyncio = _Clock()

    async def teller(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await app(scope, receive, send)
        if any(
            name == _TARGET and value.startswith(_SQS) and value != _POLL for name, value in scope.get("headers", ())
        ):
            clock.wake()

    return teller


class _Clock:
    """`asyncio` as the module of SQS sees it: `sleep` ends sooner where there is something to see."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        """Sleep for `seconds`, or until `wake`."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        await asyncio.wait({waiting}, timeout=seconds)
        self._waiting.discard(waiting)

    def wake(self) -> None:
        """End all pauses."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)


async def _refuse(send: Callable[[dict[str, Any]], Awaitable[None]], refused: Refusal) -> None:
    body = json.dumps({"__type": refused.code, "message": refused.message}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-amzn-errortype", refused.code.encode()),
    ]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def saving(app: Callable[..., Awaitable[None]], save: Callable[[], None]) -> Callable[..., Awaitable[None]]:
    """Return an ASGI application that calls `save` every two seconds from when `app` has started until it is asked to end."""

    async def saver(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        started = asyncio.Event()

        async def tell(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                started.set()  # What was kept is loaded; before, it would be overwritten.
            await send(message)

        task = asyncio.create_task(_save_on(save, started))
        try:
            await app(scope, receive, tell)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    return saver


async def _save_on(save: Callable[[], None], started: asyncio.Event) -> None:
    await started.wait()
    pause = _SAVE_SECONDS
    while True:
        await asyncio.sleep(pause)
        began = time.monotonic()
        save()
        pause = max(_SAVE_SECONDS, (time.monotonic() - began) / _SHARE)


def main() -> None:
    """Run MiniStack behind its guard."""
    rules = Rules(**json.loads(os.environ.pop(VARIABLE)))  # What runs in its Lambda inherits the environment.
    from ministack import app  # noqa: PLC0415 - where this is only imported, there may be none

    if app.PERSIST_STATE:
        app.app = saving(app.app, lambda: app.save_all(app._build_persistence_save_dict()))  # noqa: SLF001 - it has no other way
    from ministack.services import sqs  # noqa: PLC0415 - as above

    app.app = guarded(telling(app.app, sqs), rules)
    app.main()


if __name__ == "__main__":
    main()
