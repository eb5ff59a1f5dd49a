"""AWS's signatures (Signature Version 4) on requests to Bedrock that an SDK makes.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

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

    def signed(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """Return the headers that sign a request for the service its host belongs to; may ask where the credentials are.

        `UsageError` where there are none.
        """
        credentials = self._session.get_credentials()
        if credentials is None:
            raise UsageError("there are no AWS credentials")
        told = {name: value for name, value in headers.items() if name.lower() not in _UNSIGNED}
        request = AWSRequest(method=method, url=url, headers=told, data=body)
        SigV4Auth(credentials, _service_of(url), self._region).add_auth(request)
        return {name: value for name, value in request.headers.items() if name not in told}


def _service_of(url: str) -> str:
    """Return what a signature calls the service: `bedrock` for `bedrock-runtime`, which goes by its older name."""
    host = urlsplit(url).hostname or ""
    return "bedrock-mantle" if host.startswith("bedrock-mantle.") else "bedrock"
