"""The engine and Redis are opened by the stack's own credentials alone: pages, strangers and guesses are refused."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError

from cloudia.cloud.aws import Aws
from tests.patience import HANGS
from tests.security.pages import fetched
from tests.support import RunningStack, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.async_api import Page

_GUESSED = (
    "AWS4-HMAC-SHA256 Credential={key}/20261127/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
)


@pytest.fixture
def engine(stack: RunningStack) -> str:
    """The URL of the engine."""
    return str(stack.run["aws_endpoint_url"])


def guess(service: str, key: str = "test") -> str:
    """Return the header of a request that was signed with credentials that an engine usually takes."""
    return _GUESSED.format(key=key, service=service)


def ask(
    url: str, method: str = "POST", path: str = "/", body: str = "", **headers: str
) -> tuple[int, dict[str, str], str]:
    """Send a request as it stands. Return status, headers and body of the answer. `host` is sent as given."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=HANGS)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, path, skip_host="host" in named)
    for name, value in {**named, "content-length": str(len(body.encode()))}.items():
        connection.putheader(name, value)
    connection.endheaders(body.encode())
    answer = connection.getresponse()
    told = answer.read().decode()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, told


def drive_by(marker: Path) -> str:
    """Return the body that creates a function which leaves a mark."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("bad.py", f"def run(event, context):\n    open({str(marker)!r}, 'w').write('ran')\n")
    return json.dumps(
        {
            "FunctionName": "drive-by",
            "Runtime": "python3.11",
            "Handler": "bad.run",
            "Role": "arn:aws:iam::000000000000:role/x",
            "Code": {"ZipFile": base64.b64encode(packed.getvalue()).decode()},
        }
    )


async def test_a_page_reads_no_queue_and_no_secret(foreign_page: Page, engine: str, stack: RunningStack) -> None:
    """A page of another origin learns nothing of the engine, whatever it guesses; not even that one is there."""
    secret = stack.project.secrets().token
    for service, target, version, body in (
        ("sqs", "AmazonSQS.ListQueues", "1.0", {}),
        ("ssm", "AmazonSSM.GetParametersByPath", "1.1", {"Path": "/", "Recursive": True, "WithDecryption": True}),
    ):
        headers = {
            "x-amz-target": target,
            "content-type": f"application/x-amz-json-{version}",
            "authorization": guess(service),
        }
        told = await fetched(foreign_page, engine, method="POST", headers=headers, body=json.dumps(body))
        assert told[0] == 0, told[1]
        assert secret not in told[1]
    for path in ("/?Action=ListQueues", "/_ministack/health", "/_ministack/sqs/messages", "/_localstack/health"):
        assert (await fetched(foreign_page, engine + path))[0] == 0, path


async def test_a_page_runs_no_code(foreign_page: Page, engine: str, stack: RunningStack, tmp_path: Path) -> None:
    """The drive-by: no page creates a function, and none runs."""
    marker = tmp_path / "ran"
    path = f"{engine}/2015-03-31/functions"
    await fetched(foreign_page, path, method="POST", body=drive_by(marker))
    await fetched(foreign_page, path, method="POST", body=drive_by(marker), mode="no-cors")
    await fetched(foreign_page, f"{path}/drive-by/invocations", method="POST", body="{}")
    await fetched(foreign_page, f"{path}/drive-by/invocations", method="POST", body="{}", mode="no-cors")
    assert not marker.exists()
    assert "drive-by" not in json.dumps(Aws(stack.settings).lambda_.list_functions()["Functions"])


async def test_a_page_writes_nothing_that_it_need_not_read(
    foreign_page: Page, engine: str, stack: RunningStack
) -> None:
    """A form's POST goes out without a preflight; nothing comes of it."""
    await fetched(
        foreign_page,
        engine,
        method="POST",
        mode="no-cors",
        headers={"content-type": "application/x-www-form-urlencoded"},
        body="Action=CreateQueue&QueueName=drive-by&Version=2012-11-05",
    )
    await fetched(
        foreign_page, f"{engine}/?Action=CreateQueue&QueueName=drive-by-get&Version=2012-11-05", mode="no-cors"
    )
    assert "drive-by" not in json.dumps(Aws(stack.settings).sqs.list_queues().get("QueueUrls", []))


