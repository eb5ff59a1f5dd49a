"""The AWS clients: what may pass by itself is `UnavailableError`, soon; what cannot is said as it is."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.retries.standard import ExponentialBackoff

from cloudia.cloud.aws import Aws, call, error_code, is_missing
from cloudia.errors import RefusedError, UnavailableError, UsageError
from cloudia.settings import Settings
from tests.servers import Quiet, serving
from tests.shells import NAMES, dead_proxy, shell
from tests.support import Cloud, RunningStack

CALLS: dict[str, Callable[[Aws], object]] = {
    "dynamodb": lambda aws: call(aws.dynamodb.get_item, TableName="t", Key={"k": {"S": "v"}}),
    "sqs": lambda aws: call(aws.sqs.get_queue_url, QueueName="q"),
    "ssm": lambda aws: call(aws.ssm.get_parameter, Name="p"),
}


@dataclass
class Engine:
    """Something that answers every request alike; `requests` counts them."""

    url: str
    requests: int = 0


@contextmanager
def answering(status: int, body: bytes, *, hang_up: bool = False) -> Iterator[Engine]:
    """Answer everything with this, or hang up instead."""

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            engine.requests += 1
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.close_connection = True
            if hang_up:
                return
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Handler) as url:
        engine = Engine(url)
        yield engine


def refusal(code: str) -> bytes:
    return json.dumps({"__type": f"com.amazonaws.any#{code}", "message": "no"}).encode()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without a pause."""
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0)


def fail(service: str, url: str) -> UnavailableError:
    """Make a call that must fail as a service that is away."""
    aws = Aws(Settings(aws_endpoint_url=url))
    try:
        with pytest.raises(UnavailableError) as away:
            CALLS[service](aws)
    finally:
        getattr(aws, service).close()
    return away.value


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("service", sorted(CALLS))
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, refusal("InternalServerError")),
        (500, b""),
        (503, b"<html>busy</html>"),
        (400, refusal("ThrottlingException")),
        (400, refusal("ProvisionedThroughputExceededException")),
        (400, refusal("RequestThrottled")),
    ],
)
def test_what_may_pass_is_unavailable(service: str, status: int, body: bytes) -> None:
    """Server errors and throttling; I7: each is tried three times at most."""
    with answering(status, body) as engine:
        error = fail(service, engine.url)
    assert error.code == "aws_unavailable"
    assert not is_missing(error)
    assert 1 <= engine.requests <= 3


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("service", "code"),
    [
        # A single write that meets a transaction: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
        ("dynamodb", "TransactionConflictException"),
        ("dynamodb", "TransactionInProgressException"),
        # A queue of the same name cannot be made for 60 s: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
        ("sqs", "QueueDeletedRecently"),
        ("sqs", "AWS.SimpleQueueService.QueueDeletedRecently"),
        ("sqs", "OverLimit"),
    ],
)
def test_a_conflict_that_passes_is_unavailable(service: str, code: str) -> None:
    """AWS's own words for "try again" are known."""
    with answering(400, refusal(code)) as engine:
        assert fail(service, engine.url).code == "aws_unavailable"


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("service", "code", "says", "advises"),
    [
        ("dynamodb", "AccessDeniedException", "does not allow GetItem", "Grant"),
        ("sqs", "AccessDenied", "does not allow GetQueueUrl", "Grant"),
        ("ssm", "AccessDeniedException", "does not allow GetParameter", "Grant"),
        ("dynamodb", "ExpiredTokenException", "expired", "new ones"),
        ("sqs", "ExpiredToken", "expired", "new ones"),
        ("dynamodb", "UnrecognizedClientException", "refused", "cloudia env"),
        ("sqs", "InvalidClientTokenId", "refused", "cloudia env"),
        ("ssm", "InvalidSignatureException", "refused", "cloudia env"),
        ("sqs", "KmsAccessDenied", "KMS key", "Enable"),
        ("sqs", "KMS.DisabledException", "KMS key", "Enable"),
        ("ssm", "InvalidKeyId", "KMS key", "Enable"),
    ],
)
def test_i7_what_somebody_has_to_allow_is_told_at_once(service: str, code: str, says: str, advises: str) -> None:
    """I7: a permission, credentials or a key: asked for once, and told in one sentence with what to do."""
    with answering(400, refusal(code)) as engine:
        error = fail(service, engine.url)
    assert isinstance(error, RefusedError)
    assert error.code == "aws_refused"
    assert says in error.message
    assert code in error.message
    assert advises in error.hint
    assert engine.requests == 1


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("service", sorted(CALLS))
def test_an_engine_that_hangs_up_is_unavailable(service: str) -> None:
    """A connection that is closed without an answer."""
    with answering(200, b"", hang_up=True) as engine:
        error = fail(service, engine.url)
    assert error.code == "aws_unavailable"
    assert "engine" in error.hint


