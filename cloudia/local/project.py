"""A project's folder: its settings, and in `.cloudia` what runs, its logs, its data and its secrets."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import re
import time
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cloudia.errors import NoStackError, UsageError
from cloudia.local.exported import without_exported
from cloudia.local.owner import read_own, require_own, require_own_code
from cloudia.local.secrets import Secrets
from cloudia.private_file import write_private
from cloudia.settings import Layer, Resolved, environment, from_environment, from_toml, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloudia.local.processes import Process
    from cloudia.local.run_file import PlannedRun, RunFile
    from cloudia.settings import Settings

__all__ = ["Lock", "Project", "find_folder", "find_project"]

_USED = ("cloudia.toml", ".env", ".cloudia")
"""What is read in a project's folder, beside its code."""
_MOMENT = 0.05
_TRIES = 4
"""Who asks whether a lock is held holds it for a moment; so it is tried, and what is being written read, more than once."""
_ROOM = 65_536
"""Bytes that must be free before anything is started."""


@dataclass(frozen=True, slots=True)
class Lock:
    """A project's lock while it is held."""

    path: Path
    file: int
    """Its open file."""
    holder: Process

    @property
    def is_here(self) -> bool:
        """Whether it is still that of the folder: not where the folder was moved, emptied (`git clean -fdx`) or deleted."""
        try:
            return os.path.samestat(os.fstat(self.file), self.path.stat())
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Project:
    """The folder that a stack belongs to."""

    root: Path

    @property
    def state(self) -> Path:
        """`.cloudia`, made when first asked for; readable by its owner only, and ignored by git."""
        folder = self._kept
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            require_own(folder)
            ignore = folder / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
        except OSError as error:
            raise UsageError(
                f"{folder} cannot be written: {error.strerror}", hint="Run this in a folder of yours."
            ) from error
        return folder

    @property
    def _kept(self) -> Path:
        """`.cloudia`, whether it is there or not."""
        return self.root / ".cloudia"

    @property
    def logs(self) -> Path:
        """Where each part's log is, as `{part}.log`."""
        return _folder(self.state / "logs")

    @property
    def data(self) -> Path:
        """What `--persist` keeps."""
        return _folder(self.state / "data")

    @contextmanager
    def locked(self) -> Iterator[Lock]:
        """Hold the project's lock, so that one stack runs in a folder. `UsageError` where another process holds it."""
        from cloudia.local.processes import Process  # noqa: PLC0415 - not every verb asks

        path = self.state / "lock"
        try:
            file = path.open("a+")
        except OSError as error:
            raise _cannot_write(path, error) from error
        with file:
            try:
                tries = itertools.count(1)
                while not _lock(file, fcntl.LOCK_EX):
                    if next(tries) > _TRIES:
                        raise UsageError(
                            "a stack is running here already", hint="See `cloudia status`.", code="running"
                        )
                    time.sleep(_MOMENT)
            except OSError as error:
                raise _cannot_write(path, error) from error
            holder = Process.own()
            with contextlib.suppress(OSError):
                file.truncate(0)
                file.write(json.dumps(holder.to_json()))
                file.flush()
            self._remove_broken_run()
            yield Lock(path, file.fileno(), holder)

    @property
    def is_locked(self) -> bool:
        """Whether a process holds the project's lock."""
        try:
            with self._lock_path.open() as file:
                return not _lock(file, fcntl.LOCK_SH)
        except OSError:
            return False

    def holder(self) -> Process | None:
        """Return the process that holds the project's lock, None where nobody does: this is what tells that a stack runs.

        Neither a step of the clock nor another namespace of process ids changes it; a copy of the folder has a lock of its own.
        `UsageError` where it cannot be told which process that is.
        """
        from cloudia.local.processes import Process  # noqa: PLC0415 - not every verb asks

        for _ in range(_TRIES):
            if not self.is_locked:
                return None
            try:
                return Process(**json.loads(self._lock_path.read_text()))
            except (OSError, ValueError, TypeError):
                time.sleep(_MOMENT)  # It has just been taken.
        raise UsageError(
            f"{self._lock_path} cannot be read", hint="End the `cloudia up` of this folder, then start it again."
        )

    def require_room(self) -> None:
        """Write a little and remove it again. `UsageError` where the folder cannot be written, or its disk is full."""
        path = self.state / "room"
        try:
            write_private(path, " " * _ROOM)
            path.unlink()
        except OSError as error:
            raise _cannot_write(path, error) from error

    # --- what runs ---------------------------------------------------------------------------------------------------

    def read_run(self) -> RunFile | None:
        """Return what `run.json` says, None where there is none.

        One that is broken was left by a crash and counts as none, unless a supervisor runs: then it is a `UsageError`.
        """
        from cloudia.local.run_file import BrokenRunFileError, RunFile  # noqa: PLC0415 - not every verb asks

        tries = itertools.count(1)
        while True:
            try:
                return RunFile.load(self._run_path)
            except BrokenRunFileError as error:
                holder = self.holder()
                if holder is None:
                    return None
                if next(tries) > _TRIES:
                    hint = f"End the supervisor, process {holder.pid}, then `cloudia up`."
                    raise UsageError(str(error), hint=hint) from error
            time.sleep(_MOMENT)  # A supervisor that has just begun is about to remove it.

    @property
    def has_run(self) -> bool:
        """Whether there is a `run.json`."""
        return self._run_path.exists()

    def running(self) -> RunFile | None:
        """Return what the supervisor has noted that runs here, None where none does, or where it has noted nothing yet."""
        run, holder = self.read_run(), self.holder()
        return run if run and run.supervisor == holder else None

    def live_run(self) -> PlannedRun | None:
        """Return what `running` does, None where there is no plan yet."""
        from cloudia.local.run_file import PlannedRun  # noqa: PLC0415 - not every verb asks

        run = self.running()
        return run if isinstance(run, PlannedRun) else None

    def require_run(self) -> PlannedRun:
        """Return what runs. `NoStackError` where nothing does."""
        run = self.live_run()
        if run is None or not run.is_up:
            raise NoStackError("no stack is running here", hint="Start one with `cloudia up --detach`.")
        return run

    def write_run(self, run: RunFile) -> None:
        """Write `run.json` in one step, readable by its owner only."""
        run.save(self.state / "run.json")

    def remove_run(self) -> None:
        """Remove `run.json`."""
        self._run_path.unlink(missing_ok=True)

    @property
    def _lock_path(self) -> Path:
        return self._kept / "lock"

    @property
    def _run_path(self) -> Path:
        return self._kept / "run.json"

    def _remove_broken_run(self) -> None:
        """Remove a `run.json` that a crash has left broken."""
        from cloudia.local.run_file import BrokenRunFileError, RunFile  # noqa: PLC0415 - not every verb asks

        try:
            RunFile.load(self._run_path)
        except BrokenRunFileError:
            self.remove_run()

    # --- secrets -----------------------------------------------------------------------------------------------------

    def secrets(self) -> Secrets:
        """Return the stack's own secrets, made on the first call."""
        path = self.state / "secrets.json"
        try:
            return Secrets.of(path)
        except OSError as error:
            raise _cannot_write(path, error) from error

    # --- whose it is ------------------------------------------------------------------------------------------------

    @property
    def page_code_path(self) -> Path:
        """The file of the code that opens the page next."""
        return self.state / "page-code"

    def page_url(self, run: PlannedRun) -> str:
        """Return the address of the page of what runs, with the code that opens it once."""
        from cloudia.sim.edge.page_code import PageCode  # noqa: PLC0415 - not every verb asks

        try:
            return f"{run.urls.web_url}?code={PageCode(self.page_code_path).now()}"
        except OSError as error:
            raise _cannot_write(self.page_code_path, error) from error

    def require_own(self) -> None:
        """Accept a project of this user's. `UsageError` where somebody else owns the folder, or what of it would be used."""
        require_own(self.root, *_USED)

    def require_own_code(self, settings: Settings) -> None:
        """Accept the modules that the settings name, if any. `UsageError` where others can put some there."""
        if settings.worker_responder or settings.telemetry_listener:
            require_own_code(self.root)

    # --- settings ----------------------------------------------------------------------------------------------------

    def settings(self, flags: Mapping[str, Any] | None = None) -> Resolved:
        """Return the settings: flags, then the environment, `.env`, `cloudia.toml`, and the defaults."""
        try:
            return resolve(
                Layer("flag", flags or {}),
                environment("environment", without_exported(os.environ)),
                environment(".env", self._dotenv()),
                self._toml(),
            )
        except UsageError as error:
            line = _line_in_toml(error.message, self.root / "cloudia.toml")
            if line is None:
                raise
            hint = f"Mend line {line} of cloudia.toml. {error.hint}"
            raise UsageError(error.message, hint=hint, code=error.code) from error

    def settings_of(self, run: PlannedRun) -> Settings:
        """Return the settings of a stack that runs here, as its parts have them, with the keys that `run.json` leaves out.

        A real provider's key is not among them: it is in the environment of who calls it.
        """
        from cloudia.local.credentials import engine_credentials, own_redis, provider_keys  # noqa: PLC0415 - not every verb asks

        secrets = self.secrets()
        keys = engine_credentials(run.engine, secrets) | provider_keys(run.llm, secrets)
        if "redis" in run.parts:
            keys["redis_url"] = own_redis(run.urls.redis_url, secrets)
        return from_environment(run.environment).changed(**keys)

    def _dotenv(self) -> dict[str, str]:
        path = self.root / ".env"
        if not path.is_file():
            return {}
        from dotenv import dotenv_values  # noqa: PLC0415 - only where there is one

        try:
            values = dotenv_values(stream=StringIO(read_own(path)))
            return {name: value for name, value in values.items() if value is not None}
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read: {_reason(error)}", hint="It is to be UTF-8 text.") from error

    def _toml(self) -> Layer:
        path = self.root / "cloudia.toml"
        try:
            return from_toml("cloudia.toml", tomllib.loads(read_own(path)))
        except FileNotFoundError:
            return Layer("cloudia.toml", {})
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read: {_reason(error)}", hint="It is to be UTF-8 text.") from error
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"cloudia.toml is not TOML: {error}", hint="Mend that line.") from error


