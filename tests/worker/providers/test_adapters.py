"""What holds for every adapter, through its SDK and a real HTTP exchange with a server in the test's own process."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudia.worker.providers.anthropic import AnthropicProvider
from cloudia.worker.providers.base import FailureKind, Provider, ToolCall, Usage
from cloudia.worker.providers.openai import OpenAIProvider
from cloudia.worker.providers.responses import ResponsesProvider
from tests.patience import HANGS
from tests.worker.providers import anthropic_events, openai_events, responses_events
from tests.worker.providers.calls import (
    BROKEN,
    HELLO_PIECES,
    RETRY_AFTER,
    STATUSES,
    STREAM_PIECES,
    ask,
    attempt,
    check_broken,
    failure,
    first_text,
    reach,
    request,
)
from tests.worker.providers.server import Server, answer, events, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from cloudia.worker.providers.reach import Reach


@dataclass(frozen=True)
class Api:
    """An API: its adapter, and what its servers send."""

    adapter: Callable[[Reach], Provider]
    hello: Sequence[bytes]
    """A whole answer, two texts and the usage."""
    stream: Sequence[bytes]
    """One with a call of a tool."""
    called: Sequence[bytes]
    """One that is a call of a tool alone."""
    begun: bytes
    """The events of an answer up to its first text."""
    error: Mapping[str, Any]
    """An event that is an error."""

    def make(self, url: str, *, read: float = 10) -> Provider:
        """Return the adapter, under a name of the test's; `read` is its patience in seconds."""
        return self.adapter(reach(url, "acme", read=read))


_O, _A, _R = openai_events, anthropic_events, responses_events
APIS = {
    "openai": Api(
        OpenAIProvider,
        hello=_O.whole(*_O.HELLO),
        stream=_O.STREAM,
        called=_O.whole(_O.called(0, "{}", id="call_a", name="weather"), _O.finished("tool_calls"), _O.used(9, 4)),
        begun=events(_O.said("Hel")),
        error={"error": {"message": "you said: well?", "type": "server_error"}},
    ),
    "anthropic": Api(
        AnthropicProvider,
        hello=answer(events(*_A.HELLO)),
        stream=_A.STREAM,
        called=answer(
            events(
                _A.began(),
                _A.block(0, "tool_use", id="call_a", name="weather"),
                _A.called(0, "{}"),
                _A.used(4),
                _A.STOP,
            )
        ),
        begun=events(_A.began(), _A.said("Hel")),
        error={"type": "error", "error": {"type": "overloaded_error", "message": "you said: well?"}},
    ),
    "responses": Api(
        ResponsesProvider,
        hello=answer(events(*_R.HELLO)),
        stream=_R.STREAM,
        called=answer(
            events(
                _R.BEGAN, _R.item("function_call", 0, call_id="call_a", name="weather"), _R.called(0, "{}"), _R.ended()
            )
        ),
        begun=events(_R.BEGAN, _R.said("Hel")),
        error={"type": "error", "code": "server_error", "message": "you said: well?"},
    ),
}


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest) -> Api:
    """Each API."""
    return APIS[request.param]


@pytest.fixture
async def provider(api: Api, server: Server) -> AsyncIterator[Provider]:
    """Its adapter, talking to the test's server."""
    provider = api.make(server.url)
    yield provider
    await provider.aclose()


# --- the answer ------------------------------------------------------------------------------------------------------


async def test_text_comes_as_it_is_said_and_the_usage_once_it_is_known(
    api: Api, provider: Provider, server: Server
) -> None:
    """Empty text is no piece, and pings and events of other kinds bring nothing."""
    server.answer = api.hello
    assert await ask(provider) == HELLO_PIECES


async def test_text_is_not_held_back(api: Api, provider: Provider, server: Server) -> None:
    """A piece is there as soon as its event is, also while the server goes on."""
    server.answer = answer(api.begun)[:-1]
    async with asyncio.timeout(HANGS):
        assert await first_text(provider.stream(request())) == "Hel"


async def test_the_usage_is_the_last_piece(api: Api, provider: Provider, server: Server) -> None:
    """As `stream` says: text, calls of tools, then the usage."""
    server.answer = api.called
    call, usage = await ask(provider)
    assert (call, usage) == (ToolCall("call_a", "weather", "{}"), Usage(9, 4))


