"""The engine's HTTP API: the routes of the stack, each with its function, and CORS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudia.cloud.aws import call
from cloudia.deploy.change import Change
from cloudia.deploy.http_api import API_ID_TAG
from cloudia.deploy.lookup import found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudia.cloud.aws import Aws
    from cloudia.stack import Stack

__all__ = ["HttpApi"]

_STAGE = "$default"


class HttpApi:
    """One HTTP API with one stage, `$default`, so that its paths are those of the routes."""

    def __init__(self, aws: Aws, stack: Stack) -> None:
        self._api = aws.http_apis
        self._stack = stack

    def provision(self, arns: Mapping[str, str], origins: list[str]) -> Change:
        """Return what was done. `arns` are the functions' by name; pages of the `origins` may call it."""
        cors = self._stack.cors.configuration(origins)
        there = found(self._api.get_api, ApiId=self._stack.name)
        if there is None:
            self._create(arns, cors)
            return Change("api", self._stack.name, "created")
        drift = []
        if {name: there.get("CorsConfiguration", {}).get(name) for name in cors} != cors:
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
