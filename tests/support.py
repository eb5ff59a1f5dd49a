"""What the tests work with: stacks that run, clouds of their own, processes, and waiting for a condition."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudia import telemetry
from cloudia.client import Client
from cloudia.cloud.cloud import Cloud as CloudOfSettings
from cloudia.cloud.identity import issue_token
from cloudia.deploy.provision import provision, secret_values
from cloudia.local.project import Project
from cloudia.providers import PROVIDERS
from cloudia.settings import Settings, to_environment
from tests.forks import can_fork, fork
from tests.patience import HANGS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cloudia.protocol import QueuedJob
    from tests.forks import Child

CLI = [sys.executable, "-m", "cloudia"]


def clean_environment(**extra: str) -> dict[str, str]:
    """Return this process's environment without what would configure cloudia, AWS or an LLM."""
    keys = {spec.key_variable for spec in PROVIDERS.values()}
    prefixes = ("CLOUDIA_", "AWS_", "OPENAI_", "ANTHROPIC_", "REDIS_URL", *keys)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return {**kept, "COLUMNS": "120", **extra}


def cli(
    *arguments: str,
    folder: Path,
    timeout: float = HANGS,
    environment: dict[str, str] | None = None,
    stdin: bytes = b"",
) -> subprocess.CompletedProcess[str]:
    """Run a command of `cloudia` in a folder, without a terminal."""
    variables = clean_environment(**(environment or {}))
    with tempfile.TemporaryDirectory(prefix="said-") as name:
        given, out, err = (Path(name, file) for file in ("in", "out", "err"))
        given.write_bytes(stdin)
        if can_fork(variables):
            command = fork("cloudia", *arguments, environment=variables, folder=folder, stdin=given, out=out, err=err)
            code = command.join(timeout)
        else:
            with given.open() as reads, out.open("w") as says, err.open("w") as complains:
                code = subprocess.run(
                    [*CLI, *arguments],
                    cwd=folder,
                    env=variables,
                    stdin=reads,
                    stdout=says,
                    stderr=complains,
                    timeout=timeout,
                    check=False,
                ).returncode
        return subprocess.CompletedProcess(arguments, code, out.read_text(), err.read_text())


async def eventually(
    condition: Callable[[], Awaitable[Any] | Any], *, seconds: float = HANGS, every: float = 0.02
) -> Any:
    """Wait until `condition` returns something true, and return it."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        await asyncio.sleep(every)


@dataclass
class RunningStack:
    """A stack that runs, and how to talk to it."""

    folder: Path
    run: dict[str, Any]

    def cli(
        self, *arguments: str, timeout: float = HANGS, stdin: bytes = b"", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the stack's folder."""
        return cli(*arguments, folder=self.folder, timeout=timeout, environment=environment, stdin=stdin)

    def json(self, *arguments: str, **options: Any) -> Any:
        """Run a command with `--json` that must succeed, and return its document."""
        done = self.cli(*arguments, "--json", **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @property
    def project(self) -> Project:
        """The stack's folder."""
        return Project(self.folder)

    @property
    def page_url(self) -> str:
        """The address that opens the page now."""
        run = self.project.require_run()
        return self.project.page_url(run)

    @property
    def page_code(self) -> str:
        """The code in that address."""
        return self.page_url.partition("code=")[2]

    def token(self, user: str = "local", **options: Any) -> str:
        """Return a token of a user."""
        return issue_token(self.project.secrets().token, user, **options)

    def client(self, user: str = "local", **options: Any) -> Client:
        """Return a client of a user."""
        return Client(self.run["api_url"], self.run["websocket_url"], self.token(user), **options)

    @property
    def settings(self) -> Settings:
        """The settings of the stack's own parts."""
        return self.project.settings_of(self.project.require_run())


def elsewhere(settings: Settings) -> dict[str, str]:
    """Return the environment in which a folder where nothing runs finds a stack's engine, with its credentials."""
    return {
        "AWS_ENDPOINT_URL": settings.aws_endpoint_url,
        "AWS_ACCESS_KEY_ID": settings.aws_access_key_id,
        "AWS_SECRET_ACCESS_KEY": settings.aws_secret_access_key,
    }


def start_stack(folder: Path, *arguments: str, **environment: str) -> RunningStack:
    """Start a stack in a folder. Whoever asks stops it."""
    done = cli("up", "--detach", "--json", *arguments, folder=folder, environment=environment)
    assert done.returncode == 0, done.stderr
    return RunningStack(folder, json.loads(done.stdout))


def stop_stack(stack: RunningStack) -> None:
    """Stop a stack, and prove that nothing is left of it."""
    done = stack.cli("down")
    assert done.returncode == 0, done.stderr


class Cloud(CloudOfSettings):
    """A provisioned cloud of a test's own, on the engine and the Redis of the running stack."""

    def __init__(self, settings: Settings, secrets: dict[str, str]) -> None:
        super().__init__(settings)
        self.secrets = secrets

    def environment(self) -> dict[str, str]:
        """Return the environment of a process that works in this cloud."""
        return clean_environment(**to_environment(self.settings), PYTHONUNBUFFERED="1")

    def token(self, user: str = "alice", **options: Any) -> str:
        """Return a token of a user."""
        return issue_token(self.secrets["token"], user, **options)

    def accept(self, content: str = "hello", *, user: str = "alice", **given: Any) -> QueuedJob:
        """Record a new message as `POST /messages` does, without its queue. `given` is more for `Intake.accept`."""
        fields = {"conversation_id": None, "session_id": None, "idempotency_key": None}
        trace = {"traceparent": telemetry.new_traceparent()}
        job, unsent = self.intake.accept(user_id=user, content=content, **{**fields, **trace, **given})
        assert unsent
        return job


_numbers = itertools.count(1)


def make_cloud(stack: RunningStack, **changes: Any) -> Cloud:
    """Provision a cloud. `changes` are settings."""
    settings = stack.settings.changed(
        stack_name=f"test{next(_numbers)}",
        **{"llm_model": "sim-1", "worker_poll_seconds": 1, **changes},
    )
    secrets = {"token": "token-secret-of-32-bytes-or-more!", "session": "session-secret-of-32-bytes-or-more"}
    cloud = Cloud(settings, secrets)
    list(provision(cloud.aws, cloud.stack, secret_values(cloud.stack, settings, secrets)))
    return cloud


@asynccontextmanager
async def child(module: str, environment: dict[str, str], log: Path) -> AsyncIterator[Child]:
    """Run `python -m module` until the block ends; its output goes to `log`."""
    process: Child
    if can_fork(environment):
        process = fork(module, environment=environment, folder=Path.cwd(), out=log, err=log)
    else:
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), HANGS)
