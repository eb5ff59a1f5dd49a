"""The operator API: what whoever runs a stack sees and does over HTTP, and that nobody else does."""

from __future__ import annotations

import importlib
import json
import time
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import pytest_asyncio

from cloudia.cloud.identity import OPERATOR
from cloudia.cloud.job_records import Lease
from cloudia.functions.services import services as function_services
from cloudia.stack import Stack
from tests.functions import contract
from tests.functions.apis import edge_of
from tests.operate.test_dead_letters import dead, waiting
from tests.support import Cloud, RunningStack, make_cloud

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


ROUTES = Stack().operator_routes
ROLE = {"role": OPERATOR}


class Desk:
    """A cloud with an HTTP API and without a worker, and clients of it."""

    def __init__(self, cloud: Cloud, url: str) -> None:
        self.cloud = cloud
        self.url = url
        self.operator = contract.client(url, cloud.token("ops", **ROLE))
        self.user = contract.client(url, cloud.token("alice"))

    def get(self, path: str, **query: Any) -> Any:
        """Return what the operator is told."""
        response = self.operator.get(path, params=query)
        assert response.status_code == 200, response.text
        return response.json()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """A cloud of this file's own."""
    cloud = make_cloud(stack)
    async with edge_of(cloud, tmp_path_factory.mktemp("desk") / "edge.log") as (url, _):
        desk = Desk(cloud, url)
        yield desk
        desk.operator.close()
        desk.user.close()


def finished(cloud: Cloud, content: str = "hello", status: str = "done", user: str = "alice") -> str:
    """Accept a job, and end it as a worker does. Return its id."""
    job = cloud.accept(content, user=user)
    lease = cloud.jobs.lease(job.job_id, "wrk_1", 30)
    assert isinstance(lease, Lease)
    error = None if status == "done" else {"code": "llm_failed", "message": "no", "hint": ""}
    cloud.jobs.finish(lease, status, content=f"answer to {content}", error=error)  # type: ignore[arg-type]
    return job.job_id


# --- who may --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_users_token_is_refused(desk: Desk, route: Any) -> None:
    """A user's token is a 403 with one sentence on each route, whatever else is asked; no token, or a stranger's, a 401."""
    path = route.path.replace("{id}", "job_01m82ns9p2xqamevtfvfmjq5f3")
    refused = desk.user.request(route.method, path, json={"ids": ["x"]} if route.method == "POST" else None)
    assert (refused.status_code, contract.code_of(refused)) == (403, "forbidden")
    assert "cloudia token --operator" in refused.json()["error"]["hint"]
    for token in (None, desk.cloud.token("alice", seconds=-60, **ROLE), "e30.e30.e30"):
        with contract.client(desk.url, token) as client:
            assert client.request(route.method, path).status_code == 401


@pytest.mark.parametrize("role", ["Operator", "operators", "user", "", True, ["operator"], {"operator": 1}])
def test_the_role_is_one_word(desk: Desk, role: Any) -> None:
    """Only the claim `role` that is exactly `operator` makes one; no other value, and no user's name."""
    with contract.client(desk.url, desk.cloud.token(OPERATOR, role=role)) as client:
        assert client.get("/operator/live").status_code == 403


def test_an_operator_is_a_user_besides(desk: Desk) -> None:
    """The role opens the operator's routes, and no conversation of another user's on the users' own."""
    job_id = finished(desk.cloud, "mine", user="alice")
    assert desk.operator.get(f"/jobs/{job_id}").status_code == 404
    assert desk.user.get(f"/jobs/{job_id}").status_code == 200


