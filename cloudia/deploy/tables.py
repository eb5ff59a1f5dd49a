"""Provisioning of tables, their indexes and their TTL."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from cloudia.cloud.aws import call, error_code
from cloudia.deploy.change import Change
from cloudia.deploy.lookup import found
from cloudia.errors import CloudiaError, UnavailableError

if TYPE_CHECKING:
    from cloudia.cloud.aws import Aws
    from cloudia.stack import Index, Table

__all__ = ["Tables"]

_ACTIVE_SECONDS = 60.0


class Tables:
    """Brings tables into step."""

    def __init__(self, aws: Aws) -> None:
        self._db = aws.dynamodb

    def provision(self, table: Table) -> Change:
        """Return what was done. `CloudiaError` where a table of this name has other keys."""
        there = self._describe(table)
        if there is None:
            if self._create(table):
                return Change("table", table.name, "created")
            there = self._active(table)
        if not _same_keys(there, table):
            # Nothing but a new table can change a key, and dropping data is not for us to decide.
            raise CloudiaError(
                f"the table {table.name} has other keys than the stack defines",
                hint="Move its data and delete it, or choose another stack name.",
                code="incompatible_table",
            )
        drift = []
        if there.get("BillingModeSummary", {}).get("BillingMode", "PAY_PER_REQUEST") != "PAY_PER_REQUEST":
            call(self._db.update_table, TableName=table.name, BillingMode="PAY_PER_REQUEST")
            drift.append("BillingMode")
        present = {index["IndexName"] for index in there.get("GlobalSecondaryIndexes", [])}
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
        """Delete a table."""
        if self._describe(table) is None:
            return Change("table", table.name, "absent")
        call(self._db.delete_table, TableName=table.name)
        return Change("table", table.name, "deleted")

    def _describe(self, table: Table) -> Any:
        there = found(self._db.describe_table, TableName=table.name)
        return there["Table"] if there else None

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
            there = self._describe(table)
            if there and there["TableStatus"] == "ACTIVE":
                return there
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
        described = call(self._db.describe_time_to_live, TableName=table.name)["TimeToLiveDescription"]
        return described.get("TimeToLiveStatus") in {"ENABLED", "ENABLING"}


def _same_keys(there: Any, table: Table) -> bool:
    """Tell whether a table has the keys that the stack defines, in their roles, of strings."""
    keys = {entry["KeyType"]: entry["AttributeName"] for entry in there["KeySchema"]}
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in there["AttributeDefinitions"]}
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


def _index(index: Index) -> dict[str, Any]:
    return {
        "IndexName": index.name,
        "KeySchema": _key_schema(index.partition_key, index.sort_key),
        "Projection": {"ProjectionType": index.projects},
    }
