"""Provisioning: the cloud becomes what the stack defines, and nothing else is touched."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cloudia.cloud.aws import Aws
from cloudia.deploy.change import Change
from cloudia.deploy.provision import destroy, provision, secret_values
from cloudia.errors import CloudiaError, RefusedError
from cloudia.providers import PROVIDERS
from cloudia.settings import Settings
from cloudia.stack import Parameter, Stack
from tests.patience import HANGS
from tests.support import Cloud, RunningStack, make_cloud


@pytest.fixture(scope="module")
def engine(stack: RunningStack) -> Aws:
    """The engine of the running stack."""
    return make_cloud(stack).aws


def apply(aws: Aws, stack: Stack, **options: Any) -> dict[str, Change]:
    return by_name(provision(aws, stack, secrets(stack), **options))


def by_name(changes: Iterable[Change]) -> dict[str, Change]:
    listed = list(changes)
    found = {change.name: change for change in listed}
    assert len(found) == len(listed)
    return found


def secrets(stack: Stack) -> dict[str, str]:
    settings = Settings().changed(**{f"{name}_api_key": f"key-{name}" for name in PROVIDERS})
    return secret_values(stack, settings, {"token": "t" * 32, "session": "s" * 32})


def names(stack: Stack) -> set[str]:
    """Return all that a stack consists of."""
    return {
        *(queue.name for queue in stack.queues),
        *(table.name for table in stack.tables),
        *(parameter.name for parameter in stack.parameters),
    }


def there(aws: Aws, prefix: str) -> set[str]:
    """Return all that the engine has whose name begins so."""
    found = {url.rsplit("/", 1)[1] for url in aws.sqs.list_queues(QueueNamePrefix=prefix).get("QueueUrls", [])}
    for page in aws.dynamodb.get_paginator("list_tables").paginate():
        found |= {name for name in page["TableNames"] if name.startswith(prefix)}
    for described in aws.ssm.get_paginator("describe_parameters").paginate():
        found |= {entry["Name"] for entry in described["Parameters"] if entry["Name"].startswith(f"/{prefix}")}
    return found


def only(changes: dict[str, Change], *changed: str) -> bool:
    """Tell whether exactly these were changed and the rest was as defined."""
    return {name for name, change in changes.items() if change.action != "unchanged"} == set(changed)


def value_of(aws: Aws, parameter: Parameter) -> str:
    found = aws.ssm.get_parameter(Name=parameter.name, WithDecryption=True)["Parameter"]
    assert found["Type"] == "SecureString"
    return found["Value"]


def test_what_is_missing_is_made_once(engine: Aws) -> None:
    """All is created, then all is unchanged: run twice, it changes nothing."""
    stack = Stack("prov-once")
    first = apply(engine, stack)
    assert set(first) == names(stack) == there(engine, "prov-once")
    assert {change.action for change in first.values()} == {"created"}
    again = apply(engine, stack)
    assert set(again) == names(stack)
    assert only(again)
    assert all(change.drift == () for change in (*first.values(), *again.values()))


def test_what_is_made_is_what_is_defined(engine: Aws) -> None:
    """Queues, keys, index, TTL and secrets on the engine are those of the definition."""
    stack = Stack("prov-exact")
    apply(engine, stack)
    for queue in stack.queues:
        url = engine.sqs.get_queue_url(QueueName=queue.name)["QueueUrl"]
        found = dict(engine.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"])
        wanted = queue.attributes(None)
        assert {name: found.get(name) for name in wanted} == wanted  # type: ignore[call-overload]
        policy = json.loads(found.get("RedrivePolicy", "{}"))
        assert str(policy.get("deadLetterTargetArn", "")).endswith(queue.dead_letters or "")
    for table in stack.tables:
        described = engine.dynamodb.describe_table(TableName=table.name)["Table"]
        keys = {entry["KeyType"]: entry["AttributeName"] for entry in described["KeySchema"]}
        assert keys == {"HASH": table.partition_key, **({"RANGE": table.sort_key} if table.sort_key else {})}
        indexes = [index["IndexName"] for index in described.get("GlobalSecondaryIndexes", [])]
        assert indexes == [index.name for index in table.indexes]
        projections = [index["Projection"]["ProjectionType"] for index in described.get("GlobalSecondaryIndexes", [])]
        assert projections == [index.projects for index in table.indexes]
        ttl: Any = engine.dynamodb.describe_time_to_live(TableName=table.name)["TimeToLiveDescription"]
        assert ttl.get("AttributeName") == table.ttl_attribute
    for parameter in stack.parameters:
        assert value_of(engine, parameter) == secrets(stack)[parameter.name]


def test_a_key_that_nobody_gave_is_not_made(engine: Aws) -> None:
    """Without an API key there is no parameter: an empty one could not be told from a wrong one."""
    stack = Stack("prov-keys")
    values = secret_values(stack, Settings(), {"token": "t", "session": ""})
    assert values == {stack.token_secret.name: "t"}
    made = by_name(provision(engine, stack, values))
    assert stack.token_secret.name in made
    assert not {stack.api_keys["openai"].name, stack.session_secret.name} & there(engine, "/prov-keys")
    assert stack.api_keys["openai"].name not in made


# --- drift -----------------------------------------------------------------------------------------------------------


def test_a_drifted_queue_is_brought_back(engine: Aws) -> None:
    """What was changed by hand is named and set back, and nothing else is touched."""
    stack = Stack("prov-queue")
    apply(engine, stack)
    url = engine.sqs.get_queue_url(QueueName=stack.jobs_queue.name)["QueueUrl"]
    by_hand: Any = {"VisibilityTimeout": "5", "RedrivePolicy": ""}
    engine.sqs.set_queue_attributes(QueueUrl=url, Attributes=by_hand)
    changes = apply(engine, stack)
    assert only(changes, stack.jobs_queue.name)
    change = changes[stack.jobs_queue.name]
    assert (change.kind, change.action) == ("queue", "updated")
    assert set(change.drift) == {"VisibilityTimeout", "RedrivePolicy"}
    assert only(apply(engine, stack))


def test_a_drifted_table_is_brought_back(engine: Aws) -> None:
    """A missing index, a TTL that is off, and capacity that is provisioned are mended; the data stays."""
    stack = Stack("prov-table")
    for table in (stack.conversations, stack.jobs):
        schema: list[Any] = [{"AttributeName": table.partition_key, "KeyType": "HASH"}]
        if table.sort_key:
            schema.append({"AttributeName": table.sort_key, "KeyType": "RANGE"})
        engine.dynamodb.create_table(
            TableName=table.name,
            AttributeDefinitions=[
                {"AttributeName": key, "AttributeType": "S"} for key in (table.partition_key, table.sort_key) if key
            ],
            KeySchema=schema,
            BillingMode="PROVISIONED",
            ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
        )
    engine.dynamodb.put_item(TableName=stack.jobs.name, Item={"job_id": {"S": "kept"}})
    changes = apply(engine, stack)
    assert changes[stack.conversations.name].drift == ("BillingMode", "index by_activity")
    assert changes[stack.jobs.name].drift == ("BillingMode", "index by_state", "TimeToLive")
    assert {changes[table.name].action for table in (stack.conversations, stack.jobs)} == {"updated"}
    assert only(apply(engine, stack))
    assert engine.dynamodb.get_item(TableName=stack.jobs.name, Key={"job_id": {"S": "kept"}})["Item"]


@pytest.mark.parametrize(
    "schema",
    [
        [("other", "HASH", "S")],
        [("conversation_id", "HASH", "S")],
        [("conversation_id", "HASH", "S"), ("other", "RANGE", "S")],
        [("message_id", "HASH", "S"), ("conversation_id", "RANGE", "S")],
        [("conversation_id", "HASH", "S"), ("message_id", "RANGE", "N")],
    ],
)
def test_a_table_with_other_keys_is_left_alone(engine: Aws, schema: list[tuple[str, Any, Any]]) -> None:
    """Keys cannot be changed, and dropping data is not ours to decide: a clear error, and the table as it was."""
    stack = Stack("prov-incompatible")
    engine.dynamodb.create_table(
        TableName=stack.messages.name,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, _, kind in schema],
        KeySchema=[{"AttributeName": name, "KeyType": role} for name, role, _ in schema],
        BillingMode="PAY_PER_REQUEST",
    )
    before = engine.dynamodb.describe_table(TableName=stack.messages.name)["Table"]
    with pytest.raises(CloudiaError) as refused:
        apply(engine, stack)
    assert refused.value.code == "incompatible_table"
    assert stack.messages.name in refused.value.message
    assert refused.value.hint
    assert engine.dynamodb.describe_table(TableName=stack.messages.name)["Table"] == before
    by_name(destroy(engine, stack))


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_a_secret_is_replaced_unless_it_is_kept(engine: Aws) -> None:
    """A new value is written; one that is in `keep` is only made where there is none."""
    stack = Stack("prov-keep")
    token, session = stack.token_secret, stack.session_secret
    keep = frozenset({token.name})
    first = by_name(provision(engine, stack, {token.name: "one", session.name: "one"}, keep=keep))
    assert first[token.name].action == first[session.name].action == "created"
    second = by_name(provision(engine, stack, {token.name: "two", session.name: "two"}, keep=keep))
    assert only(second, session.name)
    assert (second[session.name].action, second[session.name].drift) == ("updated", ("Value",))
    assert (value_of(engine, token), value_of(engine, session)) == ("one", "two")


def test_a_secret_in_the_clear_is_encrypted_with_its_value(engine: Aws) -> None:
    """I6: a parameter that is a plain String becomes a SecureString; one that is kept keeps its value."""
    stack = Stack("prov-clear")
    token, session = stack.token_secret, stack.session_secret
    for parameter in (token, session):
        engine.ssm.put_parameter(Name=parameter.name, Value="old", Type="String")
    changes = by_name(provision(engine, stack, {token.name: "new", session.name: "new"}, keep=frozenset({token.name})))
    assert (changes[token.name].action, changes[token.name].drift) == ("updated", ("Type",))
    assert (changes[session.name].action, changes[session.name].drift) == ("updated", ("Value", "Type"))
    assert (value_of(engine, token), value_of(engine, session)) == ("old", "new")


def test_a_change_shows_no_secret(engine: Aws) -> None:
    """I6: what is printed names the resource, never its value."""
    stack = Stack("prov-quiet")
    shown = [change.to_json() for change in provision(engine, stack, secrets(stack))]
    assert all(set(change) == {"kind", "name", "action", "drift"} for change in shown)
    assert not any(value in json.dumps(shown) for value in secrets(stack).values())


# --- destroying ------------------------------------------------------------------------------------------------------


def test_destroying_removes_exactly_what_was_made(engine: Aws) -> None:
    """A stack whose name begins alike, and what others made beside it, stay; a second time nothing is there."""
    stack, neighbour = Stack("prov-gone"), Stack("prov-gone2")
    apply(engine, stack)
    apply(engine, neighbour)
    engine.sqs.create_queue(QueueName="prov-gone-of-others")
    removed = by_name(destroy(engine, stack))
    assert set(removed) == names(stack)
    assert {change.action for change in removed.values()} == {"deleted"}
    assert there(engine, "prov-gone") == names(neighbour) | {"prov-gone-of-others"}
    assert {change.action for change in destroy(engine, stack)} == {"absent"}
    assert only(apply(engine, neighbour))


def test_a_destroyed_stack_can_be_made_again(engine: Aws) -> None:
    """Destroying half of one is no obstacle either."""
    stack = Stack("prov-back")
    apply(engine, stack)
    removing = destroy(engine, stack)
    for _ in range(4):
        next(removing)
    assert {change.action for change in apply(engine, stack).values()} == {"created", "unchanged"}
    by_name(destroy(engine, stack))
    assert {change.action for change in apply(engine, stack).values()} == {"created"}


# --- at the same moment ----------------------------------------------------------------------------------------------


def test_two_at_once_make_one_stack(cloud: Cloud) -> None:
    """A second `provision` beside the first, which CI may do, ends as well: what the other made is not made again."""
    for round_number in range(4):
        stack = Stack(f"prov-twice{round_number}")
        barrier = threading.Barrier(2)

        def work(own: str, stack: Stack = stack, barrier: threading.Barrier = barrier) -> dict[str, Change]:
            aws = Aws(cloud.settings)
            clients = aws.dynamodb, aws.sqs, aws.ssm  # made before the start
            assert len(clients) == 3
            values = {**secrets(stack), stack.token_secret.name: own}
            barrier.wait()
            return by_name(provision(aws, stack, values, keep=frozenset(values)))

        with ThreadPoolExecutor(2) as pool:
            one, other = pool.map(work, ("one", "other"))
        assert set(one) == set(other) == names(stack)
        assert only(apply(cloud.aws, stack, keep=frozenset(names(stack))))


class Late:
    """A client that is told once, for some methods, what stood there before the other writer came."""

    def __init__(self, client: Any, **answers: Any) -> None:
        self._client, self._answers = client, answers

    def __getattr__(self, name: str) -> Any:
        if name not in self._answers:
            return getattr(self._client, name)
        answer = self._answers.pop(name)

        def before(**_: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        return before


def refused_with(code: str) -> ClientError:
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return ClientError(response, "Any")


@pytest.mark.parametrize(
    "answers",
    [
        {"describe_table": refused_with("ResourceNotFoundException")},
        {
            "describe_time_to_live": {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}},
            "update_time_to_live": refused_with("ValidationException"),  # "TimeToLive is already enabled"
        },
    ],
)
def test_who_comes_second_finds_all_done(cloud: Cloud, answers: dict[str, Any]) -> None:
    """A table, or its TTL, that another one makes between a look and a write is no error and no change of ours."""
    late: Any = Aws(cloud.settings)
    late.__dict__["dynamodb"] = Late(cloud.aws.dynamodb, **answers)
    assert only(by_name(provision(late, cloud.stack, {})))


def test_a_ttl_that_is_refused_is_an_error(cloud: Cloud) -> None:
    """A refusal is taken for another's success only where the TTL is on."""
    cloud.aws.dynamodb.update_time_to_live(
        TableName=cloud.stack.jobs.name, TimeToLiveSpecification={"Enabled": False, "AttributeName": "expires_at"}
    )
    late: Any = Aws(cloud.settings)
    late.__dict__["dynamodb"] = Late(cloud.aws.dynamodb, update_time_to_live=refused_with("AccessDeniedException"))
    with pytest.raises(RefusedError):
        by_name(provision(late, cloud.stack, {}))


