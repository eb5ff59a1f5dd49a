"""The engine `localstack`: one that runs, or its container through Docker, for which a recording stand-in is used here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudia.errors import PartError, UsageError
from cloudia.local.project import Project
from cloudia.sim.engines import docker
from cloudia.sim.engines.answering import Answering, who_answers
from cloudia.sim.engines.localstack import DEFAULT_URL, check_services
from cloudia.sim.engines.localstack_image import FREE_IMAGE, check_token, container_name, needs_token
from cloudia.sim.ports import choose_port
from tests.cli.provider import quick
from tests.patience import HANGS
from tests.sim.engines import stand_in_docker
from tests.sim.engines.stand_in_docker import StandInDocker
from tests.support import RunningStack, cli, eventually, start_stack, stop_stack

TOKEN = "ls-secret-token-of-mine"


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandInDocker]:
    """A `docker` command that records."""
    if who_answers(DEFAULT_URL):
        pytest.skip(f"what answers at {DEFAULT_URL} would be asked first")
    made = StandInDocker(tmp_path / "docker")
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project's folder."""
    made = tmp_path / "project"
    made.mkdir()
    return made


# --- decisions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "needed"),
    [
        (FREE_IMAGE, False),
        ("localstack/localstack:3.8.1-amd64", False),
        ("localstack/localstack:2026.03.0", True),
        ("localstack/localstack:2026.11.1", True),
        ("localstack/localstack:latest", True),
        ("localstack/localstack", True),
        ("localstack/localstack-pro:4.14.0", True),
        ("mirror.example:5000/localstack/localstack:4.14.0", False),
        ("mirror.example:5000/localstack/localstack", True),
        ("localstack/localstack@sha256:0123", False),
        ("localstack/localstack:2026.03.0@sha256:0123", True),
        ("example/our-own:latest", False),
    ],
)
def test_images_that_need_a_token(image: str, needed: bool) -> None:
    """Without a token such an image is refused before anything starts; with one, and any other image, it goes on."""
    assert needs_token(image) is needed
    check_token(image, TOKEN)
    if needed:
        with pytest.raises(UsageError, match="needs a token") as caught:
            check_token(image, "")
        assert "LOCALSTACK_AUTH_TOKEN" in caught.value.hint
    else:
        check_token(image, "")


def test_a_service_that_is_missing_is_named() -> None:
    """An edition without one of the three is told in a sentence that says which."""
    check_services(Answering("LocalStack", "4.14.0", "community", frozenset({"sqs", "dynamodb", "ssm", "s3"})))
    with pytest.raises(PartError, match=r"LocalStack 4\.14\.0, community edition has no dynamodb and no ssm") as caught:
        check_services(Answering("LocalStack", "4.14.0", "community", frozenset({"sqs"})))
    assert caught.value.code == "service_missing"


def test_a_folder_has_one_name(tmp_path: Path) -> None:
    """The same folder has the same container each time, another folder another; Docker accepts the name."""
    name = container_name(tmp_path)
    assert name == container_name(Path(str(tmp_path)))
    assert name != container_name(tmp_path / "other")
    assert name.replace("-", "").isalnum()


# --- who answers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def localstack_like(folder: Path) -> Iterator[Any]:
    """Servers that answer as LocalStack does, with the services that are asked for."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(services: str) -> str:
        port = choose_port()
        command = [sys.executable, stand_in_docker.__file__, "serve", str(port), services]
        processes.append(subprocess.Popen(command))
        return f"http://127.0.0.1:{port}"

    yield start
    for process in processes:
        process.kill()
        process.wait()


async def test_ministack_is_told_from_localstack(stack: RunningStack, localstack_like: Any) -> None:
    """MiniStack answers LocalStack's question too, and is still known for what it is."""
    found = who_answers(stack.run["aws_endpoint_url"])
    assert found
    assert found.name == "MiniStack"
    assert {"sqs", "dynamodb", "ssm"} <= found.services
    url = localstack_like("sqs,dynamodb")
    other = await eventually(lambda: who_answers(url + "/"))
    assert str(other) == "LocalStack 4.14.0, community edition"
    assert other.services == {"sqs", "dynamodb"}


def test_what_else_may_answer(stack: RunningStack) -> None:
    """Another service has no name, and where nothing listens there is nobody."""
    assert who_answers(stack.run["llm_url"]) == Answering()
    assert who_answers("http://127.0.0.1:9") is None
    with pytest.raises(UsageError):
        who_answers("nonsense")


# --- the container --------------------------------------------------------------------------------------------------------


