"""What to do with a failed attempt: a decision, without any I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from cloudia.errors import CloudiaError, PaymentRequiredError, UsageError
from cloudia.worker.providers.base import LlmUnavailableError, NoAnswerError, ProviderError
from cloudia.worker.purse import NotPaidError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.codes import ErrorCode
    from cloudia.worker.providers.base import Cause

__all__ = ["Decision", "Fail", "Failure", "GiveUp", "ResponderError", "Retry", "decide", "describe"]

LLM_UNAVAILABLE: ErrorCode = "llm_unavailable"
_TOLD_AT_ONCE: frozenset[ErrorCode] = frozenset({LLM_UNAVAILABLE, "llm_no_answer"})
"""A user is better served by an answer at once than by one after the breaker has closed, or by a third empty one."""

_MAX_BACKOFF_SECONDS = 43_200
"""The longest visibility timeout that SQS takes."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed, fit to be shown and logged: it quotes no message."""

    code: ErrorCode
    message: str
    hint: str = ""
    retryable: bool = True
    """Whether trying again may help: this job's next attempt, or the user's next message."""
    retry_after: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return `{"code", "message", "hint", "retryable", "retry_after"}`."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
            "retry_after": self.retry_after,
        }


@dataclass(frozen=True, slots=True)
class Retry:
    """Hand the job back; it is received again after `delay` whole seconds."""

    delay: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class Fail:
    """Trying again cannot help: record a friendly failure."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The attempts are used up: write a dead letter."""

    failure: Failure


Decision: TypeAlias = Retry | Fail | GiveUp


class ResponderError(Exception):
    """A responder raised one of cloudia's own errors: its text is the responder's, and may quote anything."""

    def __init__(self, kind: type[CloudiaError]) -> None:
        super().__init__(kind.__name__)
        self.kind = kind


_REJECTED: dict[Cause | None, tuple[ErrorCode, str]] = {
    "context": ("llm_context_exceeded", "The conversation is too long for the LLM."),
    "policy": ("llm_content_refused", "The LLM's provider refuses this message."),
    "key": ("llm_rejected", "The LLM's provider refuses the API key."),
    "quota": ("llm_rejected", "The account at the LLM's provider has no quota or credit left."),
    "forbidden": ("llm_rejected", "The LLM's provider does not allow this."),
    "model": ("llm_rejected", "The LLM's provider does not know the model."),
    "tools": ("llm_rejected", "The LLM takes no tools, and this responder has some."),
}
"""What is said in place of `The LLM refused this request.`"""


def describe(error: BaseException) -> Failure:
    """Return what a user may be told of an exception."""
    if isinstance(error, ProviderError):
        return _of_provider(error)
    if isinstance(error, NoAnswerError):
        refused = error.finish in {"content_filter", "refusal"}
        code: ErrorCode = "llm_content_refused" if refused else "llm_no_answer"
        return Failure(code, "The LLM gave no answer.", error.reason, retryable=error.finish == "stop")
    if isinstance(error, LlmUnavailableError):
        return Failure(
            LLM_UNAVAILABLE,
            "The LLM is unavailable right now.",
            f"Send the message again in {math.ceil(error.retry_after)} s.",
            retry_after=error.retry_after,
        )
    if isinstance(error, NotPaidError):
        error = error.reason
    if isinstance(error, CloudiaError):
        again = not isinstance(error, UsageError | PaymentRequiredError)
        return Failure(error.code, error.message, error.hint, retryable=again)
    if isinstance(error, TimeoutError):
        return Failure("answer_timed_out", "The answer took too long.", "llm.answer_seconds bounds it.")
    kind = error.kind if isinstance(error, ResponderError) else type(error)
    return Failure("responder_failed", f"The responder failed ({kind.__name__}).", "The worker's log says where.")


def _of_provider(error: ProviderError) -> Failure:
    hint = f"{error.reason}. {error.advice}" if error.advice else error.reason
    if error.kind == "rejected":
        code, message = _REJECTED.get(error.cause, ("llm_rejected", "The LLM refused this request."))
        return Failure(code, message, hint, retryable=False)
    code = "llm_rate_limited" if error.kind == "rate_limited" else "llm_failed"
    return Failure(code, "The LLM did not answer.", hint, retry_after=error.retry_after)


def decide(
    failure: Failure,
    *,
    attempt: int,
    max_attempts: int,
    random: Callable[[], float],
    max_wait: float = math.inf,
) -> Decision:
    """Decide what follows attempt number `attempt`. `random` returns a number in [0, 1).

    The back-off is 2 s, 4 s, 8 s, 16 s and so on, up to a quarter more, and never less than `Retry-After`. One that is longer
    than `max_wait` seconds is nothing to wait for.
    """
    if not failure.retryable or failure.code in _TOLD_AT_ONCE:
        return Fail(failure)
    if (failure.retry_after or 0) > max_wait:
        asks = f"It asks to be left alone for {math.ceil(failure.retry_after or 0)} s or more."
        return Fail(replace(failure, hint=f"{failure.hint}. {asks}"))
    if attempt >= max_attempts:
        return GiveUp(failure)
    backoff = 2.0**attempt * (1 + random() / 4)
    return Retry(min(max(round(backoff), math.ceil(failure.retry_after or 0)), _MAX_BACKOFF_SECONDS), failure)
