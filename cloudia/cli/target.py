"""The stack that a client talks to: the one that runs in this project, or one elsewhere, named by the settings."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudia.errors import RequestError, UsageError
from cloudia.local.project import find_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloudia.client import Client, Token
    from cloudia.local.run_file import Urls
    from cloudia.settings import Settings

__all__ = ["Target", "find_target", "of_conversation", "sign"]


_TOKEN_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where a client connects, and as whom. The URLs are those of now; `found` tells them anew."""

    api_url: str
    websocket_url: str
    token: str
    renew: Callable[[], str] | None = None
    """Makes another token; None where nobody here can."""
    found: Callable[[], Urls] | None = None
    """Where the stack is by now: one that is started again may have taken other ports. None for one elsewhere."""

    @property
    def tokens(self) -> Token:
        """What a client that may outlive a token is given."""
        return self.renew or self.token

    def client(self) -> Client:
        """Return a client that outlives tokens and addresses."""
        from cloudia.client import Client  # noqa: PLC0415 - imported when it is needed

        found = self.found
        if found is None:
            return Client(self.api_url, self.websocket_url, self.tokens)
        return Client(lambda: found().api_url, lambda: found().websocket_url, self.tokens)


def find_target(*, user: str | None = None) -> Target:
    """Return the target. `NoStackError` where nothing runs here and no URL is set; `UsageError` where a token is missing."""
    project = find_project()
    settings = project.settings().settings
    if settings.api_url:
        if not settings.websocket_url or not settings.auth_token:
            raise UsageError(
                "api.url is set, and websocket.url or auth.token is not",
                hint="Set CLOUDIA_API_URL, CLOUDIA_WEBSOCKET_URL and CLOUDIA_TOKEN together.",
            )
        return Target(settings.api_url, settings.websocket_url, settings.auth_token)
    run = project.require_run()

    def found() -> Urls:
        nonlocal run
        run = project.live_run() or run  # While nothing runs, where it was.
        return run.urls

    if settings.auth_token:
        return Target(run.urls.api_url, run.urls.websocket_url, settings.auth_token, found=found)

    def renew() -> str:
        return sign(settings, lambda: project.secrets().token, user=user or settings.auth_user, seconds=_TOKEN_SECONDS)

    return Target(run.urls.api_url, run.urls.websocket_url, renew(), renew, found)


def sign(settings: Settings, secret: Callable[[], str], *, user: str, seconds: float, operator: bool = False) -> str:
    """Return a token that is signed with a stack's secret. `UsageError` where another signs the tokens of these settings."""
    from cloudia.cloud.identity import OPERATOR, issue_token  # noqa: PLC0415 - imported when it is needed

    if settings.auth_jwks_url:
        raise UsageError(
            "tokens are signed by the issuer that auth.jwks_url names, not by this stack",
            hint="Get one there, and set it as CLOUDIA_TOKEN.",
        )
    return issue_token(
        secret(),
        user,
        seconds=seconds,
        issuer=settings.auth_issuer,
        audience=settings.auth_audience,
        role=OPERATOR if operator else "",
    )


@contextmanager
def of_conversation() -> Iterator[None]:
    """Ask for what belongs to a conversation: where there is none of that id, the hint says how to find one."""
    try:
        yield
    except RequestError as error:
        if error.code in {"bad_conversation_id", "no_conversation"}:
            error.hint = "`cloudia conversations list` shows which there are."
        raise