def find_project(start: Path | None = None) -> Project:
    """Return the project around `start` (the working folder). `UsageError` where that is somebody else's."""
    project = Project(find_folder(start))
    project.require_own()
    return project


def find_folder(start: Path | None = None) -> Path:
    """Return the nearest folder around `start` (the working folder) with `cloudia.toml` or a stack's `.cloudia`; else `start`.

    What is above a repository, or above the home folder, is not looked at.
    """
    here, home = (start or Path.cwd()).resolve(), Path(os.path.expanduser("~")).resolve()  # noqa: PTH111 - never raises
    for folder in (here, *here.parents):
        if _is_project(folder):
            return folder
        if folder == home or os.path.lexists(folder / ".git"):
            break
    return here


def _is_project(folder: Path) -> bool:
    """Tell whether a folder says that it is a project. Somebody else's `.cloudia` may not be looked into: it counts."""
    try:
        return (folder / "cloudia.toml").is_file() or (folder / ".cloudia" / "secrets.json").is_file()
    except PermissionError:
        return True


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (isinstance(error, OSError) and error.strerror) or "it is not UTF-8"


_SETTING = re.compile(
    r"\b([a-z]+\.[a-z_]+) \(from cloudia\.toml\)|^cloudia\.toml: (?:unknown setting (\S+)|'(.+)' stands)"
)
_TABLE = re.compile(r"\s*\[\s*([\w-]+)\s*\]")
_KEY = re.compile(r"""\s*["']?([\w.-]+)["']?\s*=""")


def _line_in_toml(message: str, path: Path) -> int | None:
    """Return the line of `cloudia.toml` that sets what an error names; None where it names nothing of that file."""
    named = _SETTING.search(message)
    if not named:
        return None
    setting, table = next(filter(None, named.groups())), ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if found := _TABLE.match(line):
            table = found[1] + "."
        elif (found := _KEY.match(line)) and table + found[1] == setting:
            return number
    return None


def _folder(path: Path) -> Path:
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path


def _lock(file: IO[str], kind: int) -> bool:
    """Lock an open file until it is closed. Return whether nobody else had it. `OSError` where its disk has no locks."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _cannot_write(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{path} cannot be written: {error.strerror}", hint="Make room, or run this in a folder of yours."
    )
