"""The verdict: what was seen from outside, held against what must hold. No I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cloudia.protocol import TERMINAL_STATUSES, event_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloudia.protocol import AttemptRecord, Event

__all__ = ["Sent", "Verdict", "judge"]


@dataclass(slots=True)
class Sent:
    """One accepted message, and all that was seen of it."""

    conversation: int
    turn: int
    job_id: str
    message_id: str
    conversation_id: str
    again: list[str] = field(default_factory=list)
    """The job ids that the same request was answered with when it was sent again."""
    events: list[Event] = field(default_factory=list)
    text: str = ""
    """The answer as the client has it at the end."""
    status: str = ""
    """How the client saw it end."""
    job: Mapping[str, Any] = field(default_factory=dict)
    """The job's record over HTTP, at the end."""
    ends: set[tuple[str, int | None]] = field(default_factory=set)
    """The ends that came over its connection, each with its attempt, also after the client had seen one."""
    attempts: Sequence[AttemptRecord] = ()
    """The attempts at it, as its record in the table has them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The drill's table. The first five add up to `accepted`; what breaks an invariant must be 0."""

    accepted: int
    answered: int
    failed_friendly: int
    dead_lettered: int
    lost: int
    answered_twice: int
    out_of_order: int
    events_missed: int
    events_doubled: int
    paid_twice: int | None
    """LLM calls of one job beyond the first that the provider answered in full: allowed, and counted. None where a responder
    of the user's own may ask as often as it likes; then neither are answers counted that one attempt asked for twice."""
    taken_over: int
    """Jobs of a worker that was killed or stood still, answered by another attempt: what a storm is to bring about."""
    details: tuple[str, ...] = ()

    @property
    def broken(self) -> dict[str, int]:
        """The invariants that did not hold, with how often."""
        counts = {
            "I1": self.lost,
            "I2": self.answered_twice,
            "I3": self.out_of_order,
            "I4": self.events_missed + self.events_doubled,
        }
        return {name: count for name, count in counts.items() if count}

    def to_json(self) -> dict[str, Any]:
        """Return the table as `cloudia drill --json` prints it."""
        return {**asdict(self), "broken": self.broken}


def judge(
    sent: Sequence[Sent],
    *,
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    dead_letters: Iterable[str],
    calls: Iterable[Mapping[str, Any]] | None,
    clocks: bool = True,
) -> Verdict:
    """Judge a storm.

    `histories` are the messages of each conversation over HTTP, `dead_letters` the job ids in the DLQ, `calls` the provider's
    own records of its requests, None where they don't count. Where the workers' `clocks` are not to be believed, the order is
    that in which the turns were told.
    """
    details: list[str] = []
    buried = set(dead_letters)
    outcome = Counter(_outcome(one, buried, details) for one in sent)
    twice = sum(_answered_twice(one, histories.get(one.conversation_id, ()), details) for one in sent)
    turns = {one.job_id: one for one in sent}
    disorder = sum(_out_of_order(history, turns, details, clocks=clocks) for history in histories.values())
    missed = sum(_missed(one, details) for one in sent)
    doubled = sum(_doubled(one, details) for one in sent)
    mine = {one.job_id for one in sent}
    answered_calls = [call for call in calls or () if call["outcome"] == "answered" and call["job_id"] in mine]
    answered = Counter(call["job_id"] for call in answered_calls)
    twice += _attempts_answered_twice(answered_calls, details)
    return Verdict(
        accepted=len(sent),
        answered=outcome["answered"],
        failed_friendly=outcome["failed"],
        dead_lettered=outcome["dead"],
        lost=outcome["lost"],
        answered_twice=twice,
        out_of_order=disorder,
        events_missed=missed,
        events_doubled=doubled,
        paid_twice=None if calls is None else sum(count - 1 for count in answered.values()),
        taken_over=sum(any(attempt.outcome is None for attempt in one.attempts[:-1]) for one in sent),
        details=tuple(details[:50]),
    )


def _outcome(one: Sent, buried: set[str], details: list[str]) -> str:
    """Return how a job ended: I1 wants an answer, a recorded failure with its reason, or a dead letter that is there."""
    status, record = one.job.get("status"), one.job
    if status == "done" and record.get("reply"):
        return "answered"
    if status == "failed" and record.get("error") and record.get("reply"):
        return "failed"
    if status == "dead_lettered" and one.job_id in buried:
        return "dead"
    details.append(f"I1 {one.job_id}: {status}, in the DLQ: {one.job_id in buried}")
    return "lost"


