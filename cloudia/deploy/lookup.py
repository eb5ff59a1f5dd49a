"""Asking AWS for what may not be there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from cloudia.cloud.aws import call, error_code, is_missing
from cloudia.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["found"]

_NOT_FOUND = frozenset({"NotFoundException", "ParameterNotFound", "ResourceNotFoundException"})


def found(method: Callable[..., Any], **arguments: Any) -> Any:
    """Return what a call returns, None where what it names is not there; so a call that deletes says whether it did."""
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
