"""What came of a message that was sent: the document that `send --json` prints, and the error that it ends with."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cloudia.codes import told as code_told
from cloudia.errors import CloudiaError, DeadLetteredError, JobFailedError, LLMUnavailableError

if TYPE_CHECKING:
    from cloudia.client.answer import Answer
    from cloudia.protocol import Accepted

__all__ = ["Result"]

_UNAVAILABLE = "llm_unavailable"


class Result:
    """A message's way to its answer, and when each step was (monotonic seconds)."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.accepted: Accepted | None = None
        self.answer: Answer | None = None
        self.accepted_at: float | None = None
        self.first_token_at: float | None = None
        self.ended_at: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the document; what is not known yet is null."""
        accepted, answer = self.accepted, self.answer
        return {
            "job_id": accepted and accepted.job_id,
            "conversation_id": accepted and accepted.conversation_id,
            "message_id": accepted and accepted.message_id,
            "status": answer and answer.status,
            "reply": answer and answer.text,
            "reply_message_id": answer and answer.message_id,
            "attempts": answer and answer.attempts,
            "provider": answer and answer.provider,
            "model": answer and answer.model,
            "usage": answer and answer.usage,
            "finish": answer and answer.finish,
            "error": answer and answer.error,
            "timings": {
                "accepted_ms": self._since(self.accepted_at),
                "first_token_ms": self._since(self.first_token_at),
                "total_ms": self._since(self.ended_at),
            },
        }

    def error(self) -> CloudiaError | None:
        """Return the error that a failed answer is, None where it is none."""
        answer = self.answer
        if answer is None or answer.status not in {"failed", "dead_lettered"}:
            return None
        told = answer.error or {}
        message, code = str(told.get("message", "the job failed")), code_told(told.get("code"), "job_failed")
        kind: type[CloudiaError] = JobFailedError
        hint = str(told.get("hint", ""))
        if answer.status == "dead_lettered":
            kind, message = DeadLetteredError, f"{message} The job is a dead letter after {answer.attempts} attempts."
        elif code == _UNAVAILABLE:
            kind = LLMUnavailableError
        return kind(message, hint=hint, code=code)

    def _since(self, at: float | None) -> float | None:
        return None if at is None else round((at - self.began) * 1000, 1)
