"""Provisioning: brings the cloud into the state that `cloudia.stack` defines. Run twice, it changes nothing.

`python -m cloudia.deploy.provision` does it for the environment's settings and prints the changes as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from cloudia.cloud.aws import Aws, call, error_code, is_missing
from cloudia.deploy.change import Change
from cloudia.errors import CloudiaError, UnavailableError
from cloudia.settings import from_environment
from cloudia.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloudia.settings import Settings
    from cloudia.stack import Parameter, Queue, Table

__all__ = ["destroy", "provision", "secret_values"]

_ACTIVE_SECONDS = 60.0


def secret_values(stack: Stack, settings: Settings, own: Mapping[str, str]) -> dict[str, str]:
    """Return the value of each parameter that is to exist. `own` are the stack's secrets: `token` and `session`."""
    values = {
        stack.token_secret.name: own.get("token", ""),
        stack.session_secret.name: own.get("session", ""),
        stack.openai_api_key.name: settings.openai_api_key,
        stack.anthropic_api_key.name: settings.anthropic_api_key,
    }
    return {name: value for name, value in values.items() if value}


def provision(
    aws: Aws, stack: Stack, secrets: Mapping[str, str], *, keep: frozenset[str] = frozenset()
) -> Iterator[Change]:
    """Create what is missing, bring back what drifted; yield each resource.

    `secrets` are values by parameter name. Those named in `keep` are made where there are none, and never replaced.
    """
    for table in stack.tables:
        yield _Tables(aws).provision(table)
    arns: dict[str, str] = {}
    for queue in stack.queues:
        change, arns[queue.name] = _Queues(aws).provision(queue, arns)
        yield change
    for parameter in stack.parameters:
        if parameter.name in secrets:
            yield _Parameters(aws).provision(parameter, secrets[parameter.name], replace=parameter.name not in keep)


def destroy(aws: Aws, stack: Stack) -> Iterator[Change]:
    """Delete exactly what `provision` makes; yield each resource. What `lambdas.deploy` makes, `lambdas.remove` deletes."""
    for queue in reversed(stack.queues):
        yield _Queues(aws).destroy(queue)
    for table in stack.tables:
        yield _Tables(aws).destroy(table)
    for parameter in stack.parameters:
        yield _Parameters(aws).destroy(parameter)


class _Queues:
    def __init__(self, aws: Aws) -> None:
        self._sqs = aws.sqs

    def provision(self, queue: Queue, arns: Mapping[str, str]) -> tuple[Change, str]:
        wanted = queue.attributes(arns[queue.dead_letters] if queue.dead_letters else None)
        url = self._url(queue)
        if url is None:
            url = call(self._sqs.create_queue, QueueName=queue.name, Attributes=wanted)["QueueUrl"]  # type: ignore[arg-type]
            return Change("queue", queue.name, "created"), self._attributes(url)["QueueArn"]
        found = self._attributes(url)
        drift = tuple(name for name, value in wanted.items() if not _same(found.get(name), value))
        if drift:
            # FifoQueue is set at creation and cannot change: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
            changed = {name: wanted[name] for name in drift}
            call(self._sqs.set_queue_attributes, QueueUrl=url, Attributes=changed)  # type: ignore[arg-type]
        return Change("queue", queue.name, "updated" if drift else "unchanged", drift), found["QueueArn"]

    def destroy(self, queue: Queue) -> Change:
        url = self._url(queue)
        if url is None:
            return Change("queue", queue.name, "absent")
        call(self._sqs.delete_queue, QueueUrl=url)
        return Change("queue", queue.name, "deleted")

    def _url(self, queue: Queue) -> str | None:
        try:
            return call(self._sqs.get_queue_url, QueueName=queue.name)["QueueUrl"]
        except UnavailableError as error:
            if is_missing(error):
                return None
            raise

    def _attributes(self, url: str) -> dict[str, str]:
        answer = call(self._sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["All"])
        return {str(name): value for name, value in answer["Attributes"].items()}