@pytest.mark.long
async def test_a_container_for_a_stack(stand_in: StandInDocker, folder: Path) -> None:
    """A container is published on loopback, comes again where it was killed, and is gone with `down`.

    It takes the place of one that was left behind. Its token is on no command line and in no file.
    """
    name = container_name(folder)
    left = stand_in.leave(name)
    environment = {"PATH": stand_in.path, "LOCALSTACK_AUTH_TOKEN": TOKEN}
    stack = start_stack(folder, "--engine", "localstack", **environment)
    try:
        assert stand_in.containers == [name]
        assert stand_in.pid(name) != left
        assert stack.run["engine"] == "localstack"
        assert stack.run["parts"]["engine"]["detail"] == f"{FREE_IMAGE} in Docker"
        (run,) = [call for call in stand_in.calls if call[0] == "run"]
        port = stack.run["aws_endpoint_url"].rpartition(":")[2]
        assert run[:4] == ["run", "--rm", "--name", name]
        assert run[4:6] == ["--publish", f"127.0.0.1:{port}:4566"]
        assert run[-3:] == ["--env", "LOCALSTACK_AUTH_TOKEN", FREE_IMAGE]
        assert stand_in.tokens == {TOKEN}
        assert ["pull", FREE_IMAGE] in stand_in.calls
        assert TOKEN not in json.dumps(stand_in.calls) + (folder / ".cloudia" / "run.json").read_text()
        with quick(stack.run):
            stack.json("send", "hello")
            first = stand_in.pid(name)
            os.kill(stack.run["pids"]["engine"], signal.SIGKILL)  # The container does not end with it.
            await eventually(lambda: stand_in.pid(name) not in {0, first})
            assert stack.cli("status", "--wait-for", "ready").returncode == 0
            stack.json("send", "hello again")
        assert "engine MiniStack 1." in stack.cli("status").stdout
    finally:
        stop_stack(stack)
    assert stand_in.containers == []


@pytest.mark.long
async def test_a_crash_leaves_no_container_for_good(stand_in: StandInDocker, folder: Path) -> None:
    """Where the supervisor and the part were both killed, the container stays, until `down` removes it."""
    stack = start_stack(folder, "--engine", "localstack", PATH=stand_in.path)
    part, supervisor = stack.run["pids"]["engine"], stack.run["supervisor"]["pid"]
    try:
        os.kill(part, signal.SIGSTOP)  # so that it does not clean up by itself
        os.kill(supervisor, signal.SIGKILL)
        os.kill(part, signal.SIGKILL)
        await eventually(lambda: Project(folder).live_run() is None)
        assert stand_in.containers == [container_name(folder)]
    finally:
        stopped = stack.cli("down", PATH=stand_in.path)
    assert stopped.returncode == 0
    assert stand_in.containers == []
    assert Project(folder).read_run() is None


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells a part that its supervisor died on Linux alone")
async def test_a_container_goes_with_its_supervisor(stand_in: StandInDocker, folder: Path) -> None:
    """Where the supervisor alone is killed, the part removes the container."""
    stack = start_stack(folder, "--engine", "localstack", PATH=stand_in.path)
    os.kill(stack.run["supervisor"]["pid"], signal.SIGKILL)
    await eventually(lambda: stand_in.containers == [])
    assert stack.cli("down", PATH=stand_in.path).returncode == 0


