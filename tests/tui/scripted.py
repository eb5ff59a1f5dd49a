"""A client and a sampler that say what a test tells them, for pictures that are the same each time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from cloudia.operate.samples import EndedJob, PartSample, Sample
from cloudia.protocol import Accepted, Event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Self

HEALTH = {"workers": [{"routes": [{"provider": "openai", "model": "sim-1", "breaker": "closed"}]}]}
_ANSWER = """## Fences

A **fence** is a number that grows with every lease:

1. the lock hands it out
2. the store refuses an older one

```python
def write(fence: int) -> bool:
    return fence >= seen  # the newest wins
```
"""


def message(role: str, job: str, content: str, status: str | None = None, **facts: Any) -> dict[str, Any]:
    """Return a message as the HTTP API shows it."""
    known = {"message_id": f"{job}-{role}", "conversation_id": "cnv_1", "model": "sim-1", "usage": None, "error": None}
    return {"role": role, "job_id": job, "content": content, "status": status, **known, **facts}


class ScriptedApi:
    """The HTTP API of one user with two conversations."""

    async def conversations(self, **_: Any) -> dict[str, Any]:
        titles = {"cnv_1": "What is a fence?", "cnv_2": "Leases and locks"}
        listed = [{"conversation_id": key, "title": title} for key, title in titles.items()]
        return {"conversations": listed, "next_cursor": None}

    async def messages(self, *_: Any, **__: Any) -> dict[str, Any]:
        found = [
            message("user", "job_1", "What is a fence?"),
            message("assistant", "job_1", _ANSWER, "done", usage={"input_tokens": 24, "output_tokens": 61}),
            message("user", "job_2", "And a lease?"),
            message(
                "assistant", "job_2", "", "dead_lettered", error={"message": "It failed five times.", "code": "broken"}
            ),
        ]
        return {"messages": found[::-1], "next_cursor": None}

    async def health(self) -> dict[str, Any]:
        return HEALTH


class ScriptedClient:
    """A client whose connection stands, and whose answers are the events that it was made with."""

    def __init__(self, *events: Event) -> None:
        self.api = ScriptedApi()
        self.stream = SimpleNamespace(state="connected", retry_at=None)
        self.failure = None
        self._events = events

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def connected(self, **_: Any) -> str:
        return "ses_1"

    async def send(self, *_: Any, **__: Any) -> Accepted:
        return Accepted("job_3", "cnv_1", "msg_3")

    async def follow(self, _job_id: str) -> AsyncIterator[Event]:
        for event in self._events:
            yield event


class ScriptedSampler:
    """A stack that always looks the same."""

    def sample(self) -> Sample:
        part = PartSample("worker", "ready", 4242, 96 * 2**20, 1, "openai sim-1")
        gateway = PartSample("gateway", "restarting", None, None, 3, "it ended with SIGKILL; again in 0.4 s")
        jobs = (
            EndedJob("job_01m831ajrm0svfe3dkpzst9jfx", "2026-11-23T01:46:31Z", "done", 1, 20, 158, 3700, 212, "worker"),
            EndedJob("job_01m8318hnkjqw610hnz0384d88", "2026-11-23T01:46:32Z", "failed", 1, 5, None, 9, None, "worker"),
        )
        return Sample(0.0, "degraded", (part, gateway), 7, 2, 1, HEALTH, jobs)

    def trace(self, job_id: str) -> list[str]:
        return [
            f"01:46:28.508 api       job accepted  job_id={job_id}",
            "01:46:32.031 worker    job ended  status=done",
        ]
