"""Parameters: secrets in SSM."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from cloudia import telemetry
from cloudia.cloud.aws import call, error_code
from cloudia.errors import UnavailableError

if TYPE_CHECKING:
    from types_boto3_ssm import SSMClient

    from cloudia.stack import Parameter

__all__ = ["Parameters"]

_FRESH_SECONDS = 300.0
_RETRY_SECONDS = 10.0
"""How long a value that could not be read again is used without another try: SSM is away, or refuses."""


class Parameters:
    """Decrypted parameters, read again after five minutes so that a rotated secret is taken up without a restart.

    What is known goes on being used while SSM cannot be asked: that is no reason to refuse a token or to fail a job.
    """

    def __init__(self, ssm: SSMClient) -> None:
        self._ssm = ssm
        self._known: dict[str, tuple[float, str]] = {}
        """By name: until when it is fresh, by the monotonic clock, and the value."""

    def get(self, parameter: Parameter) -> str | None:
        """Return a parameter's value, None where it does not exist. Blocks.

        `UnavailableError` where SSM is away or refuses, and the value was never read.
        """
        fresh_until, known = self._known.get(parameter.name, (0.0, None))
        if known is not None and time.monotonic() < fresh_until:
            return known
        try:
            value = self._read(parameter)
        except UnavailableError as error:
            if known is None:
                raise
            telemetry.log("secret not read again", level=logging.WARNING, code=error.code, reason=error.message)
            self._known[parameter.name] = (time.monotonic() + _RETRY_SECONDS, known)
            return known
        if value is None:
            self._known.pop(parameter.name, None)
        else:
            telemetry.keep_secrets([value] if value else [])
            self._known[parameter.name] = (time.monotonic() + _FRESH_SECONDS, value)
        return value

    def _read(self, parameter: Parameter) -> str | None:
        try:
            return call(self._ssm.get_parameter, Name=parameter.name, WithDecryption=True)["Parameter"].get("Value")
        except ClientError as error:
            if error_code(error) != "ParameterNotFound":
                raise
            return None

    def require(self, parameter: Parameter) -> str:
        """Return a parameter's value. `UnavailableError` where it does not exist."""
        value = self.get(parameter)
        if not value:
            raise UnavailableError(
                f"there is no parameter {parameter.name}", hint="Run `cloudia provision`.", code="not_provisioned"
            )
        return value
