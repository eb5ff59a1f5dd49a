"""Which cloud a verb works on: AWS is asked for or not touched, its name is told, and no secret of this folder goes there.

A stand-in for AWS is where botocore is sent by variables of its own, of which cloudia knows nothing: it means AWS itself.
"""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.cli.cloud_target import choose
from cloudia.cloud.aws import Aws
from cloudia.cloud.identity import Identity
from cloudia.cloud.parameters import Parameters
from cloudia.deploy.provision import destroy
from cloudia.errors import NoStackError, UsageError
from cloudia.settings import Settings
from cloudia.stack import Stack
from tests.cli.terminal import terminal
from tests.support import RunningStack, cli

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME = "prod"
_ACCOUNT = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example", "AWS_MAX_ATTEMPTS": "1"}
_SERVICES = ("SQS", "SSM", "DYNAMODB")
_VERBS = [
    "dlq list",
    "dlq show x",
    "dlq redrive --all",
    "dlq redrive --all --dry-run",
    "dlq export letters.jsonl",
    "dlq import /dev/null",
    "dlq purge --yes",
    "queue stats",
    "queue peek",
    "queue purge --yes",
    "provision",
    "provision --destroy --yes",
    "worker",
    "gateway",
]


class _Listener:
    """A place where AWS would be; it hangs up on whoever comes, and counts them."""

    def __init__(self, server: socket.socket) -> None:
        self.heard = 0
        self._server = server
        self.url = f"http://127.0.0.1:{server.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.heard += 1
            connection.close()


@contextmanager
def _listening() -> Iterator[_Listener]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = _Listener(server)
        thread = threading.Thread(target=listener.serve)
        thread.start()
        yield listener
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _as_aws(url: str) -> dict[str, str]:
    return {f"AWS_ENDPOINT_URL_{service}": url for service in _SERVICES}


@pytest.mark.parametrize("verb", _VERBS)
def test_i10_aws_is_never_what_is_left_over(verb: str, tmp_path: Path) -> None:
    """With an account in the environment and no stack, every verb exits 3, says how to ask for AWS, and calls nobody."""
    with _listening() as aws:
        refused = cli(*verb.split(), folder=tmp_path, environment={**_ACCOUNT, **_as_aws(aws.url)})
        assert refused.returncode == 3, refused.stderr
        assert refused.stdout == ""
        assert refused.stderr.startswith("error: no stack is running here, and AWS was not asked for\nhint: ")
        assert "--target aws" in refused.stderr
        assert aws.heard == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", [verb for verb in _VERBS if verb not in {"worker", "gateway"}])
def test_aws_is_called_where_it_was_asked_for(verb: str, tmp_path: Path) -> None:
    """The same verbs go there with `--target aws`, and say so first: that shows what the test above would miss."""
    with _listening() as aws:
        environment = {**_ACCOUNT, **_as_aws(aws.url), "AWS_REGION": "eu-west-1", "CLOUDIA_STACK_NAME": _NAME}
        failed = cli(*verb.split(), "--target", "aws", folder=tmp_path, environment=environment)
        assert failed.returncode == 1
        assert failed.stderr.splitlines()[0] == f"{_NAME} at AWS, eu-west-1"
        assert aws.heard > 0


@pytest.mark.parametrize("verb", ["worker", "gateway"])
def test_a_process_for_aws_says_so(verb: str, tmp_path: Path) -> None:
    """`worker` and `gateway` name their target before they begin; here they lack AWS or Redis, and end."""
    with _listening() as aws:
        ended = cli(verb, "--target", "aws", folder=tmp_path, environment={**_ACCOUNT, **_as_aws(aws.url)})
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[0] == "cloudia at AWS, us-east-1"
    assert f"{verb} failed" in ended.stderr


async def test_top_asks_too(tmp_path: Path) -> None:
    """`top`, which only reads, does not go to AWS unasked either."""
    with _listening() as aws, terminal("top", folder=tmp_path, **_ACCOUNT, **_as_aws(aws.url)) as shown:
        assert await shown.ends() == 3
        assert "AWS was not asked for" in shown.text
        assert aws.heard == 0


