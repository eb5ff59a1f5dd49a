"""What a listener is told by a gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.gateway.nodes import JOB, append, frames_until, greet, log_of, opened, running
from tests.support import Cloud, eventually
from tests.told import told_in

if TYPE_CHECKING:
    from pathlib import Path


async def test_each_event_is_told_once_it_is_at_its_socket(cloud: Cloud, tmp_path: Path) -> None:
    """Whose it is, which it is, and how large: what was logged before the connection, and what came then."""
    file = tmp_path / "told.jsonl"
    variables = {"CLOUDIA_TELEMETRY_LISTENER": "tests.told:told", "TOLD": str(file)}
    async with (
        running(cloud, tmp_path / "gateway.log", **variables) as node,
        log_of(cloud.settings) as log,
        opened(node) as socket,
    ):
        ready = await greet(socket, cloud.token())
        ids = await append(log, ready["session_id"], ["xyzzy", "plugh é"])
        frames = await frames_until(socket, ids[-1])
        await eventually(lambda: len(told_in(file)) == 2)
    events = told_in(file)
    assert [(event["event"], event["event_id"], event["kind"]) for event in events] == [
        ("FrameDelivered", event_id, "delta") for event_id in ids
    ]
    assert {(event["job_id"], event["attempt"]) for event in events} == {(JOB, 1)}
    assert {event["session_id"] for event in events} == {ready["session_id"]}
    assert {event["connection_id"] for event in events} == {ready["connection_id"]}
    assert all(event["seconds"] >= 0 and event["bytes"] > 60 for event in events)
    assert len(frames) == 2
    assert "xyzzy" not in file.read_text()
