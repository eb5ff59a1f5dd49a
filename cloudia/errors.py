"""The errors that cloudia raises on purpose.

    CloudiaError
    ├── UsageError            the command or the configuration is wrong
    ├── NoStackError          nothing is running here
    ├── PartError             a part of the local stack did not start or stay up
    ├── UnavailableError      a service cannot be reached now; trying again may help
    │   └── RefusedError      it refuses us; trying again helps once somebody has mended that
    ├── TimedOutError         the wait had a deadline and it passed
    ├── DeadLetteredError     the job ended in the dead-letter queue
    ├── JobFailedError        the job ended with a recorded, friendly failure
    │   └── LLMUnavailableError
    └── RequestError          a request was refused; each kind is one HTTP status
        ├── InvalidRequestError   400
        ├── UnauthorizedError     401
        ├── PaymentRequiredError  402
        ├── ForbiddenError        403
        ├── NotFoundError         404
        ├── ConflictError         409
        ├── TooLargeError         413
        └── TooManyRequestsError  429

Every error is one sentence, a `hint` that says what to do, and a `code` that programs compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudia.codes import told

if TYPE_CHECKING:
    from cloudia.codes import ErrorCode

__all__ = [
    "CloudiaError",
    "ConflictError",
    "DeadLetteredError",
    "ForbiddenError",
    "InvalidRequestError",
    "JobFailedError",
    "LLMUnavailableError",
    "NoStackError",
    "NotFoundError",
    "PartError",
    "PaymentRequiredError",
    "RefusedError",
    "RequestError",
    "TimedOutError",
    "TooLargeError",
    "TooManyRequestsError",
    "UnauthorizedError",
    "UnavailableError",
    "UsageError",
    "request_error",
]


class CloudiaError(Exception):
    """Base of all: `message` is one sentence, `hint` says what to do, `code` is stable."""

    code: ErrorCode = "failed"

    def __init__(self, message: str, *, hint: str = "", code: ErrorCode | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def to_json(self) -> dict[str, Any]:
        """Return `{"error": {"code", "message", "hint"}}`, the shape every surface prints."""
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}


class UsageError(CloudiaError):
    """The command line or the configuration is wrong."""

    code: ErrorCode = "usage"


class NoStackError(CloudiaError):
    """No stack is running in this project."""

    code: ErrorCode = "no_stack"


class PartError(CloudiaError):
    """A part of the local stack did not start, or did not stay up."""

    code: ErrorCode = "part_failed"


class UnavailableError(CloudiaError):
    """A service cannot be reached now; trying again may help."""

    code: ErrorCode = "unavailable"


class RefusedError(UnavailableError):
    """A service refuses us: a permission, credentials or a key are wrong. Trying again helps once somebody has mended that."""

    code: ErrorCode = "refused"


class TimedOutError(CloudiaError):
    """A wait reached its deadline."""

    code: ErrorCode = "timed_out"


class DeadLetteredError(CloudiaError):
    """The job ended in the dead-letter queue."""

    code: ErrorCode = "dead_lettered"


class JobFailedError(CloudiaError):
    """The job ended with a failure that was recorded and told."""

    code: ErrorCode = "job_failed"


class LLMUnavailableError(JobFailedError):
    """The LLM provider is unavailable and the breaker said so at once."""

    code: ErrorCode = "llm_unavailable"


class RequestError(CloudiaError):
    """A request was refused; `status` is its HTTP status."""

    status = 400
    retry_after: int | None = None
    """Whole seconds after which the same request may be taken; None where waiting does not help."""
    code: ErrorCode = "invalid_request"

    def __init__(
        self, message: str, *, hint: str = "", code: ErrorCode | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        if retry_after is not None:
            self.retry_after = retry_after


class InvalidRequestError(RequestError):
    """The request is malformed."""


class UnauthorizedError(RequestError):
    """The token is missing, expired or not ours."""

    status = 401
    code: ErrorCode = "unauthorized"


class PaymentRequiredError(RequestError):
    """What the caller may spend does not reach; `retry_after` whole seconds later it will."""

    status = 402
    code: ErrorCode = "budget_exceeded"
    retry_after = 1


class ForbiddenError(RequestError):
    """The caller is known and may not do this."""

    status = 403
    code: ErrorCode = "forbidden"


class NotFoundError(RequestError):
    """There is no such thing, or it belongs to someone else: the caller cannot tell which."""

    status = 404
    code: ErrorCode = "not_found"


class ConflictError(RequestError):
    """The request contradicts what is already stored."""

    status = 409
    code: ErrorCode = "conflict"


class TooLargeError(RequestError):
    """The request is over a size limit."""

    status = 413
    code: ErrorCode = "too_large"


class TooManyRequestsError(RequestError):
    """The caller has used up what it may have for now; `retry_after` whole seconds later there may be more."""

    status = 429
    code: ErrorCode = "too_many_requests"
    retry_after = 1


_BY_STATUS = {
    kind.status: kind
    for kind in (
        InvalidRequestError,
        UnauthorizedError,
        PaymentRequiredError,
        ForbiddenError,
        NotFoundError,
        ConflictError,
        TooLargeError,
        TooManyRequestsError,
    )
}


def request_error(status: int, body: Any) -> CloudiaError:
    """Turn an HTTP refusal back into the error it was: `body` is the decoded JSON, or anything else."""
    error = body.get("error") if isinstance(body, dict) else None
    fields = error if isinstance(error, dict) else {}
    message = str(fields.get("message") or f"the service answered {status}")
    kind: type[CloudiaError] = UnavailableError if status >= 500 else _BY_STATUS.get(status, RequestError)  # noqa: PLR2004
    return kind(message, hint=str(fields.get("hint") or ""), code=told(fields.get("code"), kind.code))
