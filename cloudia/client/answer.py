"""An answer as it comes in: what a client knows of a job from its events. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudia.protocol import Event, JobStatus

__all__ = ["Answer"]

_CUTS = {
    "length": "cut off at the limit of tokens: ask it to go on",
    "content_filter": "cut off by a content filter",
    "refusal": "the model refused",
}
"""How an answer ended that is not all that the model had to say, in words."""

_ENDS: dict[str, JobStatus] = {"done": "done", "cancelled": "cancelled"}


@dataclass(slots=True)
class Answer:
    """The state of one answer; `apply` each of its events in order."""

    job_id: str
    status: JobStatus = "queued"
    text: str = ""
    attempts: int = 0
    message_id: str | None = None
    provider: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None
    finish: str | None = None
    """Why the answer ended, as the job's record has it."""
    thinking: bool = False
    """Whether the model reasons, and has said nothing yet or for now."""
    error: dict[str, Any] | None = None
    max_attempts: int | None = None
    """How many attempts the worker makes at most; None where it has not told."""
    resets: list[str] = field(default_factory=list)
    """Why the answer began anew, each time."""

    @property
    def ended(self) -> bool:
        """Whether the last event has come."""
        return self.status not in {"queued", "running"}

    @property
    def cut_text(self) -> str:
        """Return in words why this is not a whole answer; nothing where it is one."""
        return _CUTS.get(self.finish or "", "") if self.status == "done" else ""

    @property
    def attempt_text(self) -> str:
        """Return which attempt it is in words: `attempt 2 of 5`, or `attempt 2`."""
        most = f" of {self.max_attempts}" if self.max_attempts else ""
        return f"attempt {max(1, self.attempts)}{most}"

    def apply(self, event: Event) -> None:
        """Take the next event of this job."""
        data = event.data or {}
        self.attempts = max(self.attempts, event.attempt or 0)
        self.max_attempts = data.get("max_attempts", self.max_attempts)
        self.thinking = event.type == "thinking"
        match event.type:
            case "started":
                self.status = "running"
            case "reset":
                self.status, self.text = "running", ""
                self.resets.append(str(data.get("reason", "")))
            case "thinking":
                self.status = "running"
            case "delta":
                self.status = "running"
                self.text += data["text"]
            case "done" | "cancelled":
                self.status = _ENDS[event.type]
                self.message_id = data.get("message_id")
                self.provider, self.model, self.usage = data.get("provider"), data.get("model"), data.get("usage")
                self.finish = data.get("finish")
            case "error":
                self.status = data.get("status", "failed")
                self.error = data.get("error") or {}
                self.finish = data.get("finish")
