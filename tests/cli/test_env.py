"""`cloudia env`: tools that are not ours talk to the stack with what it prints, and with nothing else."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.patience import HANGS
from tests.support import RunningStack, cli

if TYPE_CHECKING:
    from pathlib import Path

_FOR_UV = ("HOME", "SSL_CERT_FILE", "PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "HTTP_PROXY", "HTTPS_PROXY")
_BOTO3 = "import boto3; print(*boto3.client('sqs').list_queues()['QueueUrls'])"
_OPENAI = """
import openai
messages = [{'role': 'user', 'content': 'hi [[words:3]]'}]
print(openai.OpenAI().chat.completions.create(model='sim-1', messages=messages).choices[0].message.content)
"""


def in_a_shell(stack: RunningStack, *command: str, before: str = "") -> str:
    """Run a command in a shell that has nothing but what `cloudia env` printed."""
    printed = stack.cli("env").stdout
    script = f'{before}\neval "$0"\nexec "$@"'
    shell = ["/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "sh", "-c", script, printed, *command]
    done = subprocess.run(shell, check=False, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_boto3(stack: RunningStack) -> None:
    """Plain boto3 finds the engine, also where a profile is set that is not there."""
    seen = in_a_shell(stack, sys.executable, "-c", _BOTO3, before="export AWS_PROFILE=none AWS_SESSION_TOKEN=old")
    assert "cloudia-jobs.fifo" in seen


def test_redis_cli(stack: RunningStack) -> None:
    """redis-cli is let in, and may not change the server."""
    if not shutil.which("redis-cli", path="/usr/bin:/bin"):
        pytest.skip("there is no redis-cli on this machine")
    said = 'redis-cli -u "$REDIS_URL" --no-auth-warning'
    assert in_a_shell(stack, "sh", "-c", f"{said} ping").strip() == "PONG"
    for command in ("config set dir /tmp", "module list", "shutdown nosave", "debug sleep 0", "acl list", "flushall"):
        refused = in_a_shell(stack, "sh", "-c", f"{said} {command}")
        assert "NOPERM" in refused or "not allowed" in refused, command


def test_the_official_sdk(stack: RunningStack) -> None:
    """OpenAI's SDK is answered by the simulated provider."""
    assert in_a_shell(stack, sys.executable, "-c", _OPENAI).strip()


@pytest.mark.long
def test_the_aws_cli(stack: RunningStack) -> None:
    """It lists the tables, and the queues with the endpoint named once more: version 1 has SQS's hosts in a table."""
    aws = (sys.executable, "-m", "uv", "tool", "run", "--quiet", "--from", "awscli==1.46.3", "aws")
    before = "\n".join(f"export {name}={shlex.quote(os.environ[name])}" for name in _FOR_UV if name in os.environ)
    tables = in_a_shell(stack, *aws, "dynamodb", "list-tables", before=before)
    assert "cloudia-jobs" in json.loads(tables)["TableNames"]
    queues = in_a_shell(
        stack, *aws, "--endpoint-url", stack.run["aws_endpoint_url"], "sqs", "list-queues", before=before
    )
    assert any(url.endswith("/cloudia-jobs.fifo") for url in json.loads(queues)["QueueUrls"])


def test_as_json(stack: RunningStack) -> None:
    """For programs it is one document."""
    told = stack.json("env")
    assert told["variables"]["AWS_ENDPOINT_URL"] == stack.run["aws_endpoint_url"]
    assert told["variables"]["AWS_ACCESS_KEY_ID"] == stack.project.secrets().access_key_id
    assert told["variables"]["REDIS_URL"] == stack.settings.redis_url
    assert {"AWS_PROFILE", "AWS_SESSION_TOKEN"} <= set(told["unset"])


def test_they_are_no_choice_for_another_stack(stack: RunningStack, tmp_path: Path) -> None:
    """In a shell that has them, another folder's stack has foundations of its own; what was changed since is the user's."""
    variables = stack.json("env")["variables"]

    def sources(**changed: str) -> dict[str, str]:
        told = json.loads(cli("config", "--json", folder=tmp_path, environment={**variables, **changed}).stdout)
        return {row["name"]: row["source"] for row in told["settings"]}

    assert set(sources().values()) == {"default"}
    chosen = sources(REDIS_URL="redis://127.0.0.1:1/0")
    assert {name for name, source in chosen.items() if source == "environment"} == {"redis.url"}


def test_where_nothing_runs(tmp_path: Path) -> None:
    """There is nothing to print."""
    assert cli("env", folder=tmp_path).returncode == 3


@pytest.mark.parametrize("verb", [("status", "--json"), ("config",), ("status",), ("doctor",), ("logs",)])
def test_no_other_verb_shows_them(stack: RunningStack, verb: tuple[str, ...]) -> None:
    """What opens the engine and Redis is printed by `env` alone; not even with its variables set by another verb."""
    variables = stack.json("env")["variables"]
    secrets = stack.project.secrets()
    said = stack.cli(*verb, **variables)
    for hidden in (secrets.redis, secrets.access_key_id, secrets.secret_access_key, secrets.provider):
        assert hidden not in said.stdout + said.stderr
        assert hidden not in json.dumps(stack.run)
