"""Who may ask the simulated provider: no browser, nobody by a foreign name or without its key; its control has a token."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from cloudia.errors import ForbiddenError, RequestError
from cloudia.hosts import check_host, is_browser
from cloudia.sim.llm.wire import bearer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["NoPages", "bears", "key_refusal"]


class NoPages:
    """Refuses requests before `app` reads anything of them. `bound` is the address that it listens on, `called` what it is."""

    def __init__(self, app: ASGIApp, bound: str, called: str = "the simulated provider") -> None:
        self._app = app
        self._bound = bound
        self._called = called

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or say why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            check_host(headers.getlist("host"), self._bound)
            if is_browser(headers):
                raise ForbiddenError(f"no page of a browser may ask {self._called}", code="not_local")
        except RequestError as error:
            await JSONResponse(error.to_json(), status_code=error.status)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def key_refusal(given: str, known: str) -> str:
    """Return why an API key is refused, empty where it is taken. With no `known` one, any that is not empty will do."""
    if not given:
        return "No API key came with the request."
    if known and not hmac.compare_digest(given.encode(), known.encode()):
        return "Incorrect API key provided: it is not this stack's; `cloudia env` prints that."
    return ""


def bears(headers: Mapping[str, str], token: str) -> bool:
    """Tell whether a request bears the token."""
    return hmac.compare_digest(bearer(headers).encode(), token.encode())