def test_an_endpoint_where_nothing_listens_is_unavailable_soon() -> None:
    """I7: with its real pauses, a dead endpoint is given up within ten seconds."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        began = time.monotonic()
        error = fail("sqs", f"http://127.0.0.1:{reserved.getsockname()[1]}")
    assert time.monotonic() - began < 10
    assert error.code == "aws_unavailable"


def test_a_long_poll_has_time_and_nothing_else_has_more() -> None:
    """I7: SQS may hold a receive for its 20 s; DynamoDB and SSM are given up, tries and all, within a lease."""
    aws: Any = Aws(Settings(aws_endpoint_url="http://127.0.0.1:1", worker_poll_seconds=20, worker_lease_seconds=60))
    assert aws.sqs.meta.config.read_timeout > 20
    for client in (aws.dynamodb, aws.ssm):
        assert 3 * (client.meta.config.read_timeout + client.meta.config.connect_timeout) < 60


def test_a_missing_table_or_queue_says_what_to_do(cloud: Cloud) -> None:
    """What was not provisioned is told apart from what is away."""
    for service in ("dynamodb", "sqs"):
        with pytest.raises(UnavailableError) as missing:
            CALLS[service](cloud.aws)
        assert missing.value.code == "not_provisioned"
        assert is_missing(missing.value)
        assert "cloudia provision" in missing.value.hint


def test_a_mistake_is_not_hidden(cloud: Cloud) -> None:
    """A request that AWS finds wrong is raised as it is: trying again cannot help."""
    with pytest.raises(ClientError) as wrong:
        call(cloud.aws.dynamodb.get_item, TableName=cloud.stack.jobs.name, Key={"nonsense": {"S": "x"}})
    assert error_code(wrong.value) == "ValidationException"


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """An environment in which no AWS credentials can be found."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@pytest.mark.usefixtures("no_credentials")
def test_without_credentials_aws_itself_is_not_called() -> None:
    """The error says which variables to set."""
    with pytest.raises(UsageError) as missing:
        CALLS["sqs"](Aws(Settings()))
    assert "AWS_PROFILE" in missing.value.hint


@pytest.mark.usefixtures("no_credentials")
@pytest.mark.parametrize(
    ("endpoint", "stand_in"),
    [("http://127.0.0.1:1", True), ("http://localhost:1", True), ("https://sqs.example.test", False)],
)
def test_only_an_engine_on_loopback_gets_stand_in_credentials(endpoint: str, stand_in: bool) -> None:
    """No made-up key is ever sent to another machine."""
    sqs: Any = Aws(Settings(aws_endpoint_url=endpoint)).sqs
    found = sqs._request_signer._credentials
    assert (found is not None) == stand_in
    assert not stand_in or found.access_key == "test"


@pytest.mark.usefixtures("no_credentials")
def test_real_credentials_win_over_the_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment has is used, on loopback too."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    sqs: Any = Aws(Settings(aws_endpoint_url="http://127.0.0.1:1")).sqs
    assert sqs._request_signer._credentials.access_key == "mine"


@pytest.mark.parametrize(
    ("settings", "environment"),
    [
        (Settings(aws_endpoint_url="localhost:4566"), {}),
        (Settings(aws_endpoint_url="http://[x"), {}),
        (Settings(aws_endpoint_url="http://127.0.0.1:1", aws_region="no such"), {}),
        (Settings(aws_endpoint_url="https://sqs.example.test"), {"AWS_PROFILE": "no-such-profile"}),
    ],
)
def test_a_client_that_cannot_be_made_is_a_usage_error(
    settings: Settings, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong endpoint, region or profile is one sentence with a hint, not a traceback."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for service in CALLS:
        with pytest.raises(UsageError) as wrong:
            getattr(Aws(settings), service)
        assert "aws.endpoint_url" in wrong.value.hint
        assert wrong.value.message


def test_clients_are_made_once_and_shared_between_threads(cloud: Cloud) -> None:
    """Sixteen threads that come first at the same moment all get a client that works."""
    aws = Aws(cloud.settings)
    barrier = threading.Barrier(16)

    def work(number: int) -> int:
        barrier.wait()
        call(aws.dynamodb.describe_table, TableName=cloud.stack.jobs.name)
        call(aws.sqs.get_queue_url, QueueName=cloud.stack.jobs_queue.name)
        return number

    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(work, range(16))) == list(range(16))
    assert aws.sqs is aws.sqs


_KEY = {"aws_access_key_id": "ours", "aws_secret_access_key": "secret"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", [_KEY, {}], ids=["our key", "no key"])
def test_i10_an_engine_on_this_machine_is_asked_as_in_an_empty_shell(
    key: dict[str, Any], name: str, stack: RunningStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No profile, not even a bad one, no role, file, session token, SDK's setting nor proxy: so STS is never asked.

    Where the settings have no key, one of the environment counts if it is whole.
    """
    with dead_proxy() as (proxy, came):
        for variable, value in shell(name, folder=tmp_path, proxy=proxy).items():
            monkeypatch.setenv(variable, value)
        endpoint = stack.run["aws_endpoint_url"]
        sqs: Any = Aws(Settings(aws_endpoint_url=endpoint, **key)).sqs
        found = sqs._request_signer._credentials
        whole = "123456789012" if name == "an account's id as key" else "test"
        assert (found.access_key, found.token) == (key.get("aws_access_key_id", whole), None)
        assert sqs.meta.region_name == "us-east-1"
        assert sqs.meta.endpoint_url == endpoint
        with pytest.raises(RefusedError, match="refused"):  # The stack's guard knows none of these keys.
            call(sqs.list_queues)
    assert came == []


def test_a_key_that_is_refused_says_how_to_get_the_right_one(stack: RunningStack) -> None:
    """The guard's answer is one sentence, not a crash."""
    wrong = stack.settings.changed(aws_access_key_id="wrong")
    with pytest.raises(RefusedError, match="refused") as refused:
        CALLS["sqs"](Aws(wrong))
    assert "cloudia env" in refused.value.hint
