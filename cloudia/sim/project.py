"""A project's folder: its settings, and in `.cloudia` what runs, its logs, its data and its secrets."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import tempfile
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudia.errors import NoStackError, UsageError
from cloudia.settings import Layer, Resolved, environment, from_toml, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Project", "find_project"]


@dataclass(frozen=True, slots=True)
class Project:
    """The folder that a stack belongs to."""

    root: Path

    @property
    def state(self) -> Path:
        """`.cloudia`, made when first asked for; readable by its owner only, and ignored by git."""
        folder = self.root / ".cloudia"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            ignore = folder / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
        except OSError as error:
            raise UsageError(
                f"{folder} cannot be written: {error.strerror}", hint="Run this in a folder of yours."
            ) from error
        return folder

    @property
    def logs(self) -> Path:
        """Where each part's log is, as `{part}.log`."""
        return _folder(self.state / "logs")

    @property
    def data(self) -> Path:
        """What `--persist` keeps."""
        return _folder(self.state / "data")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the project's lock, so that one stack runs in a folder. `UsageError` where another process holds it."""
        with (self.state / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(
                    "a stack is running here already", hint="See `cloudia status`.", code="running"
                ) from error
            yield

    # --- what runs ---------------------------------------------------------------------------------------------------

    def read_run(self) -> dict[str, Any] | None:
        """Return what `run.json` says, None where there is none."""
        path = self.root / ".cloudia" / "run.json"
        try:
            run = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            run = None
        if not isinstance(run, dict) or "supervisor" not in run:
            raise UsageError(f"{path} cannot be read", hint="Delete it, and run `cloudia up` again.")
        return run

    def live_run(self) -> dict[str, Any] | None:
        """Return what `run.json` says, None where the supervisor that wrote it has ended."""
        from cloudia.sim.processes import Process  # noqa: PLC0415 - not every verb asks

        run = self.read_run()
        return run if run and Process(**run["supervisor"]).alive else None

    def require_run(self) -> dict[str, Any]:
        """Return what runs. `NoStackError` where nothing does."""
        run = self.live_run()
        if run is None or run["state"] not in {"ready", "degraded"}:
            raise NoStackError("no stack is running here", hint="Start one with `cloudia up --detach`.")
        return run

    def write_run(self, run: Mapping[str, Any]) -> None:
        """Write `run.json` in one step, readable by its owner only."""
        write_private(self.state / "run.json", json.dumps(run, indent=1))

    def remove_run(self) -> None:
        """Remove `run.json`."""
        (self.root / ".cloudia" / "run.json").unlink(missing_ok=True)

    # --- secrets -----------------------------------------------------------------------------------------------------

    def secrets(self) -> dict[str, str]:
        """Return the local stack's own secrets, made on the first call: `token` and `session`."""
        path = self.state / "secrets.json"
        if not path.exists():
            write_private(path, json.dumps({name: secrets.token_urlsafe(32) for name in ("token", "session")}))
        try:
            known: dict[str, str] = json.loads(path.read_text())
            return {name: known[name] for name in ("token", "session")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path} cannot be read", hint="Delete it; a new one is made.") from error

    # --- settings ----------------------------------------------------------------------------------------------------

    def settings(self, flags: Mapping[str, Any] | None = None) -> Resolved:
        """Return the settings: flags, then the environment, `.env`, `cloudia.toml`, and the defaults."""
        return resolve(
            Layer("flag", flags or {}),
            environment("environment", os.environ),
            environment(".env", self._dotenv()),
            self._toml(),
        )

    def _dotenv(self) -> dict[str, str]:
        path = self.root / ".env"
        if not path.is_file():
            return {}
        from dotenv import dotenv_values  # noqa: PLC0415 - only where there is one

        return {name: value for name, value in dotenv_values(path).items() if value is not None}

    def _toml(self) -> Layer:
        path = self.root / "cloudia.toml"
        try:
            return from_toml("cloudia.toml", tomllib.loads(path.read_text()))
        except FileNotFoundError:
            return Layer("cloudia.toml", {})
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read") from error
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"cloudia.toml is not TOML: {error}", hint="Mend that line.") from error


def find_project(start: Path | None = None) -> Project:
    """Return the project around `start` (the working folder): the nearest folder with `cloudia.toml` or `.cloudia`."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "cloudia.toml").is_file() or (folder / ".cloudia" / "secrets.json").is_file():
            return Project(folder)
    return Project(here)


def _folder(path: Path) -> Path:
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def write_private(path: Path, text: str) -> None:
    """Write a file in one step, readable by its owner only."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # made with mode 0600
    with os.fdopen(handle, "w") as file:
        file.write(text)
    Path(name).replace(path)