async def test_a_page_does_not_reset_the_engine(foreign_page: Page, engine: str, stack: RunningStack) -> None:
    """One POST would wipe the stack's queues and tables."""
    await fetched(foreign_page, f"{engine}/_ministack/reset", method="POST", mode="no-cors")
    assert Aws(stack.settings).sqs.list_queues().get("QueueUrls")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example"]
)
@pytest.mark.parametrize("path", ["/", "/_ministack/ready", "/_ministack/health", "/_localstack/health"])
def test_a_name_that_was_bound_to_loopback_is_refused(engine: str, stack: RunningStack, host: str, path: str) -> None:
    """DNS rebinding: the page's own name leads here, so its origin is the engine's; the Host tells it apart."""
    settings = stack.settings
    named = host.format(port=urlsplit(engine).port)
    signed = guess("sqs", getattr(settings, "aws_access_key_id", "test"))
    status, headers, told = ask(engine, "GET", path, host=named, authorization=signed)
    assert status == 403, told
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "browser",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "none"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_what_a_browser_sends_is_refused(
    engine: str, stack: RunningStack, method: str, browser: dict[str, str]
) -> None:
    """No browser has business with the engine, even with the right key: its preflight is refused too, without a CORS header."""
    signed = guess("sqs", getattr(stack.settings, "aws_access_key_id", "test"))
    status, headers, _ = ask(engine, method, "/", authorization=signed, **browser)
    assert status == 403
    assert not [name for name in headers if name.startswith("access-control")]


def test_an_upgrade_is_refused(engine: str) -> None:
    """A WebSocket has no preflight."""
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_version": "13"}
    key = base64.b64encode(b"0123456789abcdef").decode()
    status, _, _ = ask(
        engine, "GET", "/_aws/execute-api/x/y", origin="http://evil.example", sec_websocket_key=key, **upgrade
    )
    assert status == 403


@pytest.mark.parametrize(
    "path", ["/", "/_ministack/sqs/messages", "/_ministack/config", "/_ministack/reset", "/health", "/x"]
)
@pytest.mark.parametrize(
    "signed", ["", guess("sqs"), guess("sqs", "000000000000"), "AWS test:sig", "Basic dGVzdDp0ZXN0"]
)
def test_strangers_are_refused(engine: str, path: str, signed: str) -> None:
    """What is unsigned, or signed with a key that engines usually take, is refused wherever it goes."""
    given = {"authorization": signed} if signed else {}
    status, headers, told = ask(engine, "POST", path, "{}", **given)
    assert status == 403, told
    assert "access-control-allow-origin" not in headers


def test_a_presigned_guess_is_refused(engine: str) -> None:
    """Nor does a key in the query help."""
    query = "X-Amz-Credential=test/20261127/us-east-1/sqs/aws4_request&AWSAccessKeyId=test&Action=ListQueues"
    assert ask(engine, "GET", f"/?{query}")[0] == 403


def test_boto3_with_the_usual_credentials_is_told_so(engine: str) -> None:
    """A tool that was not given the stack's credentials gets AWS's own error."""
    usual: Any = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    for service, method in (("sqs", "list_queues"), ("ssm", "describe_parameters"), ("dynamodb", "list_tables")):
        client = boto3.client(service, endpoint_url=engine, **usual)
        with pytest.raises(ClientError) as refused:
            getattr(client, method)()
        assert refused.value.response["Error"]["Code"] == "InvalidClientTokenId"


def test_a_stranger_learns_that_it_lives(engine: str) -> None:
    """Health and readiness are asked before there are credentials; they tell nothing of what the engine holds."""
    assert ask(engine, "GET", "/_ministack/ready")[0] == 200
    status, _, told = ask(engine, "GET", "/_ministack/health")
    assert status == 200
    assert json.loads(told).keys() <= {"services", "auth", "edition", "version", "iot_mtls", "ready_scripts"}
    assert ask(engine, "POST", "/_ministack/health")[0] == 403


def test_another_user_reads_nothing_of_the_engine(
    engine: str, stack: RunningStack, as_another_user: Callable[..., str]
) -> None:
    """Loopback is everybody's on a machine; the key is the owner's."""
    body = json.dumps({"Path": "/", "Recursive": True, "WithDecryption": True})
    headers = {
        "x-amz-target": "AmazonSSM.GetParametersByPath",
        "content-type": "application/x-amz-json-1.1",
        "authorization": guess("ssm"),
    }
    said = as_another_user(
        "import urllib.request, urllib.error\n"
        f"request = urllib.request.Request({engine!r}, {body.encode()!r}, {headers!r})\n"
        "try:\n    print(urllib.request.urlopen(request).read().decode())\n"
        "except urllib.error.HTTPError as error:\n    print(error.code)\n"
    )
    assert said.strip() == "403"
    assert stack.project.secrets().token not in said


