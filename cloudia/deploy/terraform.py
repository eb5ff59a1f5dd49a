"""What Terraform is told of the stack: `stack.json`, which the module in `deploy/terraform` reads. No I/O.

The name of the stack stands in it as `${name}`, which Terraform's `templatefile` fills in. So one file serves every stack.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudia.deploy.zips.functions import RUNTIME
from cloudia.settings import SETTINGS, dotted
from cloudia.stack import Parameter, Queue, Stack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudia.settings import Setting
    from cloudia.stack import Grant, Table

__all__ = ["stack_json"]

_NAME = "${name}"
_PARTS = frozenset({"functions", "worker", "gateway"})
_OF_THE_MODULE = frozenset(
    {"stack_name", "aws_region", "redis_url", "gateway_host", "gateway_port", "worker_probe_host", "worker_probe_port"}
)
"""What follows from where the parts are, and is not for the user to say."""


def stack_json() -> str:
    """Return the text of `stack.json`: the same for the same definition."""
    stack = Stack(_NAME)
    document = {
        "queues": {queue.name: _queue(queue) for queue in stack.queues},
        "tables": {table.name: _table(table) for table in stack.tables},
        "parameters": {parameter.name.rsplit("/", 1)[1]: _parameter(parameter) for parameter in stack.parameters},
        "functions": {
            function.name: {
                "name": stack.function_name(function.name),
                "handler": f"cloudia.functions.{function.name}.handler",
                "memory_mb": function.memory_mb,
                "timeout_seconds": function.timeout_seconds,
                "publishes": function.publishes,
                "grants": _grants(function.grants),
            }
            for function in stack.functions
        },
        "runtime": RUNTIME,
        "log_retention_days": stack.log_retention_days,
        "routes": {f"{route.method} {route.path}": route.function for route in stack.routes},
        "cors": {
            "methods": stack.cors.methods,
            "headers": stack.cors.headers,
            "exposed_headers": stack.cors.exposed_headers,
            "max_age_seconds": stack.cors.max_age_seconds,
        },
        "services": {service.name: {"grants": _grants(service.grants)} for service in (stack.worker, stack.gateway)},
        "settings": {
            dotted(name): {
                "variable": setting.variables[0],
                "parts": [each for each in setting.readers if each in _PARTS],
            }
            for name, setting in SETTINGS.items()
            if _is_told(setting)
        },
    }
    return json.dumps(document, indent=2) + "\n"


def _is_told(setting: Setting) -> bool:
    """Tell whether a deployment may say what a setting is. Secrets are in SSM, and never in an environment."""
    return not setting.secret and setting.name not in _OF_THE_MODULE and not _PARTS.isdisjoint(setting.readers)


def _queue(queue: Queue) -> dict[str, Any]:
    return {
        "dead_letters": queue.dead_letters,
        "max_receive_count": queue.max_receive_count,
        "visibility_seconds": queue.visibility_seconds,
        "retention_seconds": queue.retention_seconds,
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "partition_key": table.partition_key,
        "sort_key": table.sort_key,
        "ttl_attribute": table.ttl_attribute,
        "indexes": {
            index.name: {
                "partition_key": index.partition_key,
                "sort_key": index.sort_key,
                "projects": index.projects,
            }
            for index in table.indexes
        },
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {"name": parameter.name, "description": parameter.description}


def _grants(grants: Iterable[Grant]) -> list[dict[str, Any]]:
    """Return grants with the end of the resource's ARN, after the account.

    https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
    """
    return [{"service": each.resource.service, "resource": _resource(each), "actions": each.actions} for each in grants]


def _resource(grant: Grant) -> str:
    name = grant.resource.name
    if isinstance(grant.resource, Queue):
        return name
    if isinstance(grant.resource, Parameter):
        return f"parameter{name}"  # Its name begins with a slash.
    return f"table/{name}/index/{grant.index.name}" if grant.index else f"table/{name}"
