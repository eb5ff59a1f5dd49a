"""Provisioning: brings the cloud into the state that `cloudia.stack` defines. Run twice, it changes nothing.

`python -m cloudia.deploy.provision` does it for the environment's settings and prints the changes as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from cloudia.cloud.aws import Aws
from cloudia.deploy.parameters import Parameters
from cloudia.deploy.queues import Queues
from cloudia.deploy.tables import Tables
from cloudia.errors import CloudiaError
from cloudia.settings import from_environment
from cloudia.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloudia.deploy.change import Change
    from cloudia.settings import Settings

__all__ = ["destroy", "provision", "secret_values"]


def secret_values(stack: Stack, settings: Settings, own: Mapping[str, str]) -> dict[str, str]:
    """Return the value of each parameter that is to exist. `own` are the stack's secrets: `token` and `session`."""
    values = {
        stack.token_secret.name: own.get("token", ""),
        stack.session_secret.name: own.get("session", ""),
        **{parameter.name: settings.accounts[name].api_key for name, parameter in stack.api_keys.items()},
    }
    return {name: value for name, value in values.items() if value}


def provision(
    aws: Aws, stack: Stack, secrets: Mapping[str, str], *, keep: frozenset[str] = frozenset()
) -> Iterator[Change]:
    """Create what is missing, bring back what drifted; yield each resource.

    `secrets` are values by parameter name. Those named in `keep` are made where there are none, and never replaced.
    """
    for table in stack.tables:
        yield Tables(aws).provision(table)
    arns: dict[str, str] = {}
    for queue in stack.queues:
        change, arns[queue.name] = Queues(aws).provision(queue, arns)
        yield change
    for parameter in stack.parameters:
        if parameter.name in secrets:
            yield Parameters(aws).provision(parameter, secrets[parameter.name], replace=parameter.name not in keep)


def destroy(aws: Aws, stack: Stack) -> Iterator[Change]:
    """Delete exactly what `provision` makes; yield each resource. What `lambdas.deploy` makes, `lambdas.remove` deletes."""
    for queue in reversed(stack.queues):
        yield Queues(aws).destroy(queue)
    for table in stack.tables:
        yield Tables(aws).destroy(table)
    for parameter in stack.parameters:
        yield Parameters(aws).destroy(parameter)


def _functions(aws: Aws, stack: Stack, settings: Settings) -> Iterator[Change]:
    """Put the functions where the settings want them; what `--persist` kept of them goes when the edge has them."""
    from cloudia.deploy import lambdas  # noqa: PLC0415 - only where the functions were zips, or are to be

    if settings.up_functions == "zip":
        yield from lambdas.deploy(aws, stack, settings)
    elif settings.up_engine == "ministack" and settings.up_persist:
        yield from lambdas.remove(aws, stack)


def _forget_keys(aws: Aws, stack: Stack, settings: Settings) -> Iterator[Change]:
    """Delete a provider's key that an engine has kept from yesterday: today the worker alone has it."""
    if settings.up_engine == "ministack" and settings.up_persist:
        unused = (parameter for name, parameter in stack.api_keys.items() if not settings.accounts[name].api_key)
        done = [Parameters(aws).destroy(parameter) for parameter in unused]
        yield from (change for change in done if change.action == "deleted")


def main() -> int:
    """Provision for the environment's settings; the stack's own secrets are in `CLOUDIA_OWN_SECRETS`, as JSON."""
    settings = from_environment()
    stack = Stack(settings.stack_name, operator=settings.operator_api)
    own = json.loads(os.environ.get("CLOUDIA_OWN_SECRETS", "{}"))
    try:
        aws = Aws(settings)
        changes = list(provision(aws, stack, secret_values(stack, settings, own)))
        changes += [*_forget_keys(aws, stack, settings), *_functions(aws, stack, settings)]
    except CloudiaError as error:
        print(json.dumps(error.to_json()), file=sys.stderr)  # noqa: T201 - a command
        return 1
    print(json.dumps([change.to_json() for change in changes]))  # noqa: T201 - a command
    return 0


if __name__ == "__main__":
    sys.exit(main())
