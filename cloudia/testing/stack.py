"""The stack of a test suite: started for a project, with its state elsewhere, and stopped with the suite."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
import tomllib
from typing import TYPE_CHECKING, Any

from cloudia.errors import CloudiaError, PartError, UsageError
from cloudia.local.borrowed import OWN_PARTS, BorrowedProject
from cloudia.local.project import Project, find_folder
from cloudia.local.run_file import PlannedRun
from cloudia.local.stop import stop_stack
from cloudia.settings import from_toml
from cloudia.testing.llm import ScriptedLLM
from cloudia.testing.logs import Logs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from cloudia.client import Client
    from cloudia.settings import Settings

__all__ = ["RunningStack"]

_UNLESS_SET: Mapping[str, Any] = {
    # What a test sends is its author's, who wants to see why a responder failed.
    "log_tracebacks": True,
    # Failures that one test scripts must not open the breaker for the next; a project that sets this tests its breaker.
    "llm_breaker_errors": 10_000,
    # What a worker had that a test killed is another's soon.
    "worker_visibility_seconds": 10,
    "worker_lease_seconds": 10,
}
_READY_SECONDS = 900.0
"""Longer than the engine's installation may take, which happens once."""
_END_SECONDS = 70.0
"""Longer than the supervisor takes to end what a test left behind, or to say that it cannot."""
_LAST_LINES = 15
_PATIENCE_SECONDS = 2.0
"""After this, whoever waits is told for what."""


