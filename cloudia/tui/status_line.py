"""The status line: the connection, the turn under way, the breaker. What it says is decided here, without I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.content import Content
from textual.widgets import Static

from cloudia.client.breakers import worst_breakers
from cloudia.tui.turns import cost_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudia.client.stream import StreamState
    from cloudia.tui.turns import Turn

__all__ = ["StatusLine", "breaker_of", "connection_text", "turn_text"]

_RESUMED_SECONDS = 4.0


def connection_text(
    state: StreamState, *, retry_in: float | None, resumed_for: float | None, why: str = ""
) -> tuple[str, str]:
    """Return what the connection is, and its colour.

    `resumed_for`: seconds since a lost connection was resumed; `why`: what closed it for good.
    """
    match state:
        case "connected" if resumed_for is not None and resumed_for < _RESUMED_SECONDS:
            return "● resumed", "$success"
        case "connected":
            return "● connected", "$success"
        case "reconnecting":
            return f"○ reconnecting in {max(0.0, retry_in or 0):.1f} s", "$warning"
        case "connecting":
            return "○ connecting", "$warning"
    return f"○ closed: {why}" if why else "○ closed", "$error"


def turn_text(turn: Turn | None, now: float) -> str:
    """Return where the turn under way is: in the queue, which attempt, how long, how fast."""
    if turn is None or turn.sent_at is None or turn.refused:
        return ""
    answer = turn.answer
    if turn.job_id is None:
        return "sending"
    if turn.started_at is None:
        return f"queued {now - turn.sent_at:.1f} s"
    facts = [f"queued {turn.started_at - turn.sent_at:.1f} s", answer.attempt_text]
    if turn.first_text_at:
        facts.append(f"first token {turn.first_text_at - turn.started_at:.2f} s")
    elif turn.under_way:
        facts.append(f"{'reasoning' if answer.thinking else 'thinking'} {now - turn.started_at:.1f} s")
    if answer.usage:
        facts.append(f"{answer.usage['input_tokens']} + {answer.usage['output_tokens']} tokens")
        facts.append(cost_text(answer.usage))
    return " · ".join(fact for fact in facts if fact)


def breaker_of(health: Mapping[str, Any] | None) -> tuple[str, str] | None:
    """Return the LLM and the state of its breaker, as the worker sees it to which it is least closed."""
    route = next(iter(worst_breakers(health)), None)
    return (f"{route['provider']} {route['model']}", route["breaker"]) if route else None


class StatusLine(Static):
    """One line at the bottom of the chat."""

    def show(self, connection: tuple[str, str], turn: str, breaker: tuple[str, str] | None) -> None:
        """Show the three."""
        parts = [Content.styled(*connection)]
        if breaker:
            llm, state = breaker
            colour = {"closed": "$text-muted", "half-open": "$warning", "open": "$error"}[state]
            parts.append(Content.styled(llm if state == "closed" else f"{llm}, breaker {state}", colour))
        if turn:
            parts.append(Content(turn))
        shown = Content("  ").join(parts)
        if shown != self.content:
            self.update(shown)
