"""The functions in the engine: their zips in its Lambda, behind its HTTP API. Run twice, it changes nothing."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from cloudia.cloud.aws import call, error_code, is_missing
from cloudia.deploy.change import Change
from cloudia.deploy.http_api import API_ID_TAG
from cloudia.deploy.zips.functions import RUNTIME, build_functions
from cloudia.errors import UnavailableError
from cloudia.settings import public_environment
from cloudia.sim.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cloudia.cloud.aws import Aws
    from cloudia.deploy.zips.functions import FunctionZip
    from cloudia.settings import Settings
    from cloudia.stack import Stack

__all__ = ["deploy", "function_environment", "remove"]

_ROLE = "arn:aws:iam::000000000000:role/cloudia-functions"
"""An engine asks for one and looks at none."""
_MEMORY_MB = 256
_TIMEOUT_SECONDS = (
    29  # an HTTP API waits for 30: https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
)
_SETTLED_SECONDS = 30.0
_LOOK_SECONDS = 0.05
_READ_BY_FUNCTIONS = tuple(f"CLOUDIA_{table}_" for table in ("STACK", "AWS", "AUTH", "LIMITS", "LOG"))
_STAGE = "$default"
_UNGUARDED = "health"
_SERVER_ERROR = 500
_NOT_FOUND = frozenset({"NotFoundException", "ResourceNotFoundException"})


def function_environment(settings: Settings) -> dict[str, str]:
    """Return the variables of a function: what it reads, and no secret; it asks SSM for those."""
    return {name: value for name, value in public_environment(settings).items() if name.startswith(_READ_BY_FUNCTIONS)}


def deploy(aws: Aws, stack: Stack, settings: Settings) -> Iterator[Change]:
    """Build the zips, bring Lambda and the HTTP API into step with them, and yield each resource."""
    zips = build_functions(stack)
    functions = _Functions(aws, function_environment(settings))
    arns = {}
    for each in zips:
        change, arns[each.name] = functions.provision(stack.function_name(each.name), each)
        yield change
    for each in zips:
        functions.settle(stack.function_name(each.name))
    yield _HttpApi(aws, stack).provision(arns, _origins(settings))
    _check_answers(aws, stack.function_name(_UNGUARDED))


def remove(aws: Aws, stack: Stack) -> Iterator[Change]:
    """Delete what `deploy` made and what its functions logged; its Lambda processes end. Yield each resource that was there."""
    if _is_deleted(aws.http_apis.delete_api, ApiId=stack.name):
        yield Change("api", stack.name, "deleted")
    for name in map(stack.function_name, stack.functions):
        if _is_deleted(aws.lambda_.delete_function, FunctionName=name):
            yield Change("function", name, "deleted")
    for group in stack.log_groups:
        if _is_deleted(aws.logs.delete_log_group, logGroupName=group):
            yield Change("log_group", group, "deleted")


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
            return _last_line(json.loads(line)["exception"])
        except (ValueError, TypeError, LookupError):
            continue
    return ""


def _last_line(text: object) -> str:
    return (str(text).strip().splitlines() or [""])[-1][:300]


def _origins(settings: Settings) -> list[str]:
    """Return where the web page comes from: the edge, by the names that it answers to."""
    return [f"http://{host}:{settings.api_port}" for host in (LOOPBACK, "localhost")]


class _Functions:
    def __init__(self, aws: Aws, environment: Mapping[str, str]) -> None:
        self._lambda = aws.lambda_
        self._environment = dict(environment)

    def provision(self, name: str, wanted: FunctionZip) -> tuple[Change, str]:
        """Return what was done, and the function's ARN."""
        configuration: dict[str, Any] = {
            "Runtime": RUNTIME,
            "Handler": wanted.handler,
            "Timeout": _TIMEOUT_SECONDS,
            "MemorySize": _MEMORY_MB,
            "Environment": {"Variables": self._environment},
        }
        found = _found(self._lambda.get_function_configuration, FunctionName=name)
        if found is None:
            made = call(
                self._lambda.create_function,
                FunctionName=name,
                Role=_ROLE,
                Code={"ZipFile": wanted.data},
                **configuration,
            )
            return Change("function", name, "created"), made["FunctionArn"]
        drift = []
        if found["CodeSha256"] != wanted.code_sha256:
            call(self._lambda.update_function_code, FunctionName=name, ZipFile=wanted.data)
            self.settle(name)
            drift.append("code")
        changed = [key for key, value in configuration.items() if found.get(key) != value]
        if changed:
            call(self._lambda.update_function_configuration, FunctionName=name, **configuration)
        drift += changed
        return Change("function", name, "updated" if drift else "unchanged", tuple(drift)), found["FunctionArn"]

    def settle(self, name: str) -> None:
        """Wait until a function can be called."""
        deadline = time.monotonic() + _SETTLED_SECONDS
        while True:
            found = call(self._lambda.get_function_configuration, FunctionName=name)
            if found.get("State") == "Active" and found.get("LastUpdateStatus") != "InProgress":
                return
            if found.get("State") == "Failed" or time.monotonic() > deadline:
                raise UnavailableError(
                    f"the function {name} does not come up: {found.get('StateReason') or 'no reason'}"
                )
            time.sleep(_LOOK_SECONDS)


