"""Grants: what the functions, the worker and the gateway ask of AWS is what the stack lets them do, no less and no more."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Iterable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import pytest
from websockets.asyncio.client import connect

from cloudia.cloud.allowances import Limits
from cloudia.cloud.identity import OPERATOR, Identity
from cloudia.cloud.intake import Intake
from cloudia.cloud.parameters import Parameters
from cloudia.cloud.presence import Presence
from cloudia.cloud.reserve import Reserve, budgets_of
from cloudia.functions.services import services as function_services
from cloudia.gateway.gateway import Gateway
from cloudia.gateway.services import make_services as gateway_services
from cloudia.operate.dead_letters import DeadLetters
from cloudia.providers import PROVIDERS
from cloudia.sim.ports import LOOPBACK, choose_port
from cloudia.stack import Grant, Stack
from cloudia.worker.services import make_services as worker_services
from cloudia.worker.worker import Worker
from tests.gateway.nodes import greet
from tests.operate.test_dead_letters import bury, dead
from tests.patience import HANGS
from tests.support import Cloud, eventually
from tests.worker.working import accept, ended, wear

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloudia.protocol import QueuedJob

SHORT, SLOW = "[[words:5]]", "[[words:3000]]"
PRICES = '{"sim-1": {"input": 0.1, "output": 1}}'
USER = "alice"

_IN_A_TRANSACTION = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}
_BATCHES = {"SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"}


class Calls:
    """What this process asks AWS for, through clients that are made from now on: pairs of a resource and an IAM action."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str]] = set()
        session = botocore.session.get_session()
        session.register("provide-client-params", self._note)
        self.session = boto3.Session(botocore_session=session)

    def _note(self, **given: Any) -> None:
        model = given["model"]
        service = model.service_model.service_name
        self.seen |= {(resource, f"{service}:{action}") for resource, action in _asked(model.name, given["params"])}


