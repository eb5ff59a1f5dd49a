"""Provisioning of parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from cloudia.cloud.aws import call, error_code
from cloudia.deploy.change import Change
from cloudia.deploy.lookup import found

if TYPE_CHECKING:
    from cloudia.cloud.aws import Aws
    from cloudia.stack import Parameter

__all__ = ["Parameters"]


class Parameters:
    """Brings parameters into step."""

    def __init__(self, aws: Aws) -> None:
        self._ssm = aws.ssm

    def provision(self, parameter: Parameter, value: str, *, replace: bool) -> Change:
        """Return what was done. A value that is there already is kept unless it is to be replaced."""
        there = self._get(parameter)
        if there is None:
            if self._put(parameter, value, overwrite=False):
                return Change("parameter", parameter.name, "created")
            there = self._get(parameter) or {}  # Somebody else has made it at the same moment.
        wanted = {"Value": value if replace else there.get("Value", value), "Type": "SecureString"}
        drift = tuple(name for name, each in wanted.items() if there.get(name) != each)
        if drift:
            self._put(parameter, wanted["Value"], overwrite=True)
        return Change("parameter", parameter.name, "updated" if drift else "unchanged", drift)

    def destroy(self, parameter: Parameter) -> Change:
        """Delete a parameter."""
        deleted = found(self._ssm.delete_parameter, Name=parameter.name) is not None
        return Change("parameter", parameter.name, "deleted" if deleted else "absent")

    def _get(self, parameter: Parameter) -> dict[str, Any] | None:
        there = found(self._ssm.get_parameter, Name=parameter.name, WithDecryption=True)
        return dict(there["Parameter"]) if there else None

    def _put(self, parameter: Parameter, value: str, *, overwrite: bool) -> bool:
        """Write a parameter. Return False where there is one that is not to be overwritten."""
        try:
            call(
                self._ssm.put_parameter,
                Name=parameter.name,
                Description=parameter.description,
                Value=value,
                Type="SecureString",
                Overwrite=overwrite,
            )
        except ClientError as error:
            if error_code(error) != "ParameterAlreadyExists":
                raise
            return False
        return True