async def test_a_connection_serves_one_answer_after_another(api: Api, provider: Provider, server: Server) -> None:
    """Three answers are one connection, also where HTTP's own end comes a moment after the stream's."""
    server.answer = api.hello
    for _ in range(3):
        assert await ask(provider) == HELLO_PIECES
    assert server.connections == 1


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "kind"), STATUSES)
async def test_each_status_is_its_kind_of_failure(
    api: Api, provider: Provider, server: Server, status: int, kind: FailureKind
) -> None:
    """One request, whatever it is; the message names provider and status, and quotes nothing of the provider's."""
    server.answer = answer(json.dumps(api.error).encode(), status=status, content_type="application/json")
    _, error = await failure(provider)
    assert (error.kind, error.status, error.retry_after) == (kind, status, None)
    assert str(error) == f"acme answered {status}"
    assert len(server.requests) == 1


@pytest.mark.parametrize(("value", "seconds"), RETRY_AFTER)
async def test_the_pause_that_is_asked_for_is_told(
    provider: Provider, server: Server, value: str, seconds: float | None
) -> None:
    """`Retry-After` as seconds or as a date, at most ten minutes; what is neither is none."""
    server.answer = answer(b"busy", status=429, headers={"retry-after": value})
    assert (await failure(provider))[1].retry_after == seconds


@pytest.mark.parametrize("name", BROKEN)
async def test_an_answer_that_is_none_is_a_failure(provider: Provider, server: Server, name: str) -> None:
    """Connections that break, answers that are no HTTP, no stream or no JSON: unavailable, after one request."""
    await check_broken(provider, server, name)


async def test_nobody_listens(api: Api) -> None:
    """A server that is not there is unavailable."""
    async with serving() as gone:
        provider = api.make(gone.url)
    _, error = await failure(provider)
    await provider.aclose()
    assert error.kind == "unavailable"


@pytest.mark.parametrize("begun", [False, True])
async def test_a_server_that_falls_silent_is_unavailable(api: Api, server: Server, *, begun: bool) -> None:
    """The connection's own deadline ends the wait, before the first event and between two."""
    server.answer = answer(api.begun)[:-1] if begun else ()
    provider = api.make(server.url, read=0.1)
    pieces, error = await failure(provider)
    await provider.aclose()
    assert pieces == (["Hel"] if begun else [])
    assert error.kind == "unavailable"


async def test_an_error_in_mid_stream_is_a_failure(api: Api, provider: Provider, server: Server) -> None:
    """What came before it was told already."""
    server.answer = answer(api.begun, events(api.error))
    pieces, error = await failure(provider)
    assert (pieces, error.kind) == (["Hel"], "unavailable")
    assert "well" not in str(error)


async def test_closing_the_iterator_closes_the_connection(api: Api, provider: Provider, server: Server) -> None:
    """The provider learns that nobody listens any more, in the middle of an answer."""
    server.answer = answer(api.begun)[:-1]
    pieces = provider.stream(request())
    assert await first_text(pieces) == "Hel"
    assert not server.left.is_set()
    await pieces.aclose()
    async with asyncio.timeout(HANGS):
        await server.left.wait()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_an_answer_may_come_in_any_parts(
    api: Api, provider: Provider, server: Server, data: st.DataObject
) -> None:
    """However its bytes are cut on their way, also inside a character or a chunk's size, the pieces are the same."""
    raw = b"".join(api.stream)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=12)))
    server.answer = [raw[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert await ask(provider) == STREAM_PIECES


@pytest.mark.parametrize("framed", [True, False])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), reset=st.booleans())
async def test_an_answer_that_breaks_off_is_never_a_wrong_one(
    api: Api, server: Server, data: st.DataObject, *, reset: bool, framed: bool
) -> None:
    """Wherever the connection ends: the same pieces, as far as they came, and a failure where the end did not come.

    Also where HTTP itself cannot tell that something is missing, because the body goes on until the connection ends.
    """
    raw = b"".join(api.stream)
    if not framed:
        raw = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + b"".join(
            part.split(b"\r\n", 1)[1][:-2] for part in api.stream[1:-1]
        )
    server.answer, server.end = [raw[: data.draw(st.integers(0, len(raw)))]], "reset" if reset else "close"
    provider = api.make(server.url)
    pieces, error = await attempt(provider)
    await provider.aclose()
    said = [piece for piece in pieces if not isinstance(piece, Usage)]
    if error:
        assert error.kind == "unavailable"
        assert said in (STREAM_PIECES[:0], STREAM_PIECES[:1], STREAM_PIECES[:2])
    else:
        assert said == STREAM_PIECES[:-1]
    assert all(piece == Usage(9, 4) for piece in pieces if isinstance(piece, Usage))
