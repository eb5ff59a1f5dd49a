"""The run file, `.cloudia/run.json`: what a supervisor notes of its stack, for whoever looks from another process.

`RunFile` is what there is from the first moment on, `PlannedRun` what there is once there is a plan. In the file either is one
flat object; a field that is not known here is passed over.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from cloudia.codes import told
from cloudia.errors import CloudiaError, PartError, UsageError
from cloudia.local.processes import Process
from cloudia.passwords import without_password
from cloudia.private_file import write_private
from cloudia.sim.spec import PartKind, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = [
    "VERSION",
    "BrokenRunFileError",
    "Failure",
    "PartRecord",
    "PartState",
    "PlannedRun",
    "RunFile",
    "RunState",
    "Urls",
]

VERSION = 1
"""Rises when a reader of today would misread a file of tomorrow; a field more is no reason."""

RunState: TypeAlias = Literal["starting", "ready", "degraded", "stopping", "failed"]
PartState: TypeAlias = Literal["starting", "ready", "restarting", "stopping", "stopped", "failed"]


class BrokenRunFileError(ValueError):
    """There is a run file, and it cannot be read; the message says so in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRecord:
    """What is noted of a part."""

    kind: PartKind
    state: PartState
    process: Process | None
    """Its last process, which may have ended; None before the first."""
    restarts: int
    """Those that nobody asked for."""
    detail: str
    """One line for the user: a version, a URL."""
    reason: str
    """Why it is not ready, in a few words."""

    @property
    def pid(self) -> int | None:
        """The id of its process."""
        return self.process.pid if self.process else None

    def to_json(self) -> dict[str, Any]:
        """Return `{"kind", "state", "pid", "started_at", "birth", "restarts", "detail", "reason"}`."""
        return {
            "kind": self.kind,
            "state": self.state,
            "pid": self.pid,
            "started_at": self.process.started_at if self.process else 0.0,
            "birth": self.process.birth if self.process else "",
            "restarts": self.restarts,
            "detail": self.detail,
            "reason": self.reason,
        }

    @classmethod
    def from_json(cls, name: str, document: Any) -> Self:
        """Return what is noted of the part `name`. `ValueError` where it is not whole."""
        part = _object(document)
        return cls(
            kind=_one_of({"kind": kind_of(name), **part}, "kind", PartKind),  # Yesterday's files have none.
            state=_one_of(part, "state", PartState),
            process=_process(part),
            restarts=_field(part, "restarts", int),
            detail=_field(part, "detail", str),
            reason=_field(part, "reason", str),
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """The error that ended a stack."""

    code: str
    message: str
    hint: str
    usage: bool
    """Whether the command or the configuration was wrong."""

    @classmethod
    def of(cls, error: CloudiaError) -> Self:
        """Return what is noted of an error."""
        return cls(error.code, error.message, error.hint, isinstance(error, UsageError))

    def error(self) -> CloudiaError:
        """Return it as the error that it was, to be raised."""
        kind = UsageError if self.usage else PartError
        return kind(self.message, hint=self.hint, code=told(self.code, kind.code))

    def to_json(self) -> dict[str, Any]:
        """Return `{"error": {"code", "message", "hint"}, "usage_error": bool}`."""
        return {**self.error().to_json(), "usage_error": self.usage}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Return the error of a run file. `ValueError` where it is not whole."""
        error = _object(document["error"])
        return cls(
            code=_field(error, "code", str),
            message=_field(error, "message", str),
            hint=_field(error, "hint", str),
            usage=_field(document, "usage_error", bool),
        )


@dataclass(frozen=True, slots=True)
class Urls:
    """Where the parts of a stack listen, and what they stand on."""

    api_url: str
    websocket_url: str
    web_url: str
    aws_endpoint_url: str
    redis_url: str
    llm_url: str
    collector_url: str = ""
    """Empty where there is no collector; files of before it have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """What is noted of a stack from its first moment on."""

    state: RunState
    project: Path
    supervisor: Process
    temporary: Path
    """Its temporary folder."""
    container: str
    """The container that its engine runs in; empty where it has none."""
    doing: str
    """What the supervisor said last."""
    written_at: float
    """Epoch seconds."""
    failure: Failure | None = None
    parts: Mapping[str, PartRecord] = field(init=False, default_factory=dict)
    """By name; none before there is a plan."""

    @property
    def is_up(self) -> bool:
        """Whether every part was ready once, and the stack is not stopping."""
        return self.state in {"ready", "degraded"}

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each part that has had a process."""
        return {name: part.process.pid for name, part in self.parts.items() if part.process}

    def named(self, word: str) -> dict[str, PartRecord]:
        """Return the part of that name, or all of that kind: `worker` is `worker-1` and `worker-2`."""
        return {name: part for name, part in self.parts.items() if word in {name, part.kind}}

    def to_json(self) -> dict[str, Any]:
        """Return the document that `run.json` is."""
        return {
            "version": VERSION,
            "state": self.state,
            "project": str(self.project),
            "supervisor": self.supervisor.to_json(),
            "temporary": str(self.temporary),
            "container": self.container,
            "doing": self.doing,
            "written_at": self.written_at,
            **(self.failure.to_json() if self.failure else {}),
        }

    def shown(self) -> dict[str, Any]:
        """Return what `cloudia up --json` and `status --json` print of it."""
        return self.to_json()

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Return what a document says. `ValueError` where it is not whole, or not of this version."""
        return cls(**_begun(_object(document)))

    def save(self, path: Path) -> None:
        """Write the file in one step, readable by its owner only. `OSError` where that cannot be."""
        write_private(path, json.dumps(self.to_json(), indent=1))

    @staticmethod
    def load(path: Path) -> RunFile | None:
        """Return what a file says, a `PlannedRun` where there was a plan; None where there is no file.

        `BrokenRunFileError` where it is not whole, or not of this version.
        """
        broken = f"{path} cannot be read"
        try:
            document = _object(json.loads(path.read_text()))
            version = _field(document, "version", int)
            if version > VERSION:
                broken = f"{path} was written by a newer cloudia"
            kind = PlannedRun if "parts" in document else RunFile
            return kind.from_json(document)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise BrokenRunFileError(broken) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun(RunFile):
    """What is noted of a stack once there is a plan."""

    urls: Urls
    stack_name: str
    region: str
    engine: str
    llm: str
    persist: bool
    environment: Mapping[str, str]
    """The settings of cloudia's own parts, without secrets; a URL of the user's own Redis is as they gave it."""
    parts: Mapping[str, PartRecord]

    def to_json(self) -> dict[str, Any]:
        """Return the document that `run.json` is."""
        return {
            **RunFile.to_json(self),  # A class with slots has no super() without arguments.
            **asdict(self.urls),
            "stack_name": self.stack_name,
            "region": self.region,
            "engine": self.engine,
            "llm": self.llm,
            "persist": self.persist,
            "environment": dict(self.environment),
            "pids": self.pids,
            "parts": {name: part.to_json() for name, part in self.parts.items()},
        }

    def shown(self) -> dict[str, Any]:
        """Return what `cloudia up --json` and `status --json` print of it: the URL of Redis is without its password."""
        url = without_password(self.urls.redis_url)
        environment = {name: url if value == self.urls.redis_url else value for name, value in self.environment.items()}
        return {**self.to_json(), "redis_url": url, "environment": environment}

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Return what a document says. `ValueError` where it is not whole, or not of this version."""
        run = _object(document)
        environment, parts = _object(run.get("environment")), _object(run.get("parts"))
        return cls(
            **_begun(run),
            urls=Urls(*(_field({"collector_url": "", **run}, url.name, str) for url in fields(Urls))),
            stack_name=_field(run, "stack_name", str),
            region=_field(run, "region", str),
            engine=_field(run, "engine", str),
            llm=_field(run, "llm", str),
            persist=_field(run, "persist", bool),
            environment={name: _field(environment, name, str) for name in environment},
            parts={name: PartRecord.from_json(name, part) for name, part in parts.items()},
        )


# --- reading ------------------------------------------------------------------------------------------------------------


def _begun(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a `RunFile`."""
    if _field(document, "version", int) != VERSION:
        raise ValueError("the version is another")
    supervisor = _process(_object(document.get("supervisor")))
    if supervisor is None:
        raise ValueError("the supervisor has no process")
    return {
        "state": _one_of(document, "state", RunState),
        "project": Path(_field(document, "project", str)),
        "supervisor": supervisor,
        "temporary": Path(_field(document, "temporary", str)),
        "container": _field(document, "container", str),
        "doing": _field(document, "doing", str),
        "written_at": _field(document, "written_at", int, float),
        "failure": Failure.from_json(document) if "error" in document else None,
    }


def _process(document: Mapping[str, Any]) -> Process | None:
    pid, started_at = document.get("pid"), _field(document, "started_at", int, float)
    birth = _field({"birth": "", **document}, "birth", str)  # Yesterday's files have none.
    if pid is None:
        return None
    if _field(document, "pid", int) < 1:
        raise ValueError("that is no process")
    return Process(pid, started_at, birth)


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("that is no object")  # noqa: TRY004 - whatever is wrong with a file is one error
    return value


def _field(document: Mapping[str, Any], name: str, *kinds: type) -> Any:
    """Return a field that must be of one of `kinds`, and no kind of them: True is no number."""
    value = document.get(name)
    if type(value) not in kinds:
        raise ValueError(f"{name} is missing, or no {kinds[0].__name__}")
    return value


def _one_of(document: Mapping[str, Any], name: str, words: Any) -> Any:
    """Return a field that must be one of the words of a `Literal`."""
    value = _field(document, name, str)
    if value not in get_args(words):
        raise ValueError(f"{name} is {value!r}")
    return value
