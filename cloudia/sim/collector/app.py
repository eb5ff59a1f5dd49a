"""The collector over HTTP: who may ask, what is taken, and what is answered, as OTLP says."""

from __future__ import annotations

import asyncio
import contextlib
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from google.rpc.status_pb2 import Status
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cloudia.errors import InvalidRequestError, NotFoundError, RequestError, UnavailableError
from cloudia.sim.collector.decoding import MAX_BYTES, SIGNALS, decode, encode, spans_of, taken, unpack
from cloudia.sim.collector.refusal import Refusal
from cloudia.sim.collector.store import FullError
from cloudia.sim.llm.access import NoPages, bears

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from starlette.types import ASGIApp

    from cloudia.sim.collector.decoding import KeptSpan
    from cloudia.sim.collector.forwarding import Forwarder
    from cloudia.sim.collector.store import Store

__all__ = ["Collector"]

_T = TypeVar("_T")

_JSON, _PROTOBUF = "application/json", "application/x-protobuf"
_MOST_AT_ONCE = 16
"""Requests whose bodies are held. One more is to come again."""
_BUSY_SECONDS = 1
_TRACE_ID = re.compile("(?!0{32})[0-9a-f]{32}")
_CODES = {400: 3, 401: 16, 403: 7, 413: 3, 415: 3, 429: 8, 503: 14}
"""gRPC's codes, which stand in the body of a refusal: https://grpc.io/docs/guides/status-codes/"""


class Collector:
    """Takes what bears `token`. `say` is told once of each kind of trouble, in a sentence."""

    def __init__(self, store: Store, forwarder: Forwarder | None, *, token: str, say: Callable[[str], object]) -> None:
        self._store = store
        self._forwarder = forwarder
        self._token = token
        self._say = say
        self._told: set[str] = set()
        self._full = False
        self._busy = 0
        self._thread = ThreadPoolExecutor(1, "store")
        """Where bodies are decoded and spans are kept, one after the other."""

    def app(self, bound: str) -> ASGIApp:
        """Return the application; `bound` is the address that it listens on."""
        routes = [Route(f"/v1/{signal}", self._take, methods=["POST"], name=signal) for signal in SIGNALS]
        routes += [Route("/traces/{trace_id}", self._trace), Route("/health", _health)]
        return NoPages(Starlette(routes=routes, lifespan=self._living), bound, "the collector")

    @contextlib.asynccontextmanager
    async def _living(self, _app: Starlette) -> AsyncIterator[None]:
        sending = asyncio.create_task(self._forwarder.run()) if self._forwarder else None
        yield
        if sending:
            sending.cancel()
        self._thread.submit(self._store.close)
        self._thread.shutdown()

    async def _take(self, request: Request) -> Response:
        signal = request.url.path.rpartition("/")[2]
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_json = kind == _JSON
        try:
            self._check(request)
            self._check_room(kind)
            self._busy += 1
            try:
                body = await _body(request)
                encoding = request.headers.get("content-encoding", "").strip().lower()
                answer, sent_on = await self._in_thread(lambda: self._taken(signal, unpack(body, encoding), is_json))
            finally:
                self._busy -= 1
        except Refusal as refusal:
            self._tell_once(f"{signal} were refused: {refusal.message}")
            return _refused(refusal, is_json=is_json)
        except ClientDisconnect:
            return Response(status_code=400)  # Nobody reads it.
        if self._forwarder:
            self._forwarder.put(signal, sent_on)
        return Response(answer, media_type=_JSON if is_json else _PROTOBUF)

    def _taken(self, signal: str, body: bytes, is_json: bool) -> tuple[bytes, bytes]:  # noqa: FBT001
        """Decode a body and keep its spans. Return the answer's body, and what goes on to others.

        Where they cannot be kept they are dropped: nobody is to wait until a disk has room.
        """
        request = decode(signal, body, is_json=is_json)
        spans, rejected, why = spans_of(request)
        if rejected and not spans:
            raise Refusal(400, why)
        if rejected:
            self._tell_once(f"spans were refused: {why}")
        if spans and not self._kept(spans):
            rejected, why = rejected + len(spans), "spans cannot be kept now"
        return encode(taken(signal, rejected=rejected, why=why), is_json=is_json), request.SerializeToString()

    def _kept(self, spans: Sequence[KeptSpan]) -> bool:
        """Keep spans, and return whether that was possible. When it begins to be not, and when it is over, it is told."""
        try:
            self._store.add(spans)
        except FullError:
            full = True
        else:
            full = False
        if full != self._full:
            self._full = full
            self._say(
                "spans cannot be kept: there is no room, or no leave to write" if full else "spans are kept again"
            )
        return not full

    async def _trace(self, request: Request) -> Response:
        try:
            self._check(request)
            trace_id = request.path_params["trace_id"]
            if not _TRACE_ID.fullmatch(trace_id):
                raise InvalidRequestError("that is no id of a trace", hint="It is 32 hexadecimal digits.")
            found = await self._in_thread(lambda: self._store.trace(trace_id))
            if found is None:
                raise NotFoundError("there are no spans of this trace", hint="They are kept for a while only.")
        except Refusal as refusal:
            return _refused(refusal, is_json=True)
        except RequestError as error:
            return JSONResponse(error.to_json(), status_code=error.status)
        except FullError:
            broken = UnavailableError("the spans cannot be read", hint="See `cloudia logs collector`.")
            return JSONResponse(broken.to_json(), status_code=503)
        return JSONResponse(found)

    def _check(self, request: Request) -> None:
        if not bears(request.headers, self._token):
            raise Refusal(401, "the request bears no token of this stack; `cloudia env` prints it")

    def _check_room(self, kind: str) -> None:
        if kind not in {_JSON, _PROTOBUF}:
            raise Refusal(415, f"the Content-Type is neither {_PROTOBUF} nor {_JSON}")
        if self._busy >= _MOST_AT_ONCE:
            raise Refusal(503, "too much comes at once", retry_after=_BUSY_SECONDS)

    def _tell_once(self, said: str) -> None:
        if said not in self._told:
            self._told.add(said)
            self._say(said)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _body(request: Request) -> bytes:
    """Return a request's body. `Refusal` as soon as it is known to be too large."""
    told = request.headers.get("content-length", "")
    body = bytearray()
    if not told.isdigit() or int(told) <= MAX_BYTES:
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_BYTES:
                break
        else:
            return bytes(body)
    raise Refusal(413, f"the body has more than {MAX_BYTES} bytes")


def _refused(refusal: Refusal, *, is_json: bool) -> Response:
    """Return a refusal as OTLP has it: a `google.rpc.Status`, in the encoding of the request."""
    said = encode(Status(code=_CODES[refusal.status], message=refusal.message), is_json=is_json)
    headers = {} if refusal.retry_after is None else {"retry-after": str(refusal.retry_after)}
    if refusal.status == 413:  # noqa: PLR2004 - what is still to come is not read
        headers["connection"] = "close"
    return Response(said, refusal.status, headers, media_type=_JSON if is_json else _PROTOBUF)