def _asked(operation: str, params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what IAM looks at for one request: the resource's name (`table/index` for an index), and the action."""
    if operation == "TransactWriteItems":
        for item in params["TransactItems"]:
            for kind, write in item.items():
                yield write["TableName"], _IN_A_TRANSACTION[kind]
    elif "RequestItems" in params:
        yield from ((table, operation) for table in params["RequestItems"])
    elif "TableName" in params:
        index = f"/{params['IndexName']}" if "IndexName" in params else ""
        yield f"{params['TableName']}{index}", operation
    elif "QueueUrl" in params:
        yield (
            params["QueueUrl"].rsplit("/", 1)[1],
            operation.removesuffix("Batch") if operation in _BATCHES else operation,
        )
    else:
        yield params.get("QueueName") or params["Name"], operation


def _granted(grants: Iterable[Grant]) -> set[tuple[str, str]]:
    return {
        (f"{grant.resource.name}/{grant.index.name}" if grant.index else grant.resource.name, action)
        for grant in grants
        for action in grant.actions
    }


@pytest.fixture
def calls(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What is asked by whoever makes its services in this test; the cloud itself has its clients already."""
    _ = cloud.aws.dynamodb, cloud.aws.sqs, cloud.aws.ssm
    calls = Calls()
    monkeypatch.setattr("cloudia.cloud.aws._session_of_nobody", lambda: calls.session)
    return calls


# --- the functions -------------------------------------------------------------------------------------------------------


@pytest.fixture
def as_a_function(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process has a function's environment, and has not made its services yet."""
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CLOUDIA_LIMITS_JOBS_PER_USER", "1")  # Who comes to the limit has the jobs in flight looked at.
    monkeypatch.setenv("CLOUDIA_LIMITS_USER_DOLLARS_PER_DAY", "1")
    monkeypatch.setenv("CLOUDIA_LLM_PRICES", PRICES)
    function_services.cache_clear()
    yield
    function_services.cache_clear()


def _event(cloud: Cloud, body: dict[str, Any] | None = None, **path: str) -> dict[str, Any]:
    return {
        "headers": {"authorization": f"Bearer {cloud.token(USER)}"},
        "pathParameters": path,
        "body": json.dumps(body) if body else None,
    }


def _fail(cloud: Cloud, job_id: str) -> None:
    """End a job."""
    cloud.jobs.abandon(job_id, owner="a test", error={})


def _events(cloud: Cloud, function: str) -> Iterator[dict[str, Any]]:
    """Yield events that take a function through all that it does."""
    job = cloud.accept(user=USER)
    here = job.conversation_id
    match function:
        case "post_message":
            session = Identity(Parameters(cloud.aws.ssm), cloud.stack, cloud.settings).new_session(USER)
            message = {"content": SHORT, "session_id": session, "idempotency_key": "k"}
            yield _event(cloud, message)
            yield _event(cloud, message)
            for job_id, _ in cloud.jobs.in_state("open", most=10):
                _fail(cloud, job_id)
            yield _event(cloud, {"content": SHORT, "conversation_id": job.conversation_id})
        case "list_conversations":
            yield _event(cloud)
            yield {**_event(cloud), "queryStringParameters": {"search": "nowhere"}}
        case "health":
            Presence(cloud.aws.dynamodb, cloud.stack).beat("worker", "a test")
            yield _event(cloud)
        case "rename_conversation":
            yield _event(cloud, {"title": "another"}, id=here)
        case "list_messages":
            yield _event(cloud, id=here)
        case "delete_conversation":
            # A job that ended after the list of what is unanswered was read, and so has no answer in it.
            cloud.aws.dynamodb.update_item(
                TableName=cloud.stack.jobs.name,
                Key={"job_id": {"S": job.job_id}},
                UpdateExpression="SET #status = :failed",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={":failed": {"S": "failed"}},
            )
            yield _event(cloud, id=here)
        case "get_job":
            _fail(cloud, job.job_id)
            yield _event(cloud, id=job.job_id)
        case "cancel_job":
            yield _event(cloud, id=job.job_id)
            _fail(cloud, job.job_id)
            yield _event(cloud, id=job.job_id)


def _operators_events(cloud: Cloud, job: QueuedJob) -> Iterator[dict[str, Any]]:
    """Yield events that take the operator's function through all that it does."""

    def event(key: str, body: dict[str, Any] | None = None, **path: str) -> dict[str, Any]:
        asked = _event(cloud, body, **path)
        asked["headers"]["authorization"] = f"Bearer {cloud.token(USER, role=OPERATOR)}"
        return {**asked, "routeKey": key, "queryStringParameters": {"user": USER} if "conversations" in key else None}

    first, second, third = dead(cloud), dead(cloud), dead(cloud)
    bury(cloud, _with_a_hold(cloud))  # As SQS does with what was received too often: its job has not ended.
    yield event("GET /operator/live")
    yield event("GET /operator/jobs")
    yield event("GET /operator/jobs/{id}", id=first.job_id)
    yield event("GET /operator/jobs/{id}", id=job.job_id)
    yield event("GET /operator/costs")
    yield event("GET /operator/dead-letters")
    yield event("GET /operator/dead-letters/{id}", id=first.job_id)
    yield event("POST /operator/dead-letters/redrive", {"ids": [first.job_id], "content": "another"})
    yield event("POST /operator/dead-letters/redrive", {"ids": [second.job_id]})
    letters = [letter.id for letter in DeadLetters(cloud.dead_letters, cloud.queue, cloud.jobs).look().letters]
    assert third.job_id in letters
    yield event("POST /operator/dead-letters/purge", {"ids": letters})
    yield event("GET /operator/conversations")
    yield event("GET /operator/conversations/{id}/messages", id=first.conversation_id)


def _with_a_hold(cloud: Cloud) -> QueuedJob:
    """Accept a job that has leave to spend something."""
    budgeted = cloud.settings.changed(limits_user_dollars_per_day=1, llm_prices=PRICES)
    limits, budgets = Limits.of(budgeted), budgets_of(budgeted)
    intake = Intake(cloud.aws.dynamodb, cloud.stack, limits, budgets, Reserve(budgeted))
    fields = {"conversation_id": None, "session_id": None, "idempotency_key": None, "traceparent": None}
    return intake.accept(user_id=USER, content=SHORT, **fields)[0]  # type: ignore[arg-type]


@pytest.mark.usefixtures("as_a_function")
@pytest.mark.parametrize("name", [function.name for function in Stack(operator=True).functions])
def test_a_function_may_do_what_it_does(name: str, cloud: Cloud, calls: Calls) -> None:
    """Each function asks of AWS what it is granted, over all its ways, and nothing that it is granted goes unused."""
    whole = Stack(cloud.stack.name, operator=True)
    (function,) = [each for each in whole.functions if each.name == name]
    handler = importlib.import_module(f"cloudia.functions.{name}").handler
    events = _operators_events(cloud, cloud.accept(user=USER)) if name == "operator" else _events(cloud, name)
    for event in events:
        answer = handler(event, None)
        assert answer["statusCode"] < 300, answer
    assert calls.seen == _granted(function.grants)


# --- the services --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _until_stopped(service: Worker | Gateway) -> AsyncIterator[None]:
    """Run a service while the block does, and see it end well."""
    running = asyncio.create_task(service.run())
    try:
        yield
    finally:
        service.stop()
        await asyncio.wait_for(running, HANGS)


async def test_the_worker_may_do_what_it_does(cloud: Cloud, calls: Calls) -> None:
    """Answers, and messages that come twice, are no job, are stopped, or were received too often: as granted, all of it."""
    settings = cloud.settings.changed(
        **{f"{name}_api_key": "" for name in PROVIDERS},
        llm_fallback=",".join(f"{name}:m" for name in PROVIDERS if name != cloud.settings.llm_provider),
        redis_url="",
        worker_visibility_seconds=3,
        worker_lease_seconds=3,
        reconcile_after_seconds=1,
        limits_user_dollars_per_day=1,
        llm_prices=PRICES,
    )
    held = accept(cloud, SHORT)
    accept(cloud, SHORT, conversation=held.conversation_id)
    wear(cloud, cloud.stack.jobs_queue.worn_receive_count)
    cloud.jobs.lease(held.job_id, "another worker", 60)
    async with _until_stopped(Worker(await worker_services(settings))):
        first = accept(cloud, SHORT)
        assert (await ended(cloud, first)).status == "done"
        second = accept(cloud, SHORT, conversation=first.conversation_id)
        assert (await ended(cloud, second)).status == "done"
        cloud.queue.send_raw(second.encode(), group=second.conversation_id, deduplication_id="again")
        await eventually(lambda: (cloud.stack.messages.name, "dynamodb:GetItem") in calls.seen)
        cloud.queue.send_raw("no job", group="other", deduplication_id="other")
        await eventually(lambda: (cloud.stack.dead_letters.name, "sqs:SendMessage") in calls.seen)
        slow = accept(cloud, SLOW)
        await eventually(lambda: (cloud.stack.jobs.name, "dynamodb:BatchGetItem") in calls.seen)
        await eventually(lambda: (cloud.stack.jobs_queue.name, "sqs:ChangeMessageVisibility") in calls.seen)
        cloud.jobs.request_cancel(slow.job_id, USER)
        assert (await ended(cloud, slow)).status == "cancelled"
        await eventually(lambda: (cloud.stack.presence.name, "dynamodb:PutItem") in calls.seen)
        await eventually(lambda: (cloud.stack.jobs_queue.name, "sqs:SendMessage") in calls.seen)
        await eventually(lambda: (f"{cloud.stack.jobs.name}/by_state", "dynamodb:Query") in calls.seen)
    assert calls.seen == _granted(cloud.stack.worker.grants)


async def test_the_gateway_may_do_what_it_does(cloud: Cloud, calls: Calls) -> None:
    """A first hello, one that resumes, signs of life and a goodbye: as granted, all of it."""
    port = choose_port()
    settings = cloud.settings.changed(gateway_host=LOOPBACK, gateway_port=port)
    async with _until_stopped(Gateway(gateway_services(settings))):
        await eventually(lambda: (cloud.stack.presence.name, "dynamodb:PutItem") in calls.seen)
        session = None
        for _ in range(2):
            async with connect(f"ws://{LOOPBACK}:{port}", proxy=None) as socket:
                session = (await greet(socket, cloud.token(USER), session))["session_id"]
    assert calls.seen == _granted(cloud.stack.gateway.grants)