class _HttpApi:
    """One HTTP API with one stage, `$default`, so that its paths are those of the routes."""

    def __init__(self, aws: Aws, stack: Stack) -> None:
        self._api = aws.http_apis
        self._stack = stack

    def provision(self, arns: Mapping[str, str], origins: list[str]) -> Change:
        cors = {
            "AllowOrigins": origins,
            "AllowMethods": sorted({route.method for route in self._stack.routes}),
            "AllowHeaders": ["authorization", "content-type", "traceparent"],
            "ExposeHeaders": ["retry-after"],
            "MaxAge": 600,
        }
        found = _found(self._api.get_api, ApiId=self._stack.name)
        if found is None:
            self._create(arns, cors)
            return Change("api", self._stack.name, "created")
        drift = []
        if {name: found.get("CorsConfiguration", {}).get(name) for name in cors} != cors:
            drift.append("cors")
        if self._targets() != {f"{route.method} {route.path}": arns[route.function] for route in self._stack.routes}:
            drift.append("routes")
        if drift:
            # Its id is its name, so nobody sees that it is another one.
            call(self._api.delete_api, ApiId=self._stack.name)
            self._create(arns, cors)
        return Change("api", self._stack.name, "updated" if drift else "unchanged", tuple(drift))

    def _create(self, arns: Mapping[str, str], cors: Mapping[str, Any]) -> None:
        api_id = call(
            self._api.create_api,
            Name=self._stack.name,
            ProtocolType="HTTP",
            CorsConfiguration=cors,
            Tags={API_ID_TAG: self._stack.name},
        )["ApiId"]
        targets = {}
        for function, arn in arns.items():
            made = call(
                self._api.create_integration,
                ApiId=api_id,
                IntegrationType="AWS_PROXY",
                IntegrationUri=arn,
                PayloadFormatVersion="2.0",
            )
            targets[function] = f"integrations/{made['IntegrationId']}"
        for route in self._stack.routes:
            key = f"{route.method} {route.path}"
            call(self._api.create_route, ApiId=api_id, RouteKey=key, Target=targets[route.function])
        call(self._api.create_stage, ApiId=api_id, StageName=_STAGE, AutoDeploy=True)

    def _targets(self) -> dict[str, str]:
        """Return the functions' ARNs by route key."""
        api_id = self._stack.name
        integrations = call(self._api.get_integrations, ApiId=api_id)["Items"]
        arns = {f"integrations/{each['IntegrationId']}": each["IntegrationUri"] for each in integrations}
        routes = call(self._api.get_routes, ApiId=api_id)["Items"]
        return {each["RouteKey"]: arns.get(each.get("Target", ""), "") for each in routes}


def _is_deleted(method: Callable[..., Any], **arguments: Any) -> bool:
    """Call what deletes something. Return whether that was there."""
    return _found(method, **arguments) is not None


def _found(method: Callable[..., Any], **arguments: Any) -> Any:
    """Return what a call returns, None where what it names is not there."""
    try:
        return call(method, **arguments)
    except UnavailableError as error:
        if is_missing(error):
            return None
        raise
    except ClientError as error:
        if error_code(error) in _NOT_FOUND:
            return None
        raise
