"""The environment of each part: what it reads, what the user's own code may want, and no secret that is another part's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cloudia.local.exported import without_exported
from cloudia.settings import SETTINGS, to_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudia.settings import Reader, Settings

__all__ = ["accounts_named", "inherited", "of_reader", "with_account"]

_ACCOUNTS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"),
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"),
    *("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
)
"""Variables that lead an SDK of AWS to an account: https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html"""


def of_reader(settings: Settings, *readers: Reader) -> dict[str, str]:
    """Return the variables of a part of cloudia's own: of the settings what these readers read, and what is `inherited`.

    A secret that these settings leave out is not inherited either.
    """
    given = to_environment(settings, *readers)
    left_out = {
        variable
        for setting in SETTINGS.values()
        if setting.secret and setting.variables[0] not in given
        for variable in setting.variables
    }
    own = {
        name: value
        for name, value in inherited(*readers).items()
        if not name.startswith("CLOUDIA_") and name not in left_out
    }
    return own | given


def inherited(*readers: Reader) -> dict[str, str]:
    """Return this process's environment without the settings that others alone read: the gateway needs no key of an LLM.

    Nor is in it where the collector of a stack is that `cloudia env` named.
    """
    others = {
        variable
        for setting in SETTINGS.values()
        if not set(readers) & set(setting.readers)
        for variable in setting.variables
    }
    own = without_exported(os.environ)
    return {
        name: value
        for name, value in os.environ.items()
        if name not in others and (name in own or not name.startswith("OTEL_"))
    }


def with_account(environment: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Return a part's environment, without an AWS account of the user's where the settings name a key.

    That key stands in for theirs everywhere, so that code of the user's that names none can reach no account of theirs.
    """
    if not settings.aws_access_key_id:
        return dict(environment)
    no_files = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    own = {
        "AWS_ACCESS_KEY_ID": settings.aws_access_key_id,
        "AWS_SECRET_ACCESS_KEY": settings.aws_secret_access_key,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return {name: value for name, value in environment.items() if name not in _ACCOUNTS} | no_files | own


def accounts_named(variables: Mapping[str, str]) -> list[str]:
    """Return the names of those variables that lead to an AWS account, which a part `with_account` does not get."""
    return [name for name in _ACCOUNTS if variables.get(name)]
