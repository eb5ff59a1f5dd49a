"""The stack that a verb talks to: the one that runs in this project, or one elsewhere, named by the settings."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudia.errors import RequestError, UsageError
from cloudia.local.project import find_project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudia.local.project import Project
    from cloudia.settings import Settings

__all__ = ["Target", "find_target", "local_token", "of_conversation"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a client connects, and as whom."""

    api_url: str
    websocket_url: str
    token: str


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
    token = settings.auth_token or local_token(project, settings, user=user or settings.auth_user)
    return Target(run.urls.api_url, run.urls.websocket_url, token)


def local_token(project: Project, settings: Settings, *, user: str, seconds: float = 3600) -> str:
    """Return a token of the local stack, signed with its own secret."""
    from cloudia.cloud.identity import issue_token  # noqa: PLC0415 - imported when it is needed

    return issue_token(
        project.secrets().token, user, seconds=seconds, issuer=settings.auth_issuer, audience=settings.auth_audience
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
