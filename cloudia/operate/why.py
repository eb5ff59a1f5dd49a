"""Why a message was answered late, or not, or is not yet: one sentence from what is known of it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudia.operate.waterfall import Waterfall, shown, waterfall

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cloudia.protocol import AttemptRecord, Job

__all__ = ["Evidence", "Why", "why"]

_SLOW_SECONDS = 1.0
"""A part that took less is no reason to wait for anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was found about a job. None is what could not be asked."""

    job: Job
    now: float
    """Epoch seconds."""
    workers: Sequence[Mapping[str, Any]] | None = None
    """Those that give signs of life, as `Presence.alive` tells them."""
    waiting: int | None = None
    """Messages in the queue that nobody has."""
    letter: bool | None = None
    """Whether its dead letter is in the DLQ."""
    earlier: str | None = None
    """The job of an earlier turn of its conversation that has not ended."""
    connected: bool | None = None
    """Whether the session that it was posted with has a connection now."""
    logged: bool | None = None
    """Whether the session's event log has its last event."""


@dataclass(frozen=True, slots=True)
class Why:
    """The answer."""

    sentence: str
    evidence: tuple[str, ...]
    advice: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as a document."""
        return {"why": self.sentence, "evidence": list(self.evidence), "advice": self.advice}


def why(found: Evidence) -> Why:
    """Say what became of a message, and why."""
    drawn = waterfall(found.job, now=found.now)
    match found.job.status:
        case "done":
            sentence, advice = _done(drawn), ""
        case "failed":
            sentence, advice = _failed(drawn)
        case "cancelled":
            sentence, advice = _cancelled(drawn), ""
        case "dead_lettered":
            sentence, advice = _dead(found)
        case "running":
            sentence, advice = _running(found, drawn)
        case _:
            sentence, advice = _queued(found, drawn)
    return Why(sentence, tuple(_evidence(found, drawn)), advice)


# --- what has ended ---------------------------------------------------------------------------------------------------


def _done(drawn: Waterfall) -> str:
    last = drawn.job.attempt_history[-1] if drawn.job.attempt_history else None
    cut = (
        f" It is cut: the answer ended with {last.finish}."
        if last and last.finish in {"length", "content_filter"}
        else ""
    )
    sentence = f"It was answered {shown(drawn.seconds)} after it was accepted"
    reason, seconds = _slowest(drawn)
    if seconds < _SLOW_SECONDS:
        return f"{sentence}, and nothing held it up.{cut}"
    return f"{sentence}: {shown(seconds)} of that {reason}.{cut}"


def _slowest(drawn: Waterfall) -> tuple[str, float]:
    """Return what took longest, as the sentence goes on, and its seconds."""
    failed = [part for part in drawn.parts if part.failed]
    codes = sorted({(part.attempt.code if part.attempt else None) or "its worker died" for part in failed})
    spoilt = {id(part.attempt) for part in failed}
    ends = [part for part in drawn.parts if part.attempt and id(part.attempt) not in spoilt]
    shares = {
        f"went to {_count(len(failed), 'failed attempt')} ({', '.join(codes)}) and the back-off": drawn.spent(
            "back_off"
        )
        + sum(part.seconds for part in failed),
        "it waited in the queue, for a worker or for the turn before it": drawn.spent("queue"),
        "it lay in the DLQ until it was redriven": drawn.spent("dead_letter"),
        "the LLM took to its first text": sum(part.seconds for part in ends if part.kind == "first_text"),
        "the answer was streaming": sum(part.seconds for part in ends if part.kind == "streaming"),
    }
    reason = max(shares, key=lambda each: shares[each])
    return reason, shares[reason]


def _failed(drawn: Waterfall) -> tuple[str, str]:
    error, attempts = drawn.job.error or {}, drawn.job.attempt_history
    said = _said(error)
    match error.get("code"):
        case "purged":
            return "It was not answered: its message was purged from the queue.", ""
        case "not_answered":
            return "It was not answered: it was sent again many times, and no worker ever took it.", "Do workers run?"
        case _:
            after = f" at attempt {attempts[-1].attempt}" if attempts and attempts[-1].attempt else ""
            return f"It was not answered: it failed{after} with {said}", str(error.get("hint") or "")


def _cancelled(drawn: Waterfall) -> str:
    text = any(attempt.first_text_at for attempt in drawn.job.attempt_history)
    kept = "what had come until then is kept" if text else "no text had come yet"
    return f"It was stopped {shown(drawn.seconds)} after it was accepted, as its user asked; {kept}."


def _dead(found: Evidence) -> tuple[str, str]:
    job = found.job
    tried = _count(job.attempts, "attempt") if job.attempts else "no attempt"
    sentence = (
        f"It was not answered: it is a dead letter after {tried}, the last of which ended with {_said(job.error or {})}"
    )
    if found.letter is False:
        return sentence, "Its letter is not in the DLQ any more, or others hold it: nobody can redrive it now."
    return sentence, f"Mend the cause, then run `cloudia dlq redrive {job.job_id}`."


# --- what has not -----------------------------------------------------------------------------------------------------


def _running(found: Evidence, drawn: Waterfall) -> tuple[str, str]:
    attempts = found.job.attempt_history
    last: AttemptRecord | None = attempts[-1] if attempts else None
    if last is None or last.ended_at is not None:
        return _queued(found, drawn)
    lasts = f"attempt {last.attempt or '?'} has lasted {shown(found.now - last.began_at)}"
    if found.workers is not None and last.worker_id not in {worker["id"] for worker in found.workers}:
        return (
            f"It is not answered yet: {lasts}, and its worker {last.worker_id} gives no sign of life.",
            "Another worker takes it over once the lease has run out, within a minute.",
        )
    if last.first_text_at is None:
        return f"It is being answered: {lasts}, and {last.model or 'the LLM'} has sent no text yet.", ""
    return f"It is being answered: {lasts}, and text came after {shown(last.first_text_at - last.began_at)}.", ""


def _queued(found: Evidence, drawn: Waterfall) -> tuple[str, str]:
    waits = drawn.parts[-1] if drawn.parts else None
    attempts = found.job.attempt_history
    if found.workers is not None and not found.workers:
        return (
            f"It is not answered yet: it has waited {shown(drawn.seconds)}, and no worker gives a sign of life.",
            "See `cloudia status`; `cloudia worker` runs one.",
        )
    if waits and waits.kind == "back_off" and attempts and attempts[-1].ended_at is not None:
        last = attempts[-1]
        due = max(0.0, attempts[-1].ended_at + (last.delay or 0) - found.now)
        reason = ": ".join(filter(None, [last.code, last.reason]))
        tried = f"attempt {last.attempt or '?'} failed ({reason})"
        return f"It is not answered yet: {tried}, and the next one is due in {shown(due)}.", ""
    if found.earlier:
        return (
            f"It is not answered yet: an earlier message of its conversation, {found.earlier}, has not ended.",
            f"See `cloudia why {found.earlier}`.",
        )
    ahead = "" if not found.waiting else f"; {_count(found.waiting, 'message')} wait in the queue"
    return f"It is not answered yet: it has waited {shown(drawn.seconds)} for a worker to have room{ahead}.", ""


# --- evidence ---------------------------------------------------------------------------------------------------------


def _evidence(found: Evidence, drawn: Waterfall) -> Iterator[str]:
    job = found.job
    yield f"record: {job.status} after {shown(drawn.seconds)}, {_count(job.attempts, 'attempt')}"
    for part in drawn.parts:
        skewed = "; the clocks of two machines differ" if part.skewed else ""
        if part.kind == "attempt" and part.attempt:
            told = f" ({part.told})" if part.told else ""
            how = part.outcome or "goes on"
            yield f"{part.name}: {how.replace('_', ' ')} after {shown(part.seconds)}{told}, {part.attempt.worker_id}{skewed}"
            yield from (f"{part.name} passed over {switch}" for switch in part.attempt.switches or ())
        elif part.kind in {"queue", "back_off", "dead_letter"} and (part.seconds >= _SLOW_SECONDS or skewed):
            yield f"{part.name}: {shown(part.seconds)}{skewed}"
    if found.workers is not None and not job.ended:
        yield f"workers: {len(found.workers)} give signs of life"
    if found.letter is not None:
        yield f"dead letter: {'in the DLQ' if found.letter else 'not in the DLQ'}"
    yield from _delivery(found)


def _delivery(found: Evidence) -> Iterator[str]:
    """Yield what is known of whether a client has it."""
    job = found.job
    if job.session_id is None:
        yield "delivery: nobody listened, it was posted without a session; the answer is read over HTTP"
        return
    if found.logged is not None and job.ended:
        logged = (
            "its last event is in the session's log" if found.logged else "the session's log has not its last event"
        )
        yield f"delivery: {logged}{'' if found.logged else ', any more; the answer is read over HTTP'}"
    if found.connected is False:
        yield "delivery: the session has no connection now; a client that resumes gets what it missed"
    elif found.connected:
        yield "delivery: the session is connected"


def _said(error: Mapping[str, Any]) -> str:
    """Return an error in a few words: none of them a message's."""
    message = str(error.get("message") or "").rstrip(".")
    return f"{error.get('code') or 'an error'}{f': {message}' if message else ''}."


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
