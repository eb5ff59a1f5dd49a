"""Exit codes: the one place where an error becomes a number."""

from __future__ import annotations

from cloudia.errors import (
    CloudiaError,
    DeadLetteredError,
    ForbiddenError,
    LLMUnavailableError,
    NoStackError,
    PaymentRequiredError,
    RefusedError,
    RequestError,
    TimedOutError,
    TooManyRequestsError,
    UnauthorizedError,
    UsageError,
)

__all__ = ["FAILED", "INTERRUPTED", "OK", "USAGE", "exit_code"]

OK = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130

_CODES: tuple[tuple[type[CloudiaError], int], ...] = (
    (NoStackError, 3),
    (UnauthorizedError, 4),
    (ForbiddenError, 4),
    (RefusedError, 4),
    (TimedOutError, 5),
    (DeadLetteredError, 6),
    (LLMUnavailableError, 7),
    (PaymentRequiredError, FAILED),
    (TooManyRequestsError, FAILED),
    (UsageError, USAGE),
    (RequestError, USAGE),
)


def exit_code(error: CloudiaError) -> int:
    """Return the exit code of an error; 1 where it has none of its own."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
