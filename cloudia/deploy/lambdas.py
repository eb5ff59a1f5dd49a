"""The functions in the engine: their zips in its Lambda, behind its HTTP API. Run twice, it changes nothing."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

from cloudia.cloud.aws import call
from cloudia.deploy.change import Change
from cloudia.deploy.lookup import found
from cloudia.deploy.routes import HttpApi
from cloudia.deploy.zips.functions import RUNTIME, build_functions
from cloudia.errors import UnavailableError
from cloudia.hosts import page_origins
from cloudia.settings import to_environment
from cloudia.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from cloudia.cloud.aws import Aws
    from cloudia.deploy.zips.functions import FunctionZip
    from cloudia.settings import Settings
    from cloudia.stack import Function

__all__ = ["deploy", "function_environment", "remove"]

_ROLE = "arn:aws:iam::000000000000:role/cloudia-functions"
"""An engine asks for one and looks at none."""
_SETTLED_SECONDS = 30.0
_LOOK_SECONDS = 0.05
_UNGUARDED = "health"
_SERVER_ERROR = 500


def function_environment(settings: Settings, function: Function) -> dict[str, str]:
    """Return the variables of a function: what it reads. It asks SSM for secrets.

    Beside the engine's key it has the password of Redis, where it is the one that publishes.

    The credentials that a Lambda has by itself are not those of the stack, and on AWS they are those of its role.
    """
    return to_environment(settings if function.publishes else settings.changed(redis_url=""), "functions")


def deploy(aws: Aws, stack: Stack, settings: Settings) -> Iterator[Change]:
    """Build the zips, bring Lambda and the HTTP API into step with them, and yield each resource."""
    zips = build_functions(stack, native_jwks=bool(settings.auth_jwks_url))
    defined = {function.name: function for function in stack.functions}
    functions = _Functions(aws, settings)
    arns = {}
    for each in zips:
        change, arns[each.name] = functions.provision(stack.function_name(each.name), defined[each.name], each)
        yield change
    yield from _remove_functions(aws, Stack(stack.name, operator=True), keep=defined.keys())
    for each in zips:
        functions.settle(stack.function_name(each.name))
    yield HttpApi(aws, stack).provision(arns, page_origins(settings.api_port))
    _check_answers(aws, stack.function_name(_UNGUARDED))


def remove(aws: Aws, stack: Stack) -> Iterator[Change]:
    """Delete what `deploy` made and what its functions logged; its Lambda processes end. Yield each resource that was there."""
    if found(aws.http_apis.delete_api, ApiId=stack.name) is not None:
        yield Change("api", stack.name, "deleted")
    whole = Stack(stack.name, operator=True)  # It may have been deployed with the operator API.
    yield from _remove_functions(aws, whole)
    for group in whole.log_groups:
        if found(aws.logs.delete_log_group, logGroupName=group) is not None:
            yield Change("log_group", group, "deleted")


def _remove_functions(aws: Aws, stack: Stack, keep: Container[str] = ()) -> Iterator[Change]:
    """Delete the functions that are there, but for those to `keep`; yield each."""
    for name in (stack.function_name(function.name) for function in stack.functions if function.name not in keep):
        if found(aws.lambda_.delete_function, FunctionName=name) is not None:
            yield Change("function", name, "deleted")


def _check_answers(aws: Aws, name: str) -> None:
    """Call a function that needs no token, once: it says why it cannot run, and whoever waits for the stack finds it warm."""
    answer = call(aws.lambda_.invoke, FunctionName=name, Payload=b"{}", LogType="Tail")
    said = json.loads(answer["Payload"].read() or b"null")
    if answer.get("FunctionError"):
        raise UnavailableError(f"the function {name} does not run: {_last_line(said.get('errorMessage'))}")
    if said["statusCode"] >= _SERVER_ERROR:
        reason = _reason(base64.b64decode(answer.get("LogResult", "")).decode(errors="replace"))
        raise UnavailableError(f"the function {name} answers {said['statusCode']}: {reason or said['body']}")


def _reason(log: str) -> str:
    """Return why a request failed, as the function's log has it; empty where it does not say."""
    for line in reversed(log.splitlines()):
        try:
            failed = json.loads(line)
            return _last_line(failed.get("reason") or failed["exception"])
        except (ValueError, TypeError, AttributeError, LookupError):
            continue
    return ""


def _last_line(text: object) -> str:
    return (str(text).strip().splitlines() or [""])[-1][:300]


class _Functions:
    def __init__(self, aws: Aws, settings: Settings) -> None:
        self._lambda = aws.lambda_
        self._settings = settings

    def provision(self, name: str, defined: Function, wanted: FunctionZip) -> tuple[Change, str]:
        """Return what was done, and the function's ARN."""
        configuration: dict[str, Any] = {
            "Runtime": RUNTIME,
            "Handler": wanted.handler,
            "Timeout": defined.timeout_seconds,
            "MemorySize": defined.memory_mb,
            "Environment": {"Variables": function_environment(self._settings, defined)},
        }
        there = found(self._lambda.get_function_configuration, FunctionName=name)
        if there is None:
            made = call(
                self._lambda.create_function,
                FunctionName=name,
                Role=_ROLE,
                Code={"ZipFile": wanted.data},
                **configuration,
            )
            return Change("function", name, "created"), made["FunctionArn"]
        drift = []
        if there["CodeSha256"] != wanted.code_sha256:
            call(self._lambda.update_function_code, FunctionName=name, ZipFile=wanted.data)
            self.settle(name)
            drift.append("code")
        changed = [key for key, value in configuration.items() if there.get(key) != value]
        if changed:
            call(self._lambda.update_function_configuration, FunctionName=name, **configuration)
        drift += changed
        return Change("function", name, "updated" if drift else "unchanged", tuple(drift)), there["FunctionArn"]

    def settle(self, name: str) -> None:
        """Wait until a function can be called."""
        deadline = time.monotonic() + _SETTLED_SECONDS
        while True:
            there = call(self._lambda.get_function_configuration, FunctionName=name)
            if there.get("State") == "Active" and there.get("LastUpdateStatus") != "InProgress":
                return
            if there.get("State") == "Failed" or time.monotonic() > deadline:
                raise UnavailableError(
                    f"the function {name} does not come up: {there.get('StateReason') or 'no reason'}"
                )
            time.sleep(_LOOK_SECONDS)