def _answered_twice(one: Sent, history: Sequence[Mapping[str, Any]], details: list[str]) -> int:
    """Return 1 where a message was answered more than once, stands more than once, or its repetition became another job.

    An answer overwrites another one of its job in the history: so what is counted are the attempts that recorded an end, and
    the ends that were told.
    """
    answers = [message for message in history if message["job_id"] == one.job_id and message["role"] == "assistant"]
    questions = [message for message in history if message["job_id"] == one.job_id and message["role"] == "user"]
    ended = one.job.get("status") in TERMINAL_STATUSES
    commits = sum(attempt.outcome in TERMINAL_STATUSES for attempt in one.attempts)
    once = len(answers) == int(ended) and commits <= 1 and len(one.ends) <= 1
    if once and len(questions) == 1 and set(one.again) <= {one.job_id}:
        return 0
    counts = (
        f"{len(answers)} answers, {commits} recorded, told {sorted(map(str, one.ends))}, {len(questions)} questions"
    )
    details.append(f"I2 {one.job_id}: {counts}, again {one.again}")
    return 1


def _attempts_answered_twice(calls: Iterable[Mapping[str, Any]], details: list[str]) -> int:
    """Return how many attempts the provider answered more than once: two workers were at the same one."""
    answered = Counter((call["job_id"], call["attempt"]) for call in calls)
    wrong = {key: count for key, count in answered.items() if count > 1}
    details += [
        f"I2 {job_id}: attempt {attempt} was answered {count} times" for (job_id, attempt), count in wrong.items()
    ]
    return len(wrong)


def _out_of_order(
    history: Sequence[Mapping[str, Any]], turns: Mapping[str, Sent], details: list[str], *, clocks: bool
) -> int:
    """Return how many turns of a conversation were begun or recorded before the end of an earlier one."""
    answers = [message for message in history if message["role"] == "assistant"]
    times = _times if clocks else _times_told
    wrong = 0
    for before, after in pairwise(answers):
        _, ends = times(turns.get(before["job_id"]))
        begins, _ = times(turns.get(after["job_id"]))
        recorded_early = clocks and after["created_at"] < before["created_at"]
        if recorded_early or (ends and begins and min(begins) < max(ends)):
            details.append(f"I3 {after['job_id']} was begun or answered before the end of {before['job_id']}")
            wrong += 1
    return wrong


def _times(one: Sent | None) -> tuple[list[float], list[float]]:
    """Return when the attempts at a message began, and when they ended, by their workers' clocks."""
    attempts = one.attempts if one else ()
    return [each.began_at for each in attempts], [each.ended_at for each in attempts if each.ended_at]


def _times_told(one: Sent | None) -> tuple[list[float], list[float]]:
    """Return when a message's events were told, and when its end was, by the one clock of Redis, which made their ids."""
    events = [event for event in one.events if event.id] if one else []
    told = [(event_order(event.id)[0] / 1000, event.terminal) for event in events if event.id]
    return [at for at, _ in told], [at for at, end in told if end]


def _missed(one: Sent, details: list[str]) -> int:
    """Return 1 where the client's answer at the end is not the recorded one."""
    record = one.job
    if record.get("status") not in TERMINAL_STATUSES:
        return 0  # I1's business
    content = (record.get("reply") or {}).get("content", "")
    if one.status == record["status"] and (one.text == content or record["status"] != "done"):
        return 0
    details.append(f"I4 {one.job_id}: saw {one.status!r} and {len(one.text)} characters of {len(content)}")
    return 1


def _doubled(one: Sent, details: list[str]) -> int:
    """Return how many events of a job came twice, out of order, after its end, or of an older attempt."""
    wrong, last, attempt, ended = 0, (0, 0), 0, False
    for event in one.events:
        again = event.id is not None and event_order(event.id) <= last
        older = (event.attempt or 0) < attempt
        unannounced = (event.attempt or 0) > attempt > 0 and event.type != "reset"
        if again or older or ended or unannounced:
            details.append(f"I4 {one.job_id}: {event.type} {event.id} of attempt {event.attempt} after {last}")
            wrong += 1
        last = event_order(event.id) if event.id else last
        attempt, ended = max(attempt, event.attempt or 0), ended or event.terminal
    return wrong
