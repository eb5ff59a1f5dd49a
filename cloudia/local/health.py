"""How a running stack is: each part's process, and what the parts say of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudia.errors import NoStackError
from cloudia.local.run_file import PlannedRun
from cloudia.settings import from_environment
from cloudia.sim.engines.answering import who_answers
from cloudia.sim.probes import get_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudia.local.project import Project
    from cloudia.local.run_file import RunFile

__all__ = ["Look", "look"]


@dataclass(frozen=True, slots=True)
class Look:
    """A stack as it was at one moment."""

    run: RunFile
    supervisor_bytes: int | None
    """Resident memory of the supervisor."""
    resident_bytes: Mapping[str, int | None]
    """That of each part, by name; None where it has no process."""
    engine_detail: str | None
    """The engine's name, version and edition; None where it does not answer."""
    health: Mapping[str, Any] | None
    """What `GET /health` says; None where it does not answer."""
    page_url: str | None
    """The address that opens the page once; None where it has none yet."""

    def to_json(self) -> dict[str, Any]:
        """Return what `cloudia status --json` prints: `run.json` with `resident_bytes`, `engine_detail` and `health`."""
        shown = self.run.shown()
        for name, part in shown.get("parts", {}).items():
            part["resident_bytes"] = self.resident_bytes[name]
        shown["supervisor"]["resident_bytes"] = self.supervisor_bytes
        if self.page_url:
            shown["web_url"] = self.page_url
        return {**shown, "engine_detail": self.engine_detail, "health": self.health}


def look(project: Project) -> Look:
    """Look at the stack that runs in a project. `NoStackError` where no supervisor runs."""
    run = project.running()
    if run is None:
        raise NoStackError("no stack is running here", hint="Start one with `cloudia up --detach`.")
    resident = {name: part.process.resident_bytes() if part.process else None for name, part in run.parts.items()}
    planned = run if isinstance(run, PlannedRun) else None
    return Look(
        run,
        run.supervisor.resident_bytes(),
        resident,
        _engine(planned.urls.aws_endpoint_url) if planned else None,
        _health(planned, project.secrets().token) if planned else None,
        project.page_url(planned) if planned else None,
    )


def _engine(url: str) -> str | None:
    found = who_answers(url)
    return None if found is None else str(found)


def _health(run: PlannedRun, secret: str) -> Any:
    from cloudia.cloud.identity import issue_token  # noqa: PLC0415 - imported when it is needed

    settings = from_environment(run.environment)
    token = issue_token(
        secret, settings.auth_user, seconds=60, issuer=settings.auth_issuer, audience=settings.auth_audience
    )
    try:
        return get_json(f"{run.urls.api_url}/health", token=token)
    except (OSError, ValueError):
        return None