class RunningStack:
    """A stack that runs for a project. `project` is the folder of `cloudia.toml`; None looks in and above each of `around`.

    `settings` are lines of TOML that come before every other source.
    """

    def __init__(self, project: Path | None, around: Sequence[Path], *, home: Path, settings: Sequence[str]) -> None:
        self.root = (project or _find(around)).resolve()
        """The project's folder: where the responder runs."""
        self._project = BorrowedProject(self.root, home)
        self._lines = settings
        self._settings: Settings | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.logs = Logs(self._project.logs)
        """What the parts have logged."""
        self.api_url = ""
        self.websocket_url = ""
        self.llm_url = ""
        """The simulated provider: OpenAI's API under `/v1`, Anthropic's, and `/_cloudia`."""

    @property
    def run(self) -> dict[str, Any]:
        """What runs now, as `run.json` says. `NoStackError` where it has ended."""
        return self._project.require_run().to_json()

    def token(self, user: str = "local", *, seconds: float = 3600) -> str:
        """Return a bearer token of a user."""
        from cloudia.cloud.identity import issue_token  # noqa: PLC0415 - only where it is needed

        assert self._settings  # noqa: S101 - it was started
        return issue_token(
            self._project.secrets().token,
            user,
            seconds=seconds,
            issuer=self._settings.auth_issuer,
            audience=self._settings.auth_audience,
        )

    def client(self, user: str = "local") -> Client:
        """Return cloudia's own asynchronous client, as a user: `async with cloudia_stack.client("ada") as client`."""
        from cloudia.client import Client  # noqa: PLC0415 - only where it is needed

        return Client(self.api_url, self.websocket_url, self.token(user))

    @property
    def llm_key(self) -> str:
        """The API key that the simulated provider takes, for a client of the test's own."""
        return self._project.secrets().provider

    def llm(self) -> ScriptedLLM:
        """Return the simulated provider, to be scripted: `with stack.llm() as llm`."""
        return ScriptedLLM(self.llm_url, self._project.secrets().control)

    def start(self, say: Callable[[str], None]) -> str | None:
        """Start it. Return None when every part has answered, or why it did not start. `say` is told of what takes long."""
        try:
            self._start(say)
        except CloudiaError as error:
            hint = f"\nhint: {error.hint}" if error.hint else ""
            logs = f"\n\n{self.logs.text(most=_LAST_LINES)}" if self._process else ""
            return f"cloudia's stack did not start: {error.message}{hint}{logs}"
        return None

    def _start(self, say: Callable[[str], None]) -> None:
        if not self.root.is_dir():
            raise UsageError(f"there is no folder {self.root}", hint="cloudia_project is relative to pytest's root.")
        Project(self.root).require_own()
        flags = self._flags()
        self._settings = self._project.settings(flags).settings  # A mistake in them is told before anything starts.
        with (self._project.logs / "supervisor.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "cloudia.testing.supervise", str(self.root), str(self._project.home)],
                env={**os.environ, "CLOUDIA_FLAGS": json.dumps(flags)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is pytest's to handle; it closes our end of stdin.
            )
        run = self._ready(self._process, say)
        self.api_url, self.websocket_url, self.llm_url = run.urls.api_url, run.urls.websocket_url, run.urls.llm_url
        if run.llm == "sim":
            with self.llm() as llm:
                llm.reset()
        self.logs.mark()

    def end_jobs(self) -> None:
        """End every job that has not ended, whoever sent it. It is done after each test; none then reaches the next one.

        `TimedOutError` where one does not end, `PartError` where the stack has ended.
        """
        assert self._process  # noqa: S101 - it was started
        assert self._process.stdin  # noqa: S101 - it was asked for
        try:
            self._process.stdin.write(b"\n")
        except BrokenPipeError as error:
            raise PartError("the stack of the tests has ended", hint="Its log is supervisor.log.") from error
        self._answer(self._process, _END_SECONDS, "the jobs were not ended")

    def stop(self) -> None:
        """Stop it. Nothing of it is left but its logs."""
        process = self._process
        if process is None:
            return
        assert process.stdin  # noqa: S101 - it was asked for
        assert process.stdout  # noqa: S101 - it was asked for
        process.stdin.close()
        stop_stack(self._project)
        if process.poll() is None:
            process.kill()  # It never came to note itself.
        process.wait()
        process.stdout.close()

    def _flags(self) -> dict[str, Any]:
        try:
            document = tomllib.loads("\n".join(self._lines))
        except tomllib.TOMLDecodeError as error:
            raise UsageError(
                f"cloudia_settings is not TOML: {error}", hint='One setting a line: worker.responder = "app:answer".'
            ) from error
        flags = {**OWN_PARTS, **from_toml("cloudia_settings", document).values}
        named = self._project.settings(flags).sources
        return {**{name: value for name, value in _UNLESS_SET.items() if name not in named}, **flags}

    def _ready(self, process: subprocess.Popen[bytes], say: Callable[[str], None]) -> PlannedRun:
        """Return what `run.json` says once the stack is ready."""
        return PlannedRun.from_json(self._answer(process, _READY_SECONDS, "the stack was not ready", say))

    @staticmethod
    def _answer(
        process: subprocess.Popen[bytes], seconds: float, late: str, say: Callable[[str], None] = lambda _text: None
    ) -> dict[str, Any]:
        """Return the supervisor's next line that is no mere word of its progress. Raises the error that it tells."""
        out = process.stdout
        assert out  # noqa: S101 - it was asked for
        said, deadline = "", time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            while time.monotonic() < deadline:
                if not selector.select(_PATIENCE_SECONDS):
                    if said:
                        say(said)
                    said = ""
                    continue
                line = out.readline()
                if not line:
                    raise PartError("the supervisor ended", hint="Its log is supervisor.log, below.")
                told: dict[str, Any] = json.loads(line)
                if "error" in told:
                    raise CloudiaError(**told["error"])
                if "said" not in told:
                    return told
                said = told["said"]
        raise PartError(f"{late} within {seconds:g} s")


def _find(around: Sequence[Path]) -> Path:
    """Return the first project that has a `cloudia.toml`, else the first folder."""
    found = [find_folder(folder) for folder in around]
    return next((folder for folder in found if (folder / "cloudia.toml").is_file()), around[0])
