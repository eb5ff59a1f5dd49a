"""Whether two URLs that somebody gave are those of a stack, before anything is opened there."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import httpx2
from websockets.exceptions import InvalidHandshake, InvalidStatus

from cloudia.client.api import Api
from cloudia.client.stream import EventStream
from cloudia.client.tokens import TokenSource
from cloudia.errors import (
    CloudiaError,
    ForbiddenError,
    RequestError,
    UnauthorizedError,
    UnavailableError,
    UsageError,
)
from cloudia.protocol import LaterVersionError

if TYPE_CHECKING:
    from cloudia.client.tokens import Token

__all__ = ["check_stack"]

_SERVER_ERROR = 500


async def check_stack(api_url: str, websocket_url: str, token: Token) -> None:
    """Return where a stack answers at both. `UsageError` says which is something else, `UnavailableError` where nothing is.

    What the stack itself refuses is raised as it tells it, as `UnauthorizedError` for a token that is not good.
    """
    tokens = TokenSource(token)
    await _check_api(api_url, tokens)
    await _check_gateway(websocket_url, tokens)


async def _check_api(url: str, tokens: TokenSource) -> None:
    other = UsageError(f"{url} is not the HTTP API of a stack: something else answers there", hint="See --url.")
    body: dict[str, Any] = {}
    async with Api(url, tokens) as api:
        try:
            body = await api.conversations(limit=1)
        except (UnauthorizedError, ForbiddenError):
            raise
        except RequestError as error:
            raise other from error
        except UnavailableError as error:
            if isinstance(error.__cause__, httpx2.ProtocolError):  # It speaks no HTTP.
                raise other from error
            raise
    if "conversations" not in body:
        raise other


async def _check_gateway(url: str, tokens: TokenSource) -> None:
    other = UsageError(f"{url} is not a gateway: something else answers there", hint="See --websocket-url.")
    try:
        async with aclosing(EventStream(url, tokens).connection()) as events:
            await anext(events)
    except InvalidStatus as error:
        if error.response.status_code < _SERVER_ERROR:
            raise other from error
        raise _away() from error
    except InvalidHandshake as error:
        raise other from error
    except (UnauthorizedError, ForbiddenError, LaterVersionError):
        raise
    except RequestError as error:
        raise other from error
    except CloudiaError:
        raise
    except (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise _away() from error


def _away() -> UnavailableError:
    return UnavailableError("the gateway cannot be reached", hint="Is the stack running? See --websocket-url.")
