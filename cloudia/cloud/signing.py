"""AWS's signatures (Signature Version 4) on requests that others make.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from cloudia.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Signer"]

_UNSIGNED = frozenset({"connection", "user-agent", "x-amzn-trace-id"})
"""What a proxy on the way may change."""


class Signer:
    """Signs by the credentials of AWS's usual chain, which are renewed as they expire."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._session = boto3.Session(region_name=region)

    def signed(self, service: str, method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """Return the headers that sign a request, for a service by the name it has there; may ask for credentials.

        `UsageError` where there are none.
        """
        credentials = self._session.get_credentials()
        if credentials is None:
            raise UsageError("there are no AWS credentials")
        told = {name: value for name, value in headers.items() if name.lower() not in _UNSIGNED}
        request = AWSRequest(method=method, url=url, headers=told, data=body)
        SigV4Auth(credentials, service, self._region).add_auth(request)
        return {name: value for name, value in request.headers.items() if name not in told}
