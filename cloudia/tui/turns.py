"""A turn as the terminal shows it: a message, its answer as it comes, and how long each step took. No I/O."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudia.client.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudia.protocol import Accepted, Event

__all__ = ["Turn", "cost_text", "summary", "to_markdown", "turns_of", "what_happened"]

_UNAVAILABLE = "llm_unavailable"


@dataclass(slots=True, eq=False)
class Turn:
    """One message and its answer. Times are of a clock in seconds."""

    content: str
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    """The idempotency key: sent again, it is the same message."""
    job_id: str | None = None
    conversation_id: str | None = None
    answer: Answer = field(default_factory=lambda: Answer(""))
    refused: str = ""
    """Why the message was not accepted; it can be sent again."""
    sent_at: float | None = None
    started_at: float | None = None
    first_text_at: float | None = None
    ended_at: float | None = None

    def accepted(self, accepted: Accepted) -> None:
        """Take the 202."""
        self.job_id, self.conversation_id = accepted.job_id, accepted.conversation_id
        self.answer.job_id, self.refused = accepted.job_id, ""

    def apply(self, event: Event, now: float) -> None:
        """Take the next event of the answer."""
        self.answer.apply(event)
        self.started_at = self.started_at or now
        if event.type == "delta":
            self.first_text_at = self.first_text_at or now
        if event.terminal:
            self.ended_at = now

    @property
    def under_way(self) -> bool:
        """Whether an answer is still to come."""
        return not self.refused and not self.answer.ended

    @property
    def retryable(self) -> bool:
        """Whether asking again makes sense."""
        return bool(self.refused) or self.answer.status in {"failed", "dead_lettered", "cancelled"}

    @property
    def retry_after(self) -> float:
        """Seconds after the end of the turn in which asking again is useless."""
        return float((self.answer.error or {}).get("retry_after") or 0)


def turns_of(messages: Iterable[Mapping[str, Any]]) -> list[Turn]:
    """Return the turns of a conversation's messages, oldest first; an answer whose question is not among them is left out."""
    turns: dict[str, Turn] = {}
    for message in messages:
        job_id = message["job_id"]
        if message["role"] == "user":
            turn = turns[job_id] = Turn(message["content"], job_id=job_id, conversation_id=message["conversation_id"])
            turn.answer.job_id = job_id
        elif job_id in turns:
            answer = turns[job_id].answer
            answer.status, answer.text = message["status"], message["content"]
            answer.message_id, answer.model = message["message_id"], message["model"]
            answer.usage, answer.error = message["usage"], message["error"]
            answer.finish = message.get("finish")
    return list(turns.values())


def cost_text(usage: Mapping[str, Any]) -> str:
    """Return what an answer cost, as `$1.25` or with two digits that count, `$0.0012`; nothing where it is not known."""
    cost = usage.get("cost_usd")
    if not isinstance(cost, int | float):
        return ""
    if not cost:
        return "$0"
    return f"${cost:.{max(2, 1 - math.floor(math.log10(cost)))}f}"


def summary(turn: Turn) -> str:
    """Return the facts of an ended answer: model, tokens, cost, times."""
    answer = turn.answer
    facts = [answer.cut_text, answer.model or ""]
    if answer.usage:
        facts += [f"{answer.usage['output_tokens']} tokens", cost_text(answer.usage)]
    if turn.sent_at and turn.first_text_at:
        facts.append(f"first after {turn.first_text_at - turn.sent_at:.1f} s")
    if turn.sent_at and turn.ended_at:
        facts.append(f"{turn.ended_at - turn.sent_at:.1f} s")
    if answer.attempts > 1:
        facts.append(answer.attempt_text)
    return " · ".join(fact for fact in facts if fact)


def what_happened(turn: Turn, waited: float) -> str:
    """Return what a turn that has no good answer says, `waited` seconds after its end."""
    if turn.refused:
        return f"Not sent: {turn.refused}"
    error = turn.answer.error or {}
    match turn.answer.status:
        case "cancelled":
            return "Stopped."
        case "dead_lettered":
            return f"{error.get('message', 'It failed.')} `cloudia dlq show {turn.job_id}` says why."
        case "failed" if error.get("code") == _UNAVAILABLE:
            left = turn.retry_after - waited
            return f"{error.get('message', '')} " + (f"Again in {left:.0f} s." if left > 0 else "Try again now.")
        case "failed":
            return f"{error.get('message', 'It failed.')} {error.get('hint', '')}".strip()
    return ""


def to_markdown(title: str, turns: Iterable[Turn]) -> str:
    """Return a conversation as a Markdown document."""
    parts = [f"# {title}"]
    for turn in turns:
        quoted = "\n".join(f"> {line}".rstrip() for line in turn.content.splitlines())
        parts += [quoted, turn.answer.text or f"*{what_happened(turn, float('inf')) or 'No answer yet.'}*"]
    return "\n\n".join(parts) + "\n"