def test_no_page_of_another_origin_may(desk: Desk) -> None:
    """A browser is let neither read nor write across origins, as everywhere: no preflight is answered."""
    headers = {
        "origin": "https://evil.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    for path in ("/operator/dead-letters/purge", "/operator/live"):
        answer = desk.operator.options(path, headers=headers)
        assert answer.status_code == 404
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_dashboard_gets_its_token_by_cookie_and_key(stack: RunningStack) -> None:
    """What the page's code was traded for, both together, gets the operator's token and the parts; nothing else does."""
    with httpx2.Client(base_url=stack.run["api_url"], trust_env=False) as browser:
        opened = browser.post("/page/session", headers={"authorization": f"Bearer {stack.page_code}"})
        key = {"x-cloudia": opened.json()["key"]}
        for path in ("/page/operator", "/page/parts"):
            assert browser.get(path).status_code == 403
            assert browser.get(path, headers=key).status_code == 200
            with httpx2.Client(base_url=stack.run["api_url"], trust_env=False) as another:
                assert another.get(path, headers=key).status_code == 403
                bearer = {"authorization": f"Bearer {stack.token('ops', **ROLE)}"}
                assert another.get(path, headers=bearer).status_code == 403
        token = browser.get("/page/operator", headers=key).json()["token"]
        users = browser.get("/page/config", headers=key).json()["token"]
        parts = browser.get("/page/parts", headers=key).json()["parts"]
        for bearer, status in ((token, 200), (users, 403)):
            asked = browser.get("/operator/live", headers={"authorization": f"Bearer {bearer}"})
            assert asked.status_code == status
    assert {part["name"] for part in parts} >= {"api", "gateway", "worker"}
    assert {part["state"] for part in parts} == {"ready"}


def test_deployed_it_is_off_until_it_is_asked_for() -> None:
    """No route and no function of it is in a stack by itself; with it, no other function has another right than before."""
    plain, whole = Stack("s"), Stack("s", operator=True)
    assert not [route for route in plain.routes if route.path.startswith("/operator")]
    assert "operator" not in {function.name for function in plain.functions}
    assert [each for each in whole.functions if each.name != "operator"] == list(plain.functions)
    assert {route.function for route in whole.operator_routes} == {"operator"}


# --- looking --------------------------------------------------------------------------------------------------------------


def test_live_tells_how_it_is_now(desk: Desk) -> None:
    """The queue, the dead letters, the oldest open job, and how the last minute's messages ended, with their latencies."""
    before = desk.get("/operator/live")
    finished(desk.cloud)
    finished(desk.cloud, status="failed")
    desk.cloud.accept("waits")

    def look() -> Any:
        seen = desk.get("/operator/live")
        return seen if seen["ended"]["failed"] > before["ended"]["failed"] and seen["oldest_open_seconds"] else None

    live = eventually_sync(look)
    assert live["status"] == "degraded"
    assert live["ended"]["done"] > before["ended"]["done"]
    assert live["queue"]["total"] >= 0
    assert live["latencies"]["total_ms"]["p50"] <= live["latencies"]["total_ms"]["p95"]


def eventually_sync(look: Any) -> Any:
    """Wait for an index that is behind by a moment."""
    deadline = time.monotonic() + 10
    while (found := look()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_jobs_come_in_pages_by_their_state(desk: Desk) -> None:
    """Each job of a state once, the last first, over pages of any size."""
    ids = [finished(desk.cloud, f"page {number}", "cancelled") for number in range(7)]
    seen: list[str] = []
    cursor = None
    while True:
        page = desk.get("/operator/jobs", state="cancelled", limit=3, **({"cursor": cursor} if cursor else {}))
        assert len(page["jobs"]) <= 3
        seen += [job["job_id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen))
    assert set(ids) <= set(seen)
    assert next(job_id for job_id in seen if job_id in ids) == ids[-1]
    everything = [job["job_id"] for job in desk.get("/operator/jobs", limit=100)["jobs"]]
    assert set(ids) <= set(everything)
    assert desk.get("/operator/jobs", state="cancelled", slower="9999.5")["jobs"] == []


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/operator/jobs", {"state": "queued"}, "wrong_type"),
        ("/operator/jobs", {"slower": "-1"}, "wrong_type"),
        ("/operator/jobs", {"slower": "nan"}, "wrong_type"),
        ("/operator/jobs", {"cursor": "WyJ4IiwgInkiXQ"}, "bad_cursor"),
        ("/operator/jobs", {"cursor": "x"}, "bad_cursor"),
        ("/operator/jobs", {"limit": "0"}, "bad_limit"),
        ("/operator/jobs", {"sort": "x"}, "unknown_parameter"),
        ("/operator/jobs/msg_1", {}, "bad_job_id"),
        ("/operator/costs", {"by": "colour"}, "wrong_type"),
        ("/operator/costs", {"since_seconds": "1e9"}, "wrong_type"),
        ("/operator/dead-letters", {"limit": "101"}, "bad_limit"),
        ("/operator/conversations", {}, "missing_field"),
        ("/operator/conversations", {"user": "x" * 129}, "missing_field"),
        ("/operator/conversations/cnv_1/messages", {"user": "x"}, "bad_conversation_id"),
    ],
)
def test_bad_questions_are_refused(desk: Desk, path: str, query: dict[str, str], code: str) -> None:
    """Each is a 400 that names what is wrong."""
    refused = desk.operator.get(path, params=query)
    assert (refused.status_code, contract.code_of(refused)) == (400, code)


def test_one_job_with_all_that_is_known(desk: Desk) -> None:
    """Its parts over time, its attempts, why, and what was asked and answered."""
    job_id = finished(desk.cloud, "tell me")
    job = desk.get(f"/operator/jobs/{job_id}")
    assert (job["status"], job["attempts"], job["user_id"]) == ("done", 1, "alice")
    assert [part["kind"] for part in job["parts"]] == ["queue", "attempt"]
    assert job["why"].startswith("It was answered")
    assert (job["content_shown"], job["prompt"], job["answer"]) == (True, "tell me", "answer to tell me")
    missing = desk.operator.get("/operator/jobs/job_01m82ns9p2xqamevtfvfmjq5f3")
    assert (missing.status_code, contract.code_of(missing)) == (404, "no_job")


def test_costs_are_summed(desk: Desk) -> None:
    """By model, user, conversation or day; what nobody was asked for costs nothing."""
    for by in ("model", "user", "conversation", "day"):
        told = desk.get("/operator/costs", by=by, since_seconds=3600)
        assert (told["by"], told["whole"]) == (by, True)


def test_conversations_of_one_user(desk: Desk) -> None:
    """Listed and read under their owner; another's conversation is not found there."""
    desk.cloud.accept("about foxes", user="bob")
    (conversation,) = desk.get("/operator/conversations", user="bob")["conversations"]
    assert conversation["title"] == "about foxes"
    path = f"/operator/conversations/{conversation['conversation_id']}/messages"
    assert [message["content"] for message in desk.get(path, user="bob")["messages"]] == ["about foxes"]
    refused = desk.operator.get(path, params={"user": "carol"})
    assert (refused.status_code, contract.code_of(refused)) == (404, "no_conversation")


# --- dead letters -----------------------------------------------------------------------------------------------------------


def test_a_letter_is_looked_at_edited_and_redriven(desk: Desk) -> None:
    """Seen with its text; redriven with another one, it is queued and gone from the list; redriven again it is a 404."""
    job = dead(desk.cloud, "a bad prompt")
    assert job.job_id in [letter["id"] for letter in desk.get("/operator/dead-letters")["letters"]]
    letter = desk.get(f"/operator/dead-letters/{job.job_id}")
    assert (letter["content"], letter["redrivable"], len(letter["attempt_history"])) == ("a bad prompt", True, 2)
    waiting(desk.cloud)
    answer = desk.operator.post(
        "/operator/dead-letters/redrive", json={"ids": [job.job_id], "content": "a good one", "model": "sim-2"}
    )
    assert [each["outcome"] for each in answer.json()["letters"]] == ["redriven"]
    (sent,) = waiting(desk.cloud)
    assert (sent.job_id, sent.content, sent.model) == (job.job_id, "a good one", "sim-2")
    again = desk.operator.post("/operator/dead-letters/redrive", json={"ids": [job.job_id]})
    assert (again.status_code, contract.code_of(again)) == (404, "no_letter")


def test_letters_are_purged(desk: Desk) -> None:
    """Only those that were named go; their jobs stay recorded."""
    gone, stays = dead(desk.cloud, "gone"), dead(desk.cloud, "stays")
    answer = desk.operator.post("/operator/dead-letters/purge", json={"ids": [gone.job_id]})
    assert (answer.json()["deleted"], answer.json()["left"]) == (1, 0)
    left = [letter["id"] for letter in desk.get("/operator/dead-letters")["letters"]]
    assert gone.job_id not in left
    assert stays.job_id in left
    assert desk.get(f"/operator/jobs/{gone.job_id}")["status"] == "dead_lettered"


def test_what_is_no_job_is_seen_and_not_edited(desk: Desk) -> None:
    """A message that is none of ours is shown as it came, cannot be changed, stays when it is redriven, and can be purged."""
    desk.cloud.dead_letters.send_raw("no job", group="g", deduplication_id="no-job")
    (letter,) = [each for each in desk.get("/operator/dead-letters")["letters"] if each["error_type"] == "not_a_job"]
    assert desk.get(f"/operator/dead-letters/{letter['id']}")["body"] == "no job"
    changed = desk.operator.post("/operator/dead-letters/redrive", json={"ids": [letter["id"]], "content": "x"})
    assert (changed.status_code, contract.code_of(changed)) == (409, "not_a_job")
    stays = desk.operator.post("/operator/dead-letters/redrive", json={"ids": [letter["id"]]})
    assert [each["outcome"] for each in stays.json()["letters"]] == ["not_a_job"]
    assert desk.operator.post("/operator/dead-letters/purge", json={"ids": [letter["id"]]}).json()["deleted"] == 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "wrong_type"),
        ({"ids": []}, 400, "wrong_type"),
        ({"ids": "x"}, 400, "wrong_type"),
        ({"ids": [1]}, 400, "wrong_type"),
        ({"ids": ["x"] * 101}, 400, "wrong_type"),
        ({"ids": ["x"], "all": True}, 400, "unknown_field"),
        ({"ids": ["x"], "content": " "}, 400, "empty_content"),
        ({"ids": ["x"], "content": 1}, 400, "wrong_type"),
        ({"ids": ["x"], "model": ""}, 400, "bad_model"),
        ({"ids": ["x"], "model": "m\x1b[2J"}, 400, "bad_model"),
        ({"ids": ["x", "y"], "content": "z"}, 400, "invalid_request"),
        ({"ids": ["x"], "content": "z" * 40_000}, 413, "content_too_large"),
        ({"ids": ["x"]}, 404, "no_letter"),
    ],
)
def test_bad_redrives_change_nothing(desk: Desk, body: dict[str, Any], status: int, code: str) -> None:
    """Each is refused by its code before anything is done."""
    refused = desk.operator.post("/operator/dead-letters/redrive", json=body)
    assert (refused.status_code, contract.code_of(refused)) == (status, code)


