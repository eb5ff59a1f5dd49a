"""The functions in the engine's Lambda behind its HTTP API; the whole path both ways, through the edge and through them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest
import pytest_asyncio

from cloudia.client import Client
from cloudia.client.answer import Answer
from cloudia.cloud.aws import Aws
from cloudia.cloud.identity import OPERATOR
from cloudia.deploy.http_api import http_api_url
from cloudia.deploy.lambdas import deploy, function_environment, remove
from cloudia.deploy.zips.archive import archive
from cloudia.deploy.zips.functions import build_functions
from cloudia.errors import NotFoundError, UnauthorizedError, UnavailableError, UsageError
from cloudia.operate.function_logs import FunctionLogs
from cloudia.settings import Settings
from cloudia.sim.engines import check_zips
from cloudia.sim.engines.ministack import environment
from cloudia.stack import Stack
from tests.functions import contract
from tests.local.leftovers import Leftovers
from tests.patience import HANGS
from tests.support import Cloud, RunningStack, cli, eventually, make_cloud, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.long

SHORT, SLOW = "[[words:5]]", "[[words:3000]]"
"""What the simulated LLM answers in a moment, and in half a minute."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def zipped(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    """A stack whose functions run from their zips, called before it is stopped; nothing is left of it, Lambda included."""
    stack = start_stack(tmp_path_factory.mktemp("zipped"), "--functions", "zip", CLOUDIA_LLM_MODEL="sim-1")
    try:
        leftovers = Leftovers(stack.run)
        yield stack
        warm = _lambdas(stack)
        assert warm
        leftovers.processes += warm
    finally:
        stop_stack(stack)
    await leftovers.gone_processes()
    await leftovers.gone()


@pytest.fixture(params=["edge", "zip"])
def any_stack(request: pytest.FixtureRequest) -> RunningStack:
    """The stack of all tests, whose functions run in the edge, and the one whose functions run from their zips."""
    found: RunningStack = request.getfixturevalue({"edge": "stack", "zip": "zipped"}[request.param])
    return found


def _lambdas(stack: RunningStack) -> list[psutil.Process]:
    """Return the processes that run a stack's functions: the engine's children."""
    run = stack.project.require_run()
    return psutil.Process(run.pids["engine"]).children(recursive=True)


def _beside(cloud: Cloud) -> httpx2.Client:
    """Return a client of a cloud's HTTP API in the engine of another stack, whose key its guard asks for there."""
    url = http_api_url(cloud.settings.aws_endpoint_url, cloud.stack.name)
    key = {"X-Amz-Credential": f"{cloud.settings.aws_access_key_id}/20261127/us-east-1/execute-api/aws4_request"}
    return httpx2.Client(
        base_url=url, params=key, headers={"authorization": f"Bearer {cloud.token()}"}, trust_env=False
    )


def _http(stack: RunningStack, user: str | None = "alice", **headers: str) -> httpx2.Client:
    token = {"authorization": f"Bearer {stack.token(user)}"} if user else {}
    return httpx2.Client(base_url=stack.run["api_url"], headers={**token, **headers}, timeout=30, trust_env=False)


# --- the whole path, both ways -------------------------------------------------------------------------------------------


async def test_a_message_is_answered(any_stack: RunningStack) -> None:
    """Sent, streamed and recorded: the history has what the events had, and the next message goes on from there."""
    async with any_stack.client("whole-path") as client, asyncio.timeout(40):
        answer = Answer((await client.send(f"hello there {SHORT}")).job_id)
        async for event in client.follow(answer.job_id):
            answer.apply(event)
        assert answer.status == "done"
        job = await client.api.job(answer.job_id)
        assert (job["status"], job["attempts"], job["reply"]["content"]) == ("done", 1, answer.text)
        conversation = job["conversation_id"]
        async for event in client.ask(f"again {SHORT}", conversation_id=conversation):
            assert event.type != "error"
        messages = (await client.api.messages(conversation, limit=10))["messages"]
        assert [message["role"] for message in messages] == ["user", "assistant"] * 2
        page = await client.api.messages(conversation, limit=1, order="desc")
        rest = await client.api.messages(conversation, limit=9, order="desc", cursor=page["next_cursor"])
        assert [*page["messages"], *rest["messages"]] == messages[::-1]
        assert [found["conversation_id"] for found in (await client.api.conversations())["conversations"]] == [
            conversation
        ]