async def test_a_download_tells_how_it_goes_on(stand_in: StandInDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image is pulled once, layer by layer; one that is there is not pulled again."""
    monkeypatch.setenv("PATH", stand_in.path)
    said: list[str] = []
    for _ in range(2):
        await docker.get_image("some/image:1", said.append)
    assert said == [
        "pulling some/image:1, once",
        "pulling some/image:1: 1 of 2 layers",
        "pulling some/image:1: 2 of 2 layers",
    ]


# --- mistakes -------------------------------------------------------------------------------------------------------------


def _refused(folder: Path, stand_in: StandInDocker, **environment: str) -> tuple[int, dict[str, str]]:
    environment = {"PATH": stand_in.path, "CLOUDIA_UP_ENGINE": "localstack", **environment}
    refused = cli("up", "--json", folder=folder, environment=environment, timeout=HANGS)
    assert refused.stdout == ""
    told: dict[str, str] = json.loads(refused.stderr.strip().splitlines()[-1])["error"]
    assert told["hint"]
    assert stand_in.containers == []
    return refused.returncode, told


@pytest.mark.parametrize(
    ("environment", "code", "message"),
    [
        ({"PATH": "/nowhere"}, 1, "there is no docker command"),
        ({"CLOUDIA_LOCALSTACK_IMAGE": "localstack/localstack"}, 2, "localstack/localstack needs a token"),
        ({"CLOUDIA_LOCALSTACK_IMAGE": "--privileged"}, 2, "localstack.image (from environment) is not of the form"),
        ({"CLOUDIA_UP_PERSIST": "1"}, 2, "LocalStack's container keeps no data"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, 1, "no LocalStack answers at http://127.0.0.1:9"),
        ({"AWS_ENDPOINT_URL": "nonsense"}, 2, "'nonsense' is not a URL of AWS"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistakes(environment: dict[str, str], code: int, message: str, stand_in: StandInDocker, folder: Path) -> None:
    """What cannot work ends soon, with one sentence and a hint, and starts no container."""
    got, told = _refused(folder, stand_in, **environment)
    assert (got, message in told["message"]) == (code, True), told


def test_docker_that_cannot(stand_in: StandInDocker, folder: Path) -> None:
    """No daemon, and an image that cannot be pulled, are told in Docker's own words."""
    stand_in.has("refused")
    code, told = _refused(folder, stand_in)
    assert (code, told["code"]) == (1, "no_image")
    assert "manifest unknown" in told["message"]
    stand_in.has("down")
    code, told = _refused(folder, stand_in)
    assert (code, told["code"]) == (1, "docker_unavailable")
    assert "Cannot connect to the Docker daemon" in told["message"]


@pytest.mark.long
def test_a_container_without_a_service(stand_in: StandInDocker, folder: Path) -> None:
    """An image whose edition lacks a service is told at once, not after three starts, and its container is removed."""
    stand_in.has("services", "sqs,ssm")
    code, told = _refused(folder, stand_in)
    assert (code, told["code"]) == (1, "service_missing")
    assert "has no dynamodb" in told["message"]
    assert len([call for call in stand_in.calls if call[0] == "run"]) == 1


async def test_one_that_runs_and_is_not_what_it_should_be(
    stand_in: StandInDocker, folder: Path, stack: RunningStack, localstack_like: Any
) -> None:
    """At a URL of the user's, MiniStack is not taken for LocalStack, and an edition that lacks a service is refused."""
    code, told = _refused(folder, stand_in, AWS_ENDPOINT_URL=stack.run["aws_endpoint_url"])
    assert (code, told["code"]) == (1, "engine_unavailable")
    assert told["message"].startswith("MiniStack 1.")
    url = localstack_like("sqs,dynamodb")
    await eventually(lambda: who_answers(url))
    code, told = _refused(folder, stand_in, AWS_ENDPOINT_URL=url)
    assert (code, told["code"]) == (1, "service_missing")
    assert "has no ssm" in told["message"]
    assert stand_in.calls == []


# --- doctor ---------------------------------------------------------------------------------------------------------------


def _doctor(folder: Path, **environment: str) -> dict[str, dict[str, str]]:
    shown = cli("doctor", "--json", folder=folder, environment=environment)
    return {check["name"]: check for check in json.loads(shown.stdout)["checks"]}


def test_doctor_of_each_engine(stand_in: StandInDocker, folder: Path, stack: RunningStack) -> None:
    """Doctor says what each engine would be, asks the one at a URL what it is, and shows no more than a token's end."""
    found = _doctor(folder, PATH=stand_in.path, LOCALSTACK_AUTH_TOKEN=TOKEN)
    assert found["engine"]["state"] == "ok"
    assert found["localstack"]["state"] == "ok"
    assert found["localstack"]["found"].startswith(f"{FREE_IMAGE} in Docker 28.2.2, a token that ends in {TOKEN[-4:]}")
    assert found["endpoint"]["state"] == "optional"
    assert TOKEN not in json.dumps(found)

    environment = {"CLOUDIA_UP_ENGINE": "localstack", "CLOUDIA_LOCALSTACK_IMAGE": "localstack/localstack"}
    found = _doctor(folder, PATH=stand_in.path, **environment)
    assert found["engine"]["state"] == "missing"
    assert "LOCALSTACK_AUTH_TOKEN" in found["engine"]["hint"]

    stand_in.has("down")
    found = _doctor(folder, PATH=stand_in.path, AWS_ENDPOINT_URL=stack.run["aws_endpoint_url"])
    assert found["endpoint"]["found"].startswith("MiniStack 1.")
    assert "no LocalStack answers" in found["localstack"]["found"]
    assert "its daemon does not answer" in found["docker"]["found"]