# --- where content may not be shown -------------------------------------------------------------------------------------------


def _call(cloud: Cloud, key: str, query: dict[str, str] | None = None, **path: str) -> Any:
    handler = importlib.import_module("cloudia.functions.operator").handler
    answer = handler(
        {
            "routeKey": key,
            "headers": {"authorization": f"Bearer {cloud.token('ops', **ROLE)}"},
            "pathParameters": path,
            "queryStringParameters": query,
        },
        None,
    )
    assert answer["statusCode"] == 200, answer["body"]
    return json.loads(answer["body"])


@pytest.mark.parametrize(
    ("capture", "shown"), [("", False), ("no_content", False), ("span_only", True), ("true", True)]
)
def test_in_lambda_text_is_shown_where_telemetry_may_have_it(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capture: str, shown: bool
) -> None:
    """On AWS no prompt, answer, title or letter is told, unless OpenTelemetry's own variable lets content be captured."""
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "operator")
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", capture)
    monkeypatch.setattr("cloudia.functions.services.telemetry.configure_logs", lambda *_, **__: None)
    function_services.cache_clear()
    try:
        job_id, letter = finished(cloud, "SECRET one"), dead(cloud, "SECRET two")
        conversation = _call(cloud, "GET /operator/jobs/{id}", id=job_id)["conversation_id"]
        told = [
            _call(cloud, "GET /operator/live"),
            _call(cloud, "GET /operator/jobs"),
            _call(cloud, "GET /operator/jobs/{id}", id=job_id),
            _call(cloud, "GET /operator/dead-letters"),
            _call(cloud, "GET /operator/dead-letters/{id}", id=letter.job_id),
            _call(cloud, "GET /operator/conversations", {"user": "alice"}),
            _call(cloud, "GET /operator/conversations/{id}/messages", {"user": "alice"}, id=conversation),
        ]
    finally:
        function_services.cache_clear()
    assert told[2]["content_shown"] is shown
    assert [("SECRET" in str(each)) for each in told] == [False, False, shown, False, shown, shown, shown]
