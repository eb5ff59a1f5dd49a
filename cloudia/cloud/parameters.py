"""Parameters: secrets in SSM."""

from __future__ import annotations

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


class Parameters:
    """Decrypted parameters, read again after five minutes so that a rotated secret is taken up without a restart."""

    def __init__(self, ssm: SSMClient) -> None:
        self._ssm = ssm
        self._known: dict[str, tuple[float, str | None]] = {}

    def get(self, parameter: Parameter) -> str | None:
        """Return a parameter's value, None where it does not exist. Blocks; `UnavailableError` where SSM is away."""
        known = self._known.get(parameter.name)
        if known and time.monotonic() - known[0] < _FRESH_SECONDS:
            return known[1]
        try:
            value = call(self._ssm.get_parameter, Name=parameter.name, WithDecryption=True)["Parameter"].get("Value")
        except ClientError as error:
            if error_code(error) != "ParameterNotFound":
                raise
            return None
        telemetry.keep_secrets([value] if value else [])
        self._known[parameter.name] = (time.monotonic(), value)
        return value

    def require(self, parameter: Parameter) -> str:
        """Return a parameter's value. `UnavailableError` where it does not exist."""
        value = self.get(parameter)
        if not value:
            raise UnavailableError(
                f"there is no parameter {parameter.name}", hint="Run `cloudia provision`.", code="not_provisioned"
            )
        return value
