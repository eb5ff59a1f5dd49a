"""The tree of errors: what is exported, what each one says, and how a refusal comes back over HTTP."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia import errors
from cloudia.errors import CloudiaError, RequestError, UnavailableError, request_error

KINDS: list[type[CloudiaError]] = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CloudiaError)
]
REFUSALS = [kind for kind in KINDS if issubclass(kind, RequestError) and kind is not RequestError]


def test_the_exported_names_are_locked() -> None:
    """What other code may catch does not change by accident."""
    assert errors.__all__ == [
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
    assert {kind.__name__ for kind in KINDS} == {name for name in errors.__all__ if name.endswith("Error")}


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_explains_itself(kind: type[CloudiaError]) -> None:
    """Each has a docstring of its own, a stable code, and prints as its sentence."""
    assert kind.__dict__["__doc__"].strip().endswith(".")
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)
    error = kind("It broke.", hint="Mend it.", code="purged")
    assert str(error) == "It broke."
    assert error.to_json() == {"error": {"code": "purged", "message": "It broke.", "hint": "Mend it."}}
    assert kind("It broke.").to_json()["error"]["code"] == kind.code


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    """The drawing shows every error under its parent."""
    path: list[str] = []
    drawn = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│├└─ ]*)(\w+Error)\b", line)
        if found:
            path = [*path[: len(found[1]) // 4], found[2]]
            drawn[found[2]] = path[-2] if len(path) > 1 else "Exception"
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in KINDS}


def test_every_refusal_has_its_own_status() -> None:
    """A status tells the kind, so that a client can raise it again."""
    statuses = [kind.status for kind in REFUSALS]
    assert len(set(statuses)) == len(statuses)
    assert all(400 <= status < 500 for status in statuses)


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refusal_comes_back_as_the_error_it_was(kind: type[RequestError]) -> None:
    """`request_error` is the inverse of `status` and `to_json`."""
    before = kind("no", hint="why", code="bad_title")
    after = request_error(kind.status, before.to_json())
    assert type(after) is kind
    assert after.to_json() == before.to_json()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "code", "message", "hint"]), inner),
)


@given(st.integers(400, 599), JSON)
def test_any_answer_becomes_an_error(status: int, body: object) -> None:
    """Whatever stands in the body: 5xx is `UnavailableError`, the rest a `RequestError`, each with words and a code."""
    error = request_error(status, body)
    assert isinstance(error, UnavailableError if status >= 500 else RequestError)
    assert error.message
    assert error.code
    assert isinstance(error.hint, str)