_REDIS = """
import socket
with socket.create_connection(("127.0.0.1", {port})) as line:
    for words in {commands!r}:
        line.sendall(b"*%d\\r\\n" % len(words) + b"".join(b"$%d\\r\\n%s\\r\\n" % (len(w), w.encode()) for w in words))
        print(line.recv(4096).decode().splitlines()[0])
"""


def test_another_user_reads_and_changes_nothing_of_redis(
    stack: RunningStack, as_another_user: Callable[..., str]
) -> None:
    """Without its password Redis answers nothing, and writes no file where a stranger wants it."""
    port = urlsplit(str(stack.run["redis_url"])).port
    commands = [["KEYS", "*"], ["CONFIG", "SET", "dir", "/tmp"], ["FLUSHALL"], ["AUTH", "redis"]]
    said = as_another_user(_REDIS.format(port=port, commands=commands)).splitlines()
    assert all(line.startswith("-NOAUTH") for line in said[:3]), said
    assert said[3].startswith("-WRONGPASS"), said


def test_no_password_is_on_a_command_line(stack: RunningStack) -> None:
    """Other users see the command lines of all processes, and the files that they may read."""
    secrets = stack.project.secrets()
    for pid in stack.run["pids"].values():
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        assert not [
            value for value in (secrets.redis, secrets.access_key_id, secrets.secret_access_key) if value in line
        ]
    for path in Path(stack.run["temporary"]).rglob("*"):
        if path.is_file() and secrets.redis.encode() in path.read_bytes():
            assert path.stat().st_mode & 0o077 == 0, path


_LLM_KEYS = {"OPENAI_API_KEY": "sk-real-0123456789abcdef", "ANTHROPIC_API_KEY": "sk-ant-0123456789abcdef"}


def test_parts_get_the_secrets_that_they_need_and_the_engine_no_key_of_a_provider(tmp_path: Path) -> None:
    """A real key is in the worker's environment and nowhere else: in no other process, and not in the engine's parameters."""
    running = start_stack(tmp_path, "--llm", "openai", "--persist", **_LLM_KEYS)
    try:
        secrets = running.project.secrets()
        for name, pid in running.run["pids"].items():
            known = Path(f"/proc/{pid}/environ").read_bytes().decode()
            has = {key for key in _LLM_KEYS.values() if key in known}
            assert has == (set(_LLM_KEYS.values()) if name == "worker" else set()), name
            assert (secrets.redis in known) == (name in {"api", "gateway", "worker"}), (
                name
            )  # A stop is published by the edge.
            assert (secrets.secret_access_key in known) == (name in {"api", "gateway", "worker"}), name
        names = [parameter["Name"] for parameter in Aws(running.settings).ssm.describe_parameters()["Parameters"]]
        assert [name for name in names if "api-key" in name] == []
        Aws(running.settings).ssm.put_parameter(
            Name="/cloudia/openai-api-key", Value="sk-of-yesterday", Type="SecureString"
        )
    finally:
        stop_stack(running)
    running = start_stack(tmp_path, "--llm", "openai", "--persist", **_LLM_KEYS)
    try:
        names = [parameter["Name"] for parameter in Aws(running.settings).ssm.describe_parameters()["Parameters"]]
        assert [name for name in names if "api-key" in name] == []
    finally:
        stop_stack(running)


def test_nothing_runs_in_lambda_without_being_asked_for(stack: RunningStack, tmp_path: Path) -> None:
    """With the right credentials too: a tool that makes a function is told how to have them."""
    with pytest.raises(ClientError, match="functions zip") as refused:
        Aws(stack.settings).lambda_.create_function(
            **{**json.loads(drive_by(tmp_path / "ran")), "Code": {"ZipFile": b"x"}}
        )
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"


def test_looking_at_dead_letters_asks_nobody_else(stack: RunningStack, tmp_path: Path) -> None:
    """I10: with a profile that takes a role, `dlq list` on a local stack opens no connection to STS."""
    with socket.create_server(("127.0.0.1", 0)) as sts:
        config = tmp_path / "config"
        config.write_text(
            "[profile work]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = base\n"
            "[profile base]\naws_access_key_id = AKIAREAL\naws_secret_access_key = real\n"
        )
        there = f"http://127.0.0.1:{sts.getsockname()[1]}"
        done = stack.cli("dlq", "list", AWS_PROFILE="work", AWS_CONFIG_FILE=str(config), AWS_ENDPOINT_URL_STS=there)
        assert done.returncode == 0, done.stderr
        sts.setblocking(False)
        with pytest.raises(BlockingIOError):
            sts.accept()
