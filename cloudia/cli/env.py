"""`cloudia env`: what other tools need to talk to the stack that runs here, as variables of their own names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cloudia.cli.output import STATE, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudia.settings import Settings

_OVERRIDING = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN")
"""What the SDKs of AWS would take before a key, or beside it."""


def env(
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what other tools need to talk to the stack of this folder, for `eval "$(cloudia env)"`.

    That is for aws, boto3, redis-cli -u "$REDIS_URL", OpenTelemetry's SDKs where there is a collector and, where the LLM is the
    simulated one, the SDKs of providers. The values are secrets. A shell keeps them when the stack has ended; cloudia itself
    passes over them, unless they were changed.

    The AWS CLI reads AWS_ENDPOINT_URL since 2.13, its version 1 not for sqs: give it --endpoint-url "$AWS_ENDPOINT_URL".
    """
    from cloudia.local.collector import variables_for  # noqa: PLC0415 - lazy
    from cloudia.local.exported import EXPORTED, mark  # noqa: PLC0415 - lazy
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy
    from cloudia.providers import SIMULATED  # noqa: PLC0415 - lazy

    STATE.json = json
    project = find_project()
    run = project.require_run()
    variables = _variables(project.settings_of(run), simulated=run.llm == SIMULATED)
    if run.urls.collector_url:
        variables |= variables_for(run.urls.collector_url, project.secrets().collector)
    variables[EXPORTED] = mark(variables)
    unset = _OVERRIDING if "AWS_ACCESS_KEY_ID" in variables else ()
    if json:
        print_json({"variables": variables, "unset": unset})
    else:
        _print(variables, unset)


def _variables(settings: Settings, *, simulated: bool) -> dict[str, str]:
    """Return them. The credentials of an engine that is the user's own are left to the user, and so is a real provider."""
    from cloudia.providers import PROVIDERS  # noqa: PLC0415 - lazy

    variables = {
        "AWS_ENDPOINT_URL": settings.aws_endpoint_url,
        "AWS_REGION": settings.aws_region,
        "AWS_DEFAULT_REGION": settings.aws_region,  # boto3 reads no other.
        "AWS_ACCESS_KEY_ID": settings.aws_access_key_id,
        "AWS_SECRET_ACCESS_KEY": settings.aws_secret_access_key,
        "REDIS_URL": settings.redis_url,
    }
    for spec in PROVIDERS.values() if simulated else ():
        account = settings.accounts[spec.name]
        if spec.base_url_variable:  # A key without it would go to the vendor itself.
            variables |= {spec.base_url_variable: account.base_url, spec.key_variable: account.api_key}
    return {name: value for name, value in variables.items() if value}


def _print(variables: Mapping[str, str], unset: tuple[str, ...]) -> None:
    """Print them for a POSIX shell."""
    import shlex  # noqa: PLC0415 - lazy

    if unset:
        print(f"unset {' '.join(unset)}")  # noqa: T201 - the data
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")  # noqa: T201 - the data