def _same(found: str | None, wanted: str) -> bool:
    """Compare attributes; a policy is JSON, and engines differ in how they write its numbers."""
    if found is None or not wanted.startswith("{"):
        return found == wanted
    left, right = json.loads(found), json.loads(wanted)
    return {name: str(value) for name, value in left.items()} == {name: str(value) for name, value in right.items()}


class _Tables:
    def __init__(self, aws: Aws) -> None:
        self._db = aws.dynamodb

    def provision(self, table: Table) -> Change:
        found = self._describe(table)
        if found is None:
            if self._create(table):
                return Change("table", table.name, "created")
            found = self._active(table)
        if not _same_keys(found, table):
            # Nothing but a new table can change a key, and dropping data is not for us to decide.
            raise CloudiaError(
                f"the table {table.name} has other keys than the stack defines",
                hint="Move its data and delete it, or choose another stack name.",
                code="incompatible_table",
            )
        drift = []
        if found.get("BillingModeSummary", {}).get("BillingMode", "PAY_PER_REQUEST") != "PAY_PER_REQUEST":
            call(self._db.update_table, TableName=table.name, BillingMode="PAY_PER_REQUEST")
            drift.append("BillingMode")
        present = {index["IndexName"] for index in found.get("GlobalSecondaryIndexes", [])}
        for index in table.indexes:
            if index.name not in present:
                call(
                    self._db.update_table,
                    TableName=table.name,
                    AttributeDefinitions=_attribute_definitions(table),
                    GlobalSecondaryIndexUpdates=[{"Create": _index(index)}],  # type: ignore[typeddict-item]
                )
                drift.append(f"index {index.name}")
        if self._set_ttl(table):
            drift.append("TimeToLive")
        return Change("table", table.name, "updated" if drift else "unchanged", tuple(drift))

    def destroy(self, table: Table) -> Change:
        if self._describe(table) is None:
            return Change("table", table.name, "absent")
        call(self._db.delete_table, TableName=table.name)
        return Change("table", table.name, "deleted")

    def _describe(self, table: Table) -> Any:
        try:
            return call(self._db.describe_table, TableName=table.name)["Table"]
        except UnavailableError as error:
            if is_missing(error):
                return None
            raise

    def _create(self, table: Table) -> bool:
        """Create a table. Return whether it is ours: False where somebody else has begun to at the same moment."""
        extra: dict[str, Any] = {}
        if table.indexes:
            extra["GlobalSecondaryIndexes"] = [_index(index) for index in table.indexes]
        try:
            call(
                self._db.create_table,
                TableName=table.name,
                AttributeDefinitions=_attribute_definitions(table),
                KeySchema=_key_schema(table.partition_key, table.sort_key),
                BillingMode="PAY_PER_REQUEST",
                **extra,
            )
        except ClientError as error:
            if error_code(error) != "ResourceInUseException":
                raise
            return False
        self._active(table)
        self._set_ttl(table)
        return True

    def _active(self, table: Table) -> Any:
        """Wait until a table can be used. Return its description."""
        deadline = time.monotonic() + _ACTIVE_SECONDS
        while True:
            found = self._describe(table)
            if found and found["TableStatus"] == "ACTIVE":
                return found
            if time.monotonic() > deadline:
                raise UnavailableError(f"the table {table.name} is not active after {_ACTIVE_SECONDS:g} s")
            time.sleep(0.5)

    def _set_ttl(self, table: Table) -> bool:
        """Switch a table's TTL on. Return whether it was off."""
        if not table.ttl_attribute or self._has_ttl(table):
            return False
        try:
            call(
                self._db.update_time_to_live,
                TableName=table.name,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": table.ttl_attribute},
            )
        except ClientError:
            if self._has_ttl(table):  # Somebody else has switched it on at the same moment.
                return False
            raise
        return True

    def _has_ttl(self, table: Table) -> bool:
        found = call(self._db.describe_time_to_live, TableName=table.name)["TimeToLiveDescription"]
        return found.get("TimeToLiveStatus") in {"ENABLED", "ENABLING"}