@pytest.mark.parametrize("kept", [True, False])
def test_a_kept_secret_is_not_replaced_by_who_came_second(cloud: Cloud, kept: bool) -> None:
    """Two that both find no secret: the first one's stands, or else tokens signed with it would be refused."""
    token = cloud.stack.token_secret
    late: Any = Aws(cloud.settings)
    late.__dict__["ssm"] = Late(cloud.aws.ssm, get_parameter=refused_with("ParameterNotFound"))
    keep = frozenset({token.name}) if kept else frozenset()
    changes = by_name(provision(late, cloud.stack, {token.name: "second"}, keep=keep))
    assert changes[token.name].action == ("unchanged" if kept else "updated")
    assert value_of(cloud.aws, token) == (cloud.secrets["token"] if kept else "second")


# --- as a process ----------------------------------------------------------------------------------------------------


def test_as_a_process_it_prints_its_changes(cloud: Cloud) -> None:
    """`python -m cloudia.deploy.provision` provisions what its environment says, and prints JSON without a secret."""
    environment = {
        **cloud.environment(),
        "CLOUDIA_STACK_NAME": "prov-process",
        "CLOUDIA_OWN_SECRETS": json.dumps({"token": "process-token", "session": "process-session"}),
    }
    done = subprocess.run(
        [sys.executable, "-m", "cloudia.deploy.provision"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=HANGS,
    )
    assert {change["name"] for change in json.loads(done.stdout)} == names(Stack("prov-process"))
    assert done.stderr == ""
    assert "process-token" not in done.stdout
    assert value_of(cloud.aws, Stack("prov-process").token_secret) == "process-token"


def test_as_a_process_it_fails_in_one_line(cloud: Cloud) -> None:
    """An error is one JSON object on stderr, and exit status 1."""
    environment = {**cloud.environment(), "CLOUDIA_AWS_ENDPOINT_URL": "not a url"}
    done = subprocess.run(
        [sys.executable, "-m", "cloudia.deploy.provision"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert json.loads(done.stderr)["error"]["hint"]
