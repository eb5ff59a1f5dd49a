"""`cloudia provision`: makes the cloud what the stack defines, brings back what drifted, and deletes exactly that."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.cloud.aws import Aws
from cloudia.deploy.lambdas import deploy, remove
from cloudia.deploy.provision import destroy
from cloudia.deploy.zips.archive import archive
from cloudia.stack import Stack
from tests.cli.provider import reply
from tests.cli.terminal import terminal
from tests.support import RunningStack, cli, elsewhere, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_NAME = "byhand"
_KEY = "sk-test-0123456789abcdefWXYZ"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack whose engine takes functions."""
    running = start_stack(tmp_path_factory.mktemp("zipped"), "--functions", "zip", CLOUDIA_LLM_MODEL="sim-1")
    yield running
    stop_stack(running)


@pytest.fixture(scope="module")
def aws(stack: RunningStack) -> Aws:
    """The clients of its engine."""
    return Aws(stack.settings)


@pytest.fixture
def provision(stack: RunningStack, aws: Aws, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Run `cloudia provision` for a stack of another name, from a folder where nothing runs."""

    def run(*arguments: str, **environment: str) -> Any:
        where = {"CLOUDIA_STACK_NAME": _NAME, **elsewhere(stack.settings)}
        return cli("provision", *arguments, folder=tmp_path, environment={**where, **environment})

    yield run
    list(destroy(aws, Stack(_NAME)))


def _actions(done: Any) -> dict[str, tuple[str, list[str]]]:
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) == {"stack_name", "target", "resources"}
    assert all(set(entry) == {"kind", "name", "action", "drift"} for entry in told["resources"])
    return {entry["name"]: (entry["action"], entry["drift"]) for entry in told["resources"]}


def _defined() -> set[str]:
    stack = Stack(_NAME)
    return {
        *(queue.name for queue in stack.queues),
        *(table.name for table in stack.tables),
        *(parameter.name for parameter in stack.parameters),
    }


def _everything(aws: Aws) -> set[str]:
    """Return the name of every queue, table and parameter of the engine."""
    found: set[str] = set()
    for queues in aws.sqs.get_paginator("list_queues").paginate():
        found |= {url.rpartition("/")[2] for url in queues.get("QueueUrls", [])}
    for parameters in aws.ssm.get_paginator("describe_parameters").paginate():
        found |= {entry["Name"] for entry in parameters["Parameters"]}
    for tables in aws.dynamodb.get_paginator("list_tables").paginate():
        found |= set(tables["TableNames"])
    return found


def test_twice_changes_nothing(provision: Callable[..., Any], aws: Aws) -> None:
    """The first run creates each resource of the definition, the second finds all of them unchanged."""
    stack = Stack(_NAME)
    before = _everything(aws)
    made = _actions(provision("--json", OPENAI_API_KEY=_KEY))
    defined = _defined() - {parameter.name for name, parameter in stack.api_keys.items() if name != "openai"}
    assert made == dict.fromkeys(defined, ("created", []))
    assert _everything(aws) - before == defined
    again = _actions(provision("--json", OPENAI_API_KEY=_KEY))
    assert again == dict.fromkeys(defined, ("unchanged", []))


def test_the_running_stack_is_as_defined(stack: RunningStack) -> None:
    """In the folder of a running stack, its own engine is meant, and nothing has drifted there."""
    told = stack.json("provision")
    assert told["stack_name"] == stack.run["stack_name"]
    assert {entry["action"] for entry in told["resources"]} == {"unchanged"}
    reply(stack.run, "As before.")
    assert stack.json("send", "hello")["reply"] == "As before."


def test_drift_is_brought_back_and_named(provision: Callable[..., Any], aws: Aws) -> None:
    """What was changed by hand is brought back, and named; what was deleted is made anew; a secret is not shown."""
    stack = Stack(_NAME)
    provision(OPENAI_API_KEY=_KEY)
    url = aws.sqs.get_queue_url(QueueName=stack.jobs_queue.name)["QueueUrl"]
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "7"})
    off = {"Enabled": False, "AttributeName": "expires_at"}
    aws.dynamodb.update_time_to_live(TableName=stack.jobs.name, TimeToLiveSpecification=off)  # type: ignore[arg-type]
    aws.dynamodb.delete_table(TableName=stack.idempotency.name)
    aws.ssm.put_parameter(Name=stack.api_keys["openai"].name, Value="another", Type="SecureString", Overwrite=True)
    token = aws.ssm.get_parameter(Name=stack.token_secret.name, WithDecryption=True)["Parameter"]["Value"]

    done = provision("--json", OPENAI_API_KEY=_KEY)
    changed = {name: what for name, what in _actions(done).items() if what[0] != "unchanged"}
    assert changed == {
        stack.jobs_queue.name: ("updated", ["VisibilityTimeout"]),
        stack.jobs.name: ("updated", ["TimeToLive"]),
        stack.idempotency.name: ("created", []),
        stack.api_keys["openai"].name: ("updated", ["Value"]),
    }
    assert _KEY not in done.stdout + done.stderr
    attributes = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    assert attributes["VisibilityTimeout"] == str(stack.jobs_queue.visibility_seconds)
    ttl = aws.dynamodb.describe_time_to_live(TableName=stack.jobs.name)["TimeToLiveDescription"]
    assert ttl["TimeToLiveStatus"] == "ENABLED"
    found = aws.ssm.get_parameter(Name=stack.api_keys["openai"].name, WithDecryption=True)["Parameter"]["Value"]
    assert found == _KEY
    assert {what for what, _ in _actions(provision("--json", OPENAI_API_KEY=_KEY)).values()} == {"unchanged"}
    kept = aws.ssm.get_parameter(Name=stack.token_secret.name, WithDecryption=True)["Parameter"]["Value"]
    assert kept == token


def test_secrets_that_others_use_are_kept(provision: Callable[..., Any], aws: Aws) -> None:
    """A token secret that is there already is not replaced by the one of this folder."""
    name = Stack(_NAME).token_secret.name
    aws.ssm.put_parameter(Name=name, Value="theirs", Type="SecureString")
    assert _actions(provision("--json"))[name] == ("unchanged", [])
    assert aws.ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"] == "theirs"


def test_destroy_removes_exactly_these(provision: Callable[..., Any], aws: Aws) -> None:
    """`--destroy --yes` deletes what provisioning makes, and nothing beside it, however alike its name is."""
    aws.sqs.create_queue(QueueName=f"{_NAME}-jobs2.fifo", Attributes={"FifoQueue": "true"})
    aws.ssm.put_parameter(Name=f"/{_NAME}/mine", Value="x", Type="String")
    try:
        before = _everything(aws)
        assert provision().returncode == 0
        gone = _actions(provision("--destroy", "--yes", "--json"))
        assert {name for name, (action, _) in gone.items() if action == "deleted"} == {
            name for name in _defined() if "api-key" not in name
        }
        assert _everything(aws) == before
        assert {action for action, _ in _actions(provision("--destroy", "--yes", "--json")).values()} == {"absent"}
    finally:
        aws.sqs.delete_queue(QueueUrl=aws.sqs.get_queue_url(QueueName=f"{_NAME}-jobs2.fifo")["QueueUrl"])
        aws.ssm.delete_parameter(Name=f"/{_NAME}/mine")


def _deployed(aws: Aws) -> dict[str, set[str]]:
    """Return the names of the engine's functions, HTTP APIs and log groups."""
    return {
        "function": {entry["FunctionName"] for entry in aws.lambda_.list_functions()["Functions"]},
        "api": {entry["ApiId"] for entry in aws.http_apis.get_apis()["Items"]},
        "log_group": {entry["logGroupName"] for entry in aws.logs.describe_log_groups()["logGroups"]},
    }


@pytest.fixture
def neighbours(aws: Aws) -> Iterator[None]:
    """A function, an API and a log group of somebody else, whose names begin like ours."""
    code = {"ZipFile": archive({"app.py": b"def handler(event, context): pass"})}
    name, role = f"{_NAME}-health2", "arn:aws:iam::000000000000:role/mine"
    aws.lambda_.create_function(FunctionName=name, Role=role, Code=code, Runtime="python3.13", Handler="app.handler")
    api_id = aws.http_apis.create_api(Name=_NAME, ProtocolType="HTTP")["ApiId"]
    aws.logs.create_log_group(logGroupName=f"/aws/lambda/{name}")
    yield
    aws.logs.delete_log_group(logGroupName=f"/aws/lambda/{name}")
    aws.http_apis.delete_api(ApiId=api_id)
    aws.lambda_.delete_function(FunctionName=name)


@pytest.mark.usefixtures("neighbours")
def test_destroy_takes_the_functions_too(provision: Callable[..., Any], aws: Aws, stack: RunningStack) -> None:
    """What `up --functions zip` deployed is deleted and named: functions, API, their log groups; nothing beside it."""
    before = _deployed(aws)
    assert provision().returncode == 0
    settings = stack.settings.changed(stack_name=_NAME, api_port=4321)
    try:
        list(deploy(aws, Stack(_NAME), settings))
        made = {kind: names - before[kind] for kind, names in _deployed(aws).items()}
        assert made["api"] == {_NAME}
        assert made["log_group"] == {f"/aws/lambda/{_NAME}-health"}  # Deploying calls this one.
        assert len(made["function"]) == len({route.function for route in Stack(_NAME).routes})
        done = provision("--destroy", "--yes", "--json")
        assert done.returncode == 0, done.stderr
        gone = {(entry["kind"], entry["name"]) for entry in json.loads(done.stdout)["resources"]}
        assert gone >= {(kind, name) for kind, names in made.items() for name in names}
        assert _deployed(aws) == before
        assert _everything(aws) & _defined() == set()
    finally:
        list(remove(aws, Stack(_NAME)))


def test_destroy_is_never_done_unasked(provision: Callable[..., Any], aws: Aws) -> None:
    """Without `--yes` and without a terminal, nothing is deleted, and the exit code is 2."""
    provision()
    before = _everything(aws)
    for form in ([], ["--json"]):
        refused = provision("--destroy", *form)
        assert refused.returncode == 2
        assert refused.stdout == ""
        assert "--yes" in refused.stderr
    assert _everything(aws) == before


async def test_destroy_asks_in_a_terminal(
    provision: Callable[..., Any], aws: Aws, stack: RunningStack, tmp_path: Path
) -> None:
    """In a terminal it is asked, with what it will delete and where; anything but yes deletes nothing."""
    provision()
    before = _everything(aws)
    endpoint = aws.sqs.meta.endpoint_url
    where = {"CLOUDIA_STACK_NAME": _NAME, **elsewhere(stack.settings)}
    with terminal("provision", "--destroy", folder=tmp_path, **where) as shown:
        asked = await shown.shows("[y/N]")
        assert repr(_NAME) in asked
        assert endpoint in asked
        shown.type("n\n")
        assert await shown.ends() == 130
    assert _everything(aws) == before
    with terminal("provision", "--destroy", folder=tmp_path, **where) as shown:
        await shown.shows("[y/N]")
        shown.type("y\n")
        assert await shown.ends() == 0
        assert f"deleted   queue      {_NAME}-jobs.fifo" in shown.text
        assert shown.coloured
    assert not [name for name in _everything(aws) if _NAME in name]


def test_for_people(provision: Callable[..., Any]) -> None:
    """Piped, each resource is a plain line on stdout; where it was done is said on stderr."""
    done = provision()
    assert done.returncode == 0
    assert f"created   table      {_NAME}-jobs\n" in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr.startswith(f"{_NAME} at http://127.0.0.1:")


@pytest.mark.parametrize(
    ("endpoint", "code", "message"),
    [("nonsense", 2, "'nonsense' is not a URL of AWS"), ("http://127.0.0.1:9", 1, "AWS cannot be reached")],
)
def test_an_engine_that_is_none(endpoint: str, code: int, message: str, tmp_path: Path) -> None:
    """A URL that is none, or where nothing answers, is told in a sentence."""
    refused = cli("provision", "--json", folder=tmp_path, environment={"AWS_ENDPOINT_URL": endpoint})
    assert refused.returncode == code
    assert refused.stdout == ""
    told = json.loads(refused.stderr)["error"]
    assert message in told["message"]
    assert told["hint"]