def test_the_setting_asks_too(tmp_path: Path) -> None:
    """`target.name` in `cloudia.toml` asks for AWS, `--target local` takes that back for once, another word is refused."""
    (tmp_path / "cloudia.toml").write_text('[target]\nname = "aws"\n')
    with _listening() as aws:
        environment = {**_ACCOUNT, **_as_aws(aws.url)}
        assert cli("queue", "stats", folder=tmp_path, environment=environment).returncode == 1
        heard = aws.heard
        assert heard > 0
        assert cli("queue", "stats", "--target", "local", folder=tmp_path, environment=environment).returncode == 3
        assert aws.heard == heard
    refused = cli("queue", "stats", "--target", "production", folder=tmp_path)
    assert refused.returncode == 2
    assert "target.name (from flag) is not one of local, aws" in refused.stderr


@pytest.mark.parametrize("verb", ["dlq list", "queue stats", "queue purge --yes", "provision"])
def test_the_stack_of_the_folder_is_named(verb: str, stack: RunningStack) -> None:
    """In the folder of a running stack that one is meant, whatever account the environment has, and it is named."""
    with _listening() as aws:
        done = cli(*verb.split(), folder=stack.folder, environment={**_ACCOUNT, **_as_aws(aws.url)})
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines()[0] == "this folder's stack"
        assert aws.heard == 0


@pytest.mark.parametrize("verb", ["queue purge --yes", "dlq purge --yes", "dlq redrive --all", "dlq import /dev/null"])
def test_json_names_it_where_something_is_changed(verb: str, stack: RunningStack) -> None:
    """What changes something has its target in its document."""
    assert stack.json(*verb.split())["target"] == "this folder's stack"


@pytest.mark.parametrize(
    ("name", "endpoint", "runs", "where"),
    [
        ("local", "", True, "stack"),
        ("local", "http://127.0.0.1:4566", True, "stack"),
        ("local", "http://127.0.0.1:4566", False, "engine"),
        ("local", "https://localhost.localstack.cloud:4566", False, "engine"),
        ("local", "https://amazonaws.com.example", False, "engine"),
        ("aws", "", True, "aws"),
        ("aws", "", False, "aws"),
        ("aws", "https://sqs.us-east-1.amazonaws.com", False, "aws"),
        ("local", "", False, NoStackError),
        ("local", "https://sqs.us-east-1.amazonaws.com", False, NoStackError),
        ("local", "https://SQS.cn-north-1.amazonaws.com.cn.:443/x", False, NoStackError),
        ("local", "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com", False, NoStackError),
        ("local", "https://sqs.us-east-1.api.aws", False, NoStackError),
        ("aws", "http://127.0.0.1:4566", True, UsageError),
        ("aws", "http://127.0.0.1:4566", False, UsageError),
    ],
)
def test_the_choice(name: str, endpoint: str, runs: bool, where: Any) -> None:
    """A URL asks for the engine behind it; one of AWS's own asks for nothing; the two do not contradict each other."""
    if isinstance(where, str):
        assert choose(name, endpoint, runs=runs) == where
    else:
        with pytest.raises(where):
            choose(name, endpoint, runs=runs)


# --- secrets -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def aws(stack: RunningStack) -> Iterator[dict[str, str]]:
    """A stand-in for AWS that works; what was provisioned there goes again."""
    url = stack.run["aws_endpoint_url"]
    account = {
        "AWS_ACCESS_KEY_ID": stack.settings.aws_access_key_id,
        "AWS_SECRET_ACCESS_KEY": stack.settings.aws_secret_access_key,
    }
    yield {**account, **_as_aws(url), "CLOUDIA_STACK_NAME": _NAME}
    list(destroy(_clients(stack), Stack(_NAME)))


def _clients(stack: RunningStack) -> Aws:
    return Aws(stack.settings)