async def test_a_running_job_is_cancelled(any_stack: RunningStack) -> None:
    """Stop ends the answer, and what had come stays."""
    async with any_stack.client("canceller") as client, asyncio.timeout(40):
        events = []
        async for event in client.ask(SLOW):
            events.append(event)
            if event.type == "delta" and not any(each.type == "delta" for each in events[:-1]):
                assert (await client.api.cancel(event.job_id or ""))["status"] == "running"
        assert events[-1].type == "cancelled"
        assert (await client.api.job(events[-1].job_id or ""))["status"] == "cancelled"


def test_the_same_key_is_the_same_job(any_stack: RunningStack) -> None:
    """A message sent twice under one key has one job and one answer; another message under it is refused."""
    with _http(any_stack, "twice") as http:
        body = {"content": SHORT, "idempotency_key": "key-1"}
        first, second = http.post("/messages", json=body), http.post("/messages", json=body)
        assert (first.status_code, second.status_code) == (202, 202)
        assert first.json() == second.json()
        other = http.post("/messages", json={**body, "content": "another"})
        assert (other.status_code, contract.code_of(other)) == (409, "idempotency_conflict")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "not_json"),
        (b"", 400, "not_json"),
        (b"[]", 400, "invalid_request"),
        (b'{"content": "x", "more": 1}', 400, "unknown_field"),
        (b'{"content": "' + b"x" * 40_000 + b'"}', 413, "content_too_large"),
    ],
    ids=["broken", "empty", "list", "unknown field", "too long"],
)
def test_bad_bodies(any_stack: RunningStack, body: bytes, status: int, code: str) -> None:
    """What is no message is refused by its reason, the same both ways."""
    with _http(any_stack, **{"content-type": "application/json"}) as http:
        response = http.post("/messages", content=body)
    assert response.status_code == status
    assert contract.code_of(response) == code
    assert contract.problems("/components/schemas/Error", response.json()) == []
    assert response.headers["content-type"].startswith("application/json")


async def test_who_may_not(any_stack: RunningStack) -> None:
    """Without a token, with a broken one, and for what is another's: 401, 401 and 404, and the client knows which."""
    with _http(any_stack, None) as http:
        assert contract.code_of(http.get("/conversations")) == "no_token"
        assert http.get("/conversations", headers={"authorization": "Bearer x.y.z"}).status_code == 401
        assert http.get("/health").status_code == 200
    with _http(any_stack, "owner") as http:
        mine = http.post("/messages", json={"content": SHORT}).json()
    async with any_stack.client("stranger") as client:
        for call in (client.api.job(mine["job_id"]), client.api.messages(mine["conversation_id"])):
            with pytest.raises(NotFoundError):
                await call
    async with Client(any_stack.run["api_url"], any_stack.run["websocket_url"], "nobody.made.this") as client:
        with pytest.raises(UnauthorizedError):
            await client.api.conversations()


def test_no_such_route(any_stack: RunningStack) -> None:
    """A path that is none, and a method that a path does not have, are 404."""
    with _http(any_stack) as http:
        for method, path in (("GET", "/nothing"), ("PUT", "/messages"), ("GET", "/messages"), ("POST", "/jobs/x/y/z")):
            assert http.request(method, path).status_code == 404


def test_the_command_line(any_stack: RunningStack) -> None:
    """`send`, `conversations` and `status` talk to the HTTP API wherever it is."""
    sent = any_stack.json("send", f"from the shell {SHORT}")
    assert sent["status"] == "done"
    shown = any_stack.json("conversations", "show", sent["conversation_id"])
    assert [message["role"] for message in shown["messages"]] == ["user", "assistant"]
    status = any_stack.json("status")
    assert status["health"]["status"] == "ok"
    assert status["api_url"] == any_stack.run["api_url"]


# --- with zips -----------------------------------------------------------------------------------------------------------


