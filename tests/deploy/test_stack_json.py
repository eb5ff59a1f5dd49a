"""`stack.json`: what Terraform reads is what the stack defines."""

from __future__ import annotations

import json
from pathlib import Path

from cloudia.deploy.terraform import stack_json
from cloudia.settings import SETTINGS
from cloudia.stack import Function, Grant, Service, Stack
from tests.support import cli

COMMITTED = Path(__file__).parents[2] / "deploy/terraform/stack.json"


def _pairs(grants: tuple[Grant, ...]) -> set[tuple[str, str]]:
    return {
        (f"{each.resource.name}/{each.index.name}" if each.index else each.resource.name, action)
        for each in grants
        for action in each.actions
    }


def test_the_committed_file_is_current() -> None:
    """What is committed is what `cloudia build terraform` writes now."""
    assert COMMITTED.read_text() == stack_json(), "Write it anew: cloudia build terraform"


def test_it_says_all_that_the_stack_defines() -> None:
    """Filled in with a name, each resource, route and function of that stack is there, and no other."""
    stack = Stack("mine")
    told = json.loads(stack_json().replace("${name}", "mine"))
    assert "${" not in json.dumps(told)
    assert list(told["queues"]) == [queue.name for queue in stack.queues]
    assert list(told["tables"]) == [table.name for table in stack.tables]
    assert [each["name"] for each in told["parameters"].values()] == [each.name for each in stack.parameters]
    assert told["routes"] == {f"{route.method} {route.path}": route.function for route in stack.routes}
    assert {name: each["name"] for name, each in told["functions"].items()} == {
        function.name: stack.function_name(function.name) for function in stack.functions
    }


def test_each_part_has_its_grants() -> None:
    """A grant is told by service, resource as IAM writes it, and actions; none is lost and none is wider."""
    told = json.loads(stack_json().replace("${name}", "mine"))
    stack = Stack("mine")
    parts: dict[str, Function | Service] = {
        **{function.name: function for function in stack.functions},
        "worker": stack.worker,
        "gateway": stack.gateway,
    }
    listed = {**told["functions"], **told["services"]}
    assert set(listed) == set(parts)
    for name, part in parts.items():
        seen = set()
        for grant in listed[name]["grants"]:
            resource = grant["resource"].removeprefix("table/").removeprefix("parameter").replace("/index/", "/")
            assert "*" not in resource
            seen |= {(resource, action) for action in grant["actions"]}
            assert all(action.startswith(f"{grant['service']}:") for action in grant["actions"])
        assert seen == _pairs(part.grants)


def test_no_secret_is_a_setting_there() -> None:
    """What is secret is in SSM: nobody can put it into an environment, which everybody who may look at a task sees."""
    told = json.loads(stack_json())["settings"]
    secret = {setting.variables[0] for setting in SETTINGS.values() if setting.secret}
    assert not secret & {each["variable"] for each in told.values()}
    assert told["worker.concurrency"] == {"variable": "CLOUDIA_WORKER_CONCURRENCY", "parts": ["worker"]}
    assert "redis.url" not in told, "it may hold a password"


def test_it_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    """The command writes the file, and says in one sentence where it cannot."""
    done = cli("build", "terraform", "--output", "stack.json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "stack.json").read_text() == stack_json()
    refused = cli("build", "terraform", folder=tmp_path)
    assert refused.returncode == 2
    assert "cannot be written" in refused.stderr