def _stored(stack: RunningStack) -> dict[str, str]:
    """Return the parameters of the stack by their last names."""
    found = {}
    for parameter in Stack(_NAME).parameters:
        value = Parameters(_clients(stack).ssm).get(parameter)
        if value is not None:
            found[parameter.name.rpartition("/")[2]] = value
    return found


def test_i10_production_gets_secrets_of_its_own(stack: RunningStack, aws: dict[str, str], tmp_path: Path) -> None:
    """Each target's secrets are made there: none is this folder's or another target's, none is printed, all are kept."""
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-of-this-laptop\n")
    assert cli("token", folder=tmp_path).returncode == 0  # The folder has secrets of its own from now on.
    laptop = (tmp_path / ".cloudia" / "secrets.json").read_text()
    done = cli("provision", "--target", "aws", folder=tmp_path, environment=aws)
    assert done.returncode == 0, done.stderr
    first = _stored(stack)
    assert len(first) == 2
    assert len(set(first.values())) == 2
    assert all(len(value) >= 32 for value in first.values())
    said = done.stdout + done.stderr
    assert not [value for value in first.values() if value in laptop or value in said]
    assert "sk-of-this-laptop" not in said
    assert "openai.api_key stays here" in done.stderr
    assert (tmp_path / ".cloudia" / "secrets.json").read_text() == laptop

    again = cli("provision", "--target", "aws", folder=tmp_path, environment=aws)
    assert again.returncode == 0, again.stderr
    assert _stored(stack) == first
    list(destroy(_clients(stack), Stack(_NAME)))
    assert cli("provision", "--target", "aws", folder=tmp_path, environment=aws).returncode == 0
    assert not set(_stored(stack).values()) & set(first.values())


def test_a_key_of_the_environment_is_stored(stack: RunningStack, aws: dict[str, str], tmp_path: Path) -> None:
    """An API key that the command was given is stored, as that is how it comes there."""
    done = cli("provision", "--target", "aws", folder=tmp_path, environment={**aws, "OPENAI_API_KEY": "sk-production"})
    assert done.returncode == 0, done.stderr
    assert "sk-production" in _stored(stack).values()
    assert "sk-production" not in done.stdout + done.stderr


def test_a_token_of_production(stack: RunningStack, aws: dict[str, str], tmp_path: Path) -> None:
    """`cloudia token --target aws` signs with that stack's secret; without it the token is not one of that stack."""
    assert cli("provision", "--target", "aws", folder=tmp_path, environment=aws).returncode == 0
    made = cli("token", "--target", "aws", "--user", "ada", folder=tmp_path, environment=aws)
    assert made.returncode == 0, made.stderr
    assert made.stderr == f"{_NAME} at AWS, us-east-1\n"
    identity = Identity(Parameters(_clients(stack).ssm), Stack(_NAME), Settings())
    assert identity.user(made.stdout.strip()) == "ada"
    assert not [value for value in _stored(stack).values() if value in made.stdout]

    elsewhere = {**aws, "CLOUDIA_API_URL": "https://chat.example"}
    refused = cli("token", folder=tmp_path, environment=elsewhere)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "signs no token for https://chat.example" in refused.stderr
    assert "--target aws" in refused.stderr


def test_a_token_of_a_stack_that_is_not_there(aws: dict[str, str], tmp_path: Path) -> None:
    """Where the target has no secret yet, that is one sentence."""
    refused = cli("token", "--target", "aws", "--json", folder=tmp_path, environment=aws)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert json.loads(refused.stderr)["error"]["code"] == "not_provisioned"


def test_tokens_that_others_sign(tmp_path: Path) -> None:
    """With `auth.jwks_url` no secret of a stack signs a token: `token` and `send` say where to get one."""
    environment = {"CLOUDIA_AUTH_JWKS_URL": "http://127.0.0.1:9/keys"}
    refused = cli("token", folder=tmp_path, environment=environment)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "auth.jwks_url" in refused.stderr
    assert "CLOUDIA_TOKEN" in refused.stderr