def test_where_the_api_is(zipped: RunningStack) -> None:
    """`api_url` is the engine's API by its path, `web_url` the edge, which has no route of the API any more."""
    run = zipped.run
    assert run["api_url"] == http_api_url(run["aws_endpoint_url"], "cloudia")
    assert urlsplit(run["web_url"]).port != urlsplit(run["api_url"]).port
    with httpx2.Client(base_url=_edge(zipped), trust_env=False) as http:
        assert http.get("/").status_code == 200
        assert http.get("/openapi.json").status_code == 200
        for path in ("/health", "/conversations", "/jobs/x"):
            assert http.get(path).status_code == 404


def test_the_operator_api_stays_at_the_edge(zipped: RunningStack) -> None:
    """The dashboard has it where the page is; the engine's API has it only once `operator.api` asks for that."""
    headers = {"authorization": f"Bearer {zipped.token('ops', role=OPERATOR)}"}
    with httpx2.Client(base_url=_edge(zipped), trust_env=False) as http:
        assert http.get("/operator/live", headers=headers).json()["status"] == "ok"
        assert http.get("/dashboard").status_code == 200
    with _http(zipped, None) as http:
        assert http.get("/operator/live", headers=headers).status_code == 404


def _edge(stack: RunningStack) -> str:
    """Return the origin of the page."""
    address = urlsplit(stack.run["web_url"])
    return f"{address.scheme}://{address.netloc}"


def _page_config(stack: RunningStack, http: httpx2.Client) -> dict[str, Any]:
    """Return what the page is told once it has traded its code."""
    key = http.post("/page/session", headers={"authorization": f"Bearer {stack.page_code}"}).json()["key"]
    config: dict[str, Any] = http.get("/page/config", headers={"x-cloudia": key}).json()
    return config


def test_the_page_may_talk_to_it(zipped: RunningStack) -> None:
    """The page learns the API's URL, its policy lets it go there, and the API lets its origin in, and no other."""
    run = zipped.run
    origin = _edge(zipped)
    with httpx2.Client(base_url=origin, trust_env=False) as http:
        config = _page_config(zipped, http)
        assert config["api_url"] == run["api_url"]
        policy = http.get("/").headers["content-security-policy"]
        assert f"connect-src 'self' {run['aws_endpoint_url']} ws: wss:" in policy
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    with _http(zipped, None) as http:
        for known in (origin, origin.replace("127.0.0.1", "localhost")):
            preflight = http.request("OPTIONS", "/messages", headers={"origin": known, **asked})
            assert preflight.status_code == 204
            assert preflight.headers["access-control-allow-origin"] == known
            assert {"authorization", "content-type"} <= set(
                preflight.headers["access-control-allow-headers"].split(",")
            )
            assert {"POST", "GET"} <= set(preflight.headers["access-control-allow-methods"].split(","))
            refused = http.get("/conversations", headers={"origin": known})
            assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, known)
        foreign = http.request("OPTIONS", "/messages", headers={"origin": "http://evil.example", **asked})
        assert "access-control-allow-origin" not in foreign.headers


def test_the_page_of_the_edge_stays_at_home(stack: RunningStack) -> None:
    """Where the edge has the functions, the page asks where it came from, and may go nowhere else."""
    with httpx2.Client(base_url=_edge(stack), trust_env=False) as http:
        assert _page_config(stack, http)["api_url"] == ""
        assert "connect-src 'self' ws: wss:" in http.get("/").headers["content-security-policy"]


def test_their_logs(zipped: RunningStack) -> None:
    """`logs api` shows what the functions logged in the engine, in its place among the others, without any message text."""
    job = zipped.json("send", f"a secret {SHORT}")["job_id"]
    shown = zipped.cli("logs")
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = [line for line in shown.stdout.splitlines() if job in line]
    accepted, *_ = [line for line in lines if "job accepted" in line]
    (ended,) = [line for line in lines if "job ended" in line]
    assert accepted.split()[1] == "api"
    assert lines.index(accepted) < lines.index(ended)
    assert "secret" not in shown.stdout
    assert "RequestId" not in shown.stdout
    (last,) = [json.loads(line) for line in zipped.cli("logs", "api", "--json", "-n", "50").stdout.splitlines()[-1:]]
    assert (last["part"], last["event"], last["job_id"]) == ("api", "job accepted", job)
    assert "job accepted" not in zipped.cli("logs", "gateway").stdout


