"""AWS clients, and what their failures mean."""

from __future__ import annotations

import os
import threading
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError
from botocore.exceptions import ConnectionError as BotoConnectionError

from cloudia.errors import RefusedError, UnavailableError, UsageError
from cloudia.hosts import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_sqs import SQSClient
    from types_boto3_ssm import SSMClient

    from cloudia.codes import ErrorCode
    from cloudia.settings import Settings

__all__ = ["Aws", "call", "error_code", "is_missing", "signed_headers"]

P = ParamSpec("P")
R = TypeVar("R")

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
# A queue that was deleted cannot be made again for 60 s; a write that meets a transaction on its item is refused.
_TRANSIENT = frozenset(
    {
        "AWS.SimpleQueueService.QueueDeletedRecently",
        "InternalServerError",
        "LimitExceededException",
        "OverLimit",
        "ProvisionedThroughputExceededException",
        "QueueDeletedRecently",
        "RequestLimitExceeded",
        "RequestThrottled",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
_NOT_PROVISIONED: ErrorCode = "not_provisioned"
_MISSING = frozenset({"ResourceNotFoundException", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
_SERVER_ERROR = 500
_NOT_ALLOWED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "NotAuthorized",
        "OptInRequired",
        "UnauthorizedOperation",
    }
)
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_BAD_CREDENTIALS = frozenset(
    {
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_KMS = "kms"
"""SQS and SSM name each refusal of a key by a code that begins with it, in their own spelling."""
_KMS_BUSY = frozenset({"KmsThrottled", "KMS.ThrottlingException"})
_FILES = ("config_file", "credentials_file")
"""The variables of a session that name the files which are read."""
_ANSWER_SECONDS = 10
_FUNCTION_SECONDS = 30


class Aws:
    """The clients of one process, made when first used. They are safe to share between threads.

    Where the settings name a key, or the engine is on this machine, nothing else of the user is looked at: no profile, role,
    file, session token, nor what configures an SDK.
    """

    def __init__(self, settings: Settings) -> None:
        self._endpoint = settings.aws_endpoint_url or None
        self._region = settings.aws_region
        self._key = settings.aws_access_key_id
        self._secret = settings.aws_secret_access_key
        self._poll_seconds = settings.worker_poll_seconds
        self._config = Config(
            connect_timeout=3,
            retries={"mode": "standard", "total_max_attempts": 3},
            max_pool_connections=64,
            parameter_validation=False,
            # What this machine serves is reached directly, whatever proxies the environment names.
            proxies={} if _is_here(settings.aws_endpoint_url) else None,
        )

    def _client(self, service: str, *, wait_seconds: int = 0) -> Any:
        config = self._config.merge(Config(read_timeout=wait_seconds + _ANSWER_SECONDS))
        credentials = self._credentials()
        try:
            with _making:
                session: Any = _session_of_nobody() if credentials else boto3
                return session.client(
                    service,
                    region_name=self._region,
                    endpoint_url=self._endpoint,
                    config=config,
                    **credentials,
                )
        except (BotoCoreError, ValueError) as error:
            raise UsageError(
                f"no AWS client can be made: {error}", hint="Look at aws.endpoint_url, aws.region and AWS_PROFILE."
            ) from error

    def _credentials(self) -> dict[str, str]:
        """Return the credentials that are used alone; none where they are AWS's to find."""
        if self._key:
            return {"aws_access_key_id": self._key, "aws_secret_access_key": self._secret}
        return _of_an_engine_here() if _is_here(self._endpoint or "") else {}

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        """DynamoDB."""
        client: DynamoDBClient = self._client("dynamodb")
        return client

    @cached_property
    def sqs(self) -> SQSClient:
        """SQS."""
        # A long poll holds its connection for as long as it waits, and then some.
        client: SQSClient = self._client("sqs", wait_seconds=self._poll_seconds)
        return client

    @cached_property
    def ssm(self) -> SSMClient:
        """SSM, the parameter store."""
        client: SSMClient = self._client("ssm")
        return client

    @cached_property
    def lambda_(self) -> Any:
        """Lambda."""
        # A call holds its connection until the function has answered.
        return self._client("lambda", wait_seconds=_FUNCTION_SECONDS)

    @cached_property
    def http_apis(self) -> Any:
        """API Gateway's HTTP APIs."""
        return self._client("apigatewayv2")

    @cached_property
    def logs(self) -> Any:
        """CloudWatch Logs."""
        return self._client("logs")


_making = threading.Lock()
"""A session is not safe to share while it builds a client."""


@cache
def _session_of_nobody() -> boto3.Session:
    """Return a session that reads no variable, profile or file: with a bad one it could not even be given a key."""
    # Of each: its name in a file, its name in the environment, its default, and how it is converted.
    defaults = {name: (None, None, *rest) for name, (_, _, *rest) in botocore.session.Session.SESSION_VARIABLES.items()}
    unread = {**defaults, **dict.fromkeys(_FILES, (None, None, os.devnull, None))}
    return boto3.Session(botocore_session=botocore.session.Session(session_vars=unread))


def _is_here(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:  # It is no URL; whoever makes a client of it says so.
        return False


def _of_an_engine_here() -> dict[str, str]:
    """Return those of an engine of the user's on loopback: the environment's, else any, as it asks for some."""
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if key and secret:
        return {"aws_access_key_id": key, "aws_secret_access_key": secret}
    return {"aws_access_key_id": "test", "aws_secret_access_key": "test"}  # an engine's account 000000000000


def signed_headers(client: Any, url: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a GET at a client's endpoint, signed as its calls are; as they were where it has no credentials."""
    request = AWSRequest("GET", url, headers=dict(headers))
    credentials = client._request_signer._credentials  # noqa: SLF001 - a client tells them nowhere else
    if credentials:
        service = client.meta.service_model.signing_name
        SigV4Auth(credentials.get_frozen_credentials(), service, client.meta.region_name).add_auth(request)
    return dict(request.headers.items())


def error_code(error: ClientError) -> str:
    """Return the code of an AWS error, such as `ConditionalCheckFailedException`."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_missing(error: UnavailableError) -> bool:
    """Tell whether a call failed because its table or queue does not exist."""
    return error.code == _NOT_PROVISIONED


def call(method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a client's method.

    What may pass by itself is raised as `UnavailableError`, what somebody has to allow as `RefusedError`; others as they are.
    """
    try:
        return method(*args, **kwargs)
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error_code(error)
        if status >= _SERVER_ERROR or code in _TRANSIENT or code in _KMS_BUSY:
            raise UnavailableError(f"AWS answered {code or status}", code="aws_unavailable") from error
        if code in _MISSING:
            raise UnavailableError(
                "a table or queue is not there", hint="Run `cloudia provision`.", code=_NOT_PROVISIONED
            ) from error
        refused = _refusal(error)
        if refused:
            raise refused from error
        raise
    except NoCredentialsError as error:
        raise UsageError(
            "no AWS credentials were found", hint="Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret."
        ) from error
    except (BotoConnectionError, HTTPClientError) as error:
        raise UnavailableError(
            "AWS cannot be reached", hint="Is the engine running?", code="aws_unavailable"
        ) from error
    except BotoCoreError as error:
        raise UnavailableError(f"the AWS client failed: {type(error).__name__}", code="aws_unavailable") from error


def _refusal(error: ClientError) -> RefusedError | None:
    """Return what an error says that AWS refuses us, whatever is asked for; None where it is about the request."""
    code = error_code(error)
    action = error.operation_name
    if code in _NOT_ALLOWED:
        message, hint = f"AWS does not allow {action} ({code})", "Grant it to the role or user of this process."
    elif code in _EXPIRED:
        message, hint = f"these AWS credentials have expired ({code})", "Get new ones, such as by `aws sso login`."
    elif code in _BAD_CREDENTIALS:
        message = f"these AWS credentials are refused ({code})"
        hint = "Of a stack that runs here, `cloudia env` prints those to use."
    elif code.lower().startswith(_KMS) or code == "InvalidKeyId":
        message, hint = f"the KMS key refuses {action} ({code})", "Enable the key, and grant its use to this process."
    else:
        return None
    return RefusedError(message, hint=hint, code="aws_refused")
