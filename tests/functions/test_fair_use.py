"""Fair use over HTTP: what is too much is a 429 that says when there is more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.functions.apis import Users, edge_of
from tests.functions.contract import code_of
from tests.support import RunningStack, make_cloud

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