async def test_their_logs_as_they_come(zipped: RunningStack) -> None:
    """The first look has the last lines, the next what came since, each line once; none while the engine has none."""
    definition = Stack(zipped.run["stack_name"])
    jobs = [zipped.json("send", SHORT)["job_id"] for _ in range(2)]
    logs = FunctionLogs(Aws(zipped.settings), definition, lines=1)
    assert [json.loads(line)["job_id"] for line in logs.read()] == jobs[1:]
    none = FunctionLogs(Aws(zipped.settings), definition, lines=0)
    assert none.read() == []
    job = zipped.json("send", SHORT)["job_id"]
    for each in (logs, none):
        assert [json.loads(line)["job_id"] for line in await eventually(each.read)] == [job]
    nowhere = Aws(replace(zipped.settings, aws_endpoint_url="http://127.0.0.1:9"))
    assert FunctionLogs(nowhere, definition, lines=9).read() == []


@pytest.mark.long
async def test_the_engine_dies(zipped: RunningStack) -> None:
    """A killed engine comes back with the functions at the same URL, and the Lambda processes of the first end."""
    with _http(zipped, "survivor") as http:
        assert http.get("/conversations").status_code == 200
        before, pid = _lambdas(zipped), zipped.project.require_run().pids["engine"]
        psutil.Process(pid).kill()

        def back() -> bool:
            run = zipped.project.read_run()
            return run is not None and run.state == "ready" and run.pids["engine"] != pid

        await eventually(back)
        assert http.post("/messages", json={"content": SHORT}).status_code == 202
    await eventually(lambda: not [process for process in before if process.is_running()])


# --- deploying -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def deployable(zipped: RunningStack) -> Iterator[Cloud]:
    """A cloud whose functions can be deployed to an engine that runs some; they are removed afterwards."""
    cloud = make_cloud(zipped, up_functions="zip", api_port=4321)
    yield cloud
    list(remove(cloud.aws, cloud.stack))


@pytest.mark.long
async def test_deploying_twice_changes_nothing(zipped: RunningStack, deployable: Cloud) -> None:
    """First all is created, then all is unchanged; what runs is what `build functions` makes; `remove` leaves nothing."""
    cloud, definition = deployable, deployable.stack
    names = sorted({route.function for route in definition.routes})
    first = list(deploy(cloud.aws, definition, cloud.settings))
    assert [change.action for change in first] == ["created"] * (len(names) + 1)
    assert [change.name for change in first] == [*(definition.function_name(name) for name in names), definition.name]
    again = list(deploy(cloud.aws, definition, cloud.settings))
    assert {change.action for change in again} == {"unchanged"}
    for each in build_functions(definition):
        found = cloud.aws.lambda_.get_function_configuration(FunctionName=definition.function_name(each.name))
        assert (found["CodeSha256"], found["Handler"]) == (each.code_sha256, each.handler)
    with _beside(cloud) as http:
        assert http.post("/messages", json={"content": "x"}, timeout=HANGS).status_code == 202
        running = [process for process in _lambdas(zipped) if definition.name in " ".join(process.cmdline())]
        assert running
        gone = list(remove(cloud.aws, definition))
        assert {change.action for change in gone} == {"deleted"}
        assert [change.name for change in gone if change.kind == "api"] == [definition.name]
        assert {change.name for change in gone if change.kind == "function"} == {
            definition.function_name(name) for name in names
        }
        called = {f"/aws/lambda/{definition.function_name(name)}" for name in ("health", "post_message")}
        assert {change.name for change in gone if change.kind == "log_group"} == called
        assert http.post("/messages", json={"content": "x"}).status_code == 404
    await eventually(lambda: not [process for process in running if process.is_running()])
    assert list(remove(cloud.aws, definition)) == []