def _same_keys(found: Any, table: Table) -> bool:
    """Tell whether a table has the keys that the stack defines, in their roles, of strings."""
    keys = {entry["KeyType"]: entry["AttributeName"] for entry in found["KeySchema"]}
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in found["AttributeDefinitions"]}
    wanted = {entry["KeyType"]: entry["AttributeName"] for entry in _key_schema(table.partition_key, table.sort_key)}
    return keys == wanted and all(types[key] == "S" for key in wanted.values())


def _attribute_definitions(table: Table) -> Any:
    names = [table.partition_key, table.sort_key]
    for index in table.indexes:
        names += [index.partition_key, index.sort_key]
    return [{"AttributeName": name, "AttributeType": "S"} for name in dict.fromkeys(name for name in names if name)]


def _key_schema(partition: str, sort: str | None) -> Any:
    keys = [{"AttributeName": partition, "KeyType": "HASH"}]
    return [*keys, {"AttributeName": sort, "KeyType": "RANGE"}] if sort else keys


def _index(index: Any) -> dict[str, Any]:
    return {
        "IndexName": index.name,
        "KeySchema": _key_schema(index.partition_key, index.sort_key),
        "Projection": {"ProjectionType": "ALL"},
    }


class _Parameters:
    def __init__(self, aws: Aws) -> None:
        self._ssm = aws.ssm

    def provision(self, parameter: Parameter, value: str, *, replace: bool) -> Change:
        found = self._get(parameter)
        if found is None:
            if self._put(parameter, value, overwrite=False):
                return Change("parameter", parameter.name, "created")
            found = self._get(parameter) or {}  # Somebody else has made it at the same moment.
        wanted = {"Value": value if replace else found.get("Value", value), "Type": "SecureString"}
        drift = tuple(name for name, each in wanted.items() if found.get(name) != each)
        if drift:
            self._put(parameter, wanted["Value"], overwrite=True)
        return Change("parameter", parameter.name, "updated" if drift else "unchanged", drift)

    def _get(self, parameter: Parameter) -> dict[str, Any] | None:
        try:
            return {**call(self._ssm.get_parameter, Name=parameter.name, WithDecryption=True)["Parameter"]}
        except ClientError as error:
            if error_code(error) != "ParameterNotFound":
                raise
            return None

    def _put(self, parameter: Parameter, value: str, *, overwrite: bool) -> bool:
        """Write a parameter. Return False where there is one that is not to be overwritten."""
        try:
            call(
                self._ssm.put_parameter,
                Name=parameter.name,
                Description=parameter.description,
                Value=value,
                Type="SecureString",
                Overwrite=overwrite,
            )
        except ClientError as error:
            if error_code(error) != "ParameterAlreadyExists":
                raise
            return False
        return True

    def destroy(self, parameter: Parameter) -> Change:
        try:
            call(self._ssm.delete_parameter, Name=parameter.name)
        except ClientError as error:
            if error_code(error) != "ParameterNotFound":
                raise
            return Change("parameter", parameter.name, "absent")
        return Change("parameter", parameter.name, "deleted")


def _functions(aws: Aws, stack: Stack, settings: Settings) -> Iterator[Change]:
    """Put the functions where the settings want them; what `--persist` kept of them goes when the edge has them."""
    from cloudia.deploy import lambdas  # noqa: PLC0415 - only where the functions were zips, or are to be

    if settings.up_functions == "zip":
        yield from lambdas.deploy(aws, stack, settings)
    elif settings.up_engine == "ministack" and settings.up_persist:
        yield from lambdas.remove(aws, stack)


def main() -> int:
    """Provision for the environment's settings; the stack's own secrets are in `CLOUDIA_OWN_SECRETS`, as JSON."""
    settings = from_environment()
    stack = Stack(settings.stack_name)
    own = json.loads(os.environ.get("CLOUDIA_OWN_SECRETS", "{}"))
    try:
        aws = Aws(settings)
        changes = list(provision(aws, stack, secret_values(stack, settings, own)))
        changes += _functions(aws, stack, settings)
    except CloudiaError as error:
        print(json.dumps(error.to_json()), file=sys.stderr)  # noqa: T201 - a command
        return 1
    print(json.dumps([change.to_json() for change in changes]))  # noqa: T201 - a command
    return 0


if __name__ == "__main__":
    sys.exit(main())
