"""Fair use over HTTP: what is too much is a 429, what costs too much a 402, and each says when there is more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.functions.apis import Users, edge_of
from tests.functions.contract import code_of
from tests.support import RunningStack, make_cloud
from tests.worker.working import depth

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_message_too_many_is_a_429_with_a_time(stack: RunningStack, tmp_path: Path) -> None:
    """It names the seconds to wait, nothing is accepted, and others are not concerned."""
    cloud = make_cloud(stack, limits_messages_per_minute=2)
    async with edge_of(cloud, tmp_path / "edge.log") as (url, _):
        with Users(url, cloud.token) as users:
            for _ in range(2):
                assert users.client("many").post("/messages", json={"content": "hello"}).status_code == 202
            refused = users.client("many").post("/messages", json={"content": "hello"})
            assert (refused.status_code, code_of(refused)) == (429, "too_many_messages")
            assert 1 <= int(refused.headers["retry-after"]) <= 30
            assert users.client("one").post("/messages", json={"content": "hello"}).status_code == 202
            ((_, conversations),) = [
                item for item in users.client("many").get("/conversations").json().items() if isinstance(item[1], list)
            ]
            assert len(conversations) == 2


async def test_a_message_over_budget_is_a_402_with_a_time(stack: RunningStack, tmp_path: Path) -> None:
    """It says what to do; nothing is accepted, nothing goes to the queue, and others are not concerned."""
    cloud = make_cloud(
        stack,
        llm_prices='{"sim-1": {"input": 0, "output": 1000}}',
        llm_max_tokens=100,
        limits_user_dollars_per_day=0.25,
    )
    async with edge_of(cloud, tmp_path / "edge.log") as (url, _):
        with Users(url, cloud.token) as users:
            for _ in range(2):
                assert users.client("poor").post("/messages", json={"content": "hello"}).status_code == 202
            refused = users.client("poor").post("/messages", json={"content": "hello"})
            assert (refused.status_code, code_of(refused)) == (402, "budget_exceeded")
            assert 1 <= int(refused.headers["retry-after"]) <= 86_400
            assert "00:00 UTC" in refused.json()["error"]["hint"]
            assert len(users.client("poor").get("/conversations").json()["conversations"]) == 2
            assert depth(cloud, cloud.stack.jobs_queue.name) == 2
            assert users.client("rich").post("/messages", json={"content": "hello"}).status_code == 202