@pytest.mark.long
def test_drift_is_brought_back(deployable: Cloud) -> None:
    """Another code, other variables, other origins and a route that is missing are each found, named and mended."""
    cloud, definition = deployable, deployable.stack
    list(deploy(cloud.aws, definition, cloud.settings))
    name = definition.function_name("get_job")
    another = archive({"cloudia/functions/get_job.py": b"handler = print"})
    cloud.aws.lambda_.update_function_code(FunctionName=name, ZipFile=another)
    routes = cloud.aws.http_apis.get_routes(ApiId=definition.name)["Items"]
    cloud.aws.http_apis.delete_route(ApiId=definition.name, RouteId=routes[0]["RouteId"])
    changed = replace(cloud.settings, api_port=4322, limits_content_bytes=10)
    drift = {change.name: change.drift for change in deploy(cloud.aws, definition, changed)}
    assert drift.pop(definition.name) == ("cors", "routes")
    assert drift.pop(name) == ("code", "Environment")
    assert set(drift.values()) == {("Environment",)}
    with _beside(cloud) as http:
        assert http.post("/messages", json={"content": "x" * 11}, timeout=HANGS).status_code == 413
        assert http.get("/jobs/x", timeout=HANGS).status_code == 400


def test_a_function_that_fails_says_why(deployable: Cloud) -> None:
    """Where the functions cannot reach AWS, deploying fails with the function's name and its own reason."""
    cloud = deployable
    settings = replace(cloud.settings, aws_endpoint_url="not-a-url")
    with pytest.raises(UnavailableError, match=f"{cloud.stack.name}-health answers 500: .*not-a-url"):
        list(deploy(cloud.aws, cloud.stack, settings))


def test_no_secret_is_in_the_variables() -> None:
    """A function gets what it reads, and asks SSM for secrets; the one that publishes alone has the URL of Redis."""
    settings = Settings().changed(
        stack_name="mine",
        aws_endpoint_url="http://127.0.0.1:1",
        openai_api_key="sk-secret",
        auth_token="secret",
        auth_issuer="me",
        limits_content_bytes=99,
        log_level="debug",
        worker_concurrency=3,
        redis_url="redis://:secret@host",
    )
    told = {
        "CLOUDIA_STACK_NAME": "mine",
        "CLOUDIA_AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "CLOUDIA_AUTH_ISSUER": "me",
        "CLOUDIA_LIMITS_CONTENT_BYTES": "99",
        "CLOUDIA_LOG_LEVEL": "debug",
    }
    for function in Stack("mine").functions:
        redis = {"CLOUDIA_REDIS_URL": "redis://:secret@host"} if function.name == "cancel_job" else {}
        assert function_environment(settings, function) == told | redis


def test_the_engine_passes_nothing_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions inherit the engine's environment, so the user's account, keys and settings are not in it."""
    for name in (
        "AWS_PROFILE",
        "AWS_SESSION_TOKEN",
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "CLOUDIA_WORKER_CONCURRENCY",
    ):
        monkeypatch.setenv(name, "mine")
    assert "mine" not in environment(1, temporary=tmp_path, data=None).values()


# --- what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["localstack", "endpoint"])
def test_other_engines_have_no_http_api(engine: str) -> None:
    """Engines that have no HTTP API are refused by name, with both ways out."""
    with pytest.raises(UsageError, match=f"the engine {engine} has no HTTP API") as caught:
        check_zips(Settings(up_engine=engine))
    assert "--engine ministack" in caught.value.hint
    assert "--functions edge" in caught.value.hint


def test_a_name_that_lambda_does_not_take() -> None:
    """A stack's name that leaves no room for its functions' is refused; the longest that does is not."""
    with pytest.raises(UsageError, match="too long"):
        check_zips(Settings(stack_name="x" * 41))
    fits = Settings(stack_name="x" * 40)
    check_zips(fits)
    definition = Stack(fits.stack_name)
    assert all(len(definition.function_name(route.function)) <= 64 for route in definition.routes)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--functions", "docker"), "up.functions (from flag) is not one of edge, zip"),
        (("--functions", "zip", "--endpoint-url", "http://127.0.0.1:9"), "the engine endpoint has no HTTP API"),
    ],
)
def test_refused_before_anything_starts(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """A word that is none, and an engine that cannot, end with 2 and one sentence; nothing was started."""
    done = cli("up", "--detach", "--json", *arguments, folder=tmp_path)
    assert done.returncode == 2
    error: dict[str, Any] = json.loads(done.stderr.strip().splitlines()[-1])["error"]
    assert said in error["message"]
    assert error["hint"]
    assert cli("status", folder=tmp_path).returncode == 3
