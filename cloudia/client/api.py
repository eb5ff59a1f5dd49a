"""The HTTP API, one method a route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx2

from cloudia.client.addresses import url_of
from cloudia.client.tokens import TokenSource
from cloudia.errors import TimedOutError, UnavailableError, UsageError, request_error
from cloudia.protocol import Accepted, PostMessage

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from cloudia.client.addresses import Address
    from cloudia.client.tokens import Token

__all__ = ["Api"]

_TIMEOUT_SECONDS = 15.0
_UNAUTHORIZED = 401


class Api:
    """The HTTP API of a stack, as one user. Refusals are raised as `RequestError`, no answer as `UnavailableError`.

    Where `token` is a function, it is asked for another one when a request was refused, which is then sent again, once.
    """

    def __init__(self, address: Address, token: Token | TokenSource) -> None:
        self._address = address
        self._tokens = token if isinstance(token, TokenSource) else TokenSource(token)
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(_TIMEOUT_SECONDS, connect=5.0),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def post_message(self, message: PostMessage) -> Accepted:
        """Send a message. Return when it was accepted, which is a promise that its job will end."""
        return Accepted(**await self._call("POST", "/messages", json=message.to_json()))

    async def conversations(
        self, *, limit: int = 50, cursor: str | None = None, search: str | None = None
    ) -> dict[str, Any]:
        """Return `{"conversations": [...], "next_cursor"}`, the one last written to first.

        With `search`, those of the page whose title or newest messages have all of its words.
        """
        return await self._call("GET", "/conversations", params=_params(limit=limit, cursor=cursor, search=search))

    async def messages(
        self, conversation_id: str, *, limit: int = 50, cursor: str | None = None, order: str = "asc"
    ) -> dict[str, Any]:
        """Return `{"messages": [...], "next_cursor"}`; `order` is `asc` or `desc`."""
        path = f"/conversations/{quote(conversation_id, safe='')}/messages"
        return await self._call("GET", path, params=_params(limit=limit, cursor=cursor, order=order))

    async def rename_conversation(self, conversation_id: str, title: str) -> dict[str, Any]:
        """Give a conversation another title. Return it."""
        path = f"/conversations/{quote(conversation_id, safe='')}"
        return await self._call("PATCH", path, json={"title": title})

    async def delete_conversation(self, conversation_id: str) -> None:
        """Forget a conversation and its messages."""
        await self._call("DELETE", f"/conversations/{quote(conversation_id, safe='')}")

    async def job(self, job_id: str) -> dict[str, Any]:
        """Return a job, with its answer's message as `reply` once there is one."""
        return await self._call("GET", f"/jobs/{quote(job_id, safe='')}")

    async def cancel(self, job_id: str) -> dict[str, Any]:
        """Ask for a job to stop. Return `{"job_id", "status"}`."""
        return await self._call("POST", f"/jobs/{quote(job_id, safe='')}/cancel")

    async def health(self) -> dict[str, Any]:
        """Return `{"status", "version", "workers", "gateways"}`; where the token is not good, the status only."""
        return await self._call("GET", "/health")

    async def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        token = await self._tokens.get()
        response = await self._request(method, path, token, options)
        if response.status_code == _UNAUTHORIZED and self._tokens.refused(token):
            response = await self._request(method, path, await self._tokens.get(), options)
        try:
            body = response.json()
        except ValueError:
            body = None
        if response.is_success and isinstance(body, dict):
            return body
        raise request_error(response.status_code, body)

    async def _request(self, method: str, path: str, token: str, options: dict[str, Any]) -> httpx2.Response:
        url = url_of(self._address).rstrip("/") + path
        try:
            return await self._http.request(method, url, headers={"authorization": f"Bearer {token}"}, **options)
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            raise UsageError(
                f"{url_of(self._address)!r} is not the URL of an HTTP API", hint="It begins with http:// or https://."
            ) from error
        except httpx2.ReadTimeout as error:
            raise TimedOutError("the HTTP API did not answer in time") from error
        except httpx2.HTTPError as error:
            raise UnavailableError(
                "the HTTP API cannot be reached", hint="Is the stack running? See `cloudia status`."
            ) from error


def _params(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
