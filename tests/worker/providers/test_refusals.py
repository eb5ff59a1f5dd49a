"""What a refusal means, as servers are seen to spell it: kind, cause, and the field that it names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudia.worker.providers.base import Cause, FailureKind
from cloudia.worker.providers.refusals import Refusal, refusal_in_stream, refusal_of_status

SENT = ("max_tokens", "stream_options", "temperature", "system")


def error(message: str = "", **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "cause"),
    [
        (401, error("no"), "rejected", "key"),
        (400, error("API key not valid. Please pass a valid API key.", status="INVALID_ARGUMENT"), "rejected", "key"),
        (402, error("Insufficient Balance"), "rejected", "quota"),
        (429, error("You exceeded it", code="insufficient_quota"), "rejected", "quota"),
        (
            429,
            error("quota exceeded for requests per minute, see billing", status="RESOURCE_EXHAUSTED"),
            "rate_limited",
            None,
        ),
        (429, error("too many tokens per minute"), "rate_limited", None),
        (403, "<html>blocked</html>", "rejected", "forbidden"),
        (404, error('model "x" not found, try pulling it first'), "rejected", "model"),
        (404, {"error": {"code": "DeploymentNotFound", "message": "no"}}, "rejected", "model"),
        (404, "404 page not found", "rejected", "url"),
        (405, "", "rejected", "url"),
        (400, error("Model Not Exist", type="invalid_request_error"), "rejected", "model"),
        (400, error("foo/bar is not a valid model ID", code=400), "rejected", "model"),
        (400, {"message": "The provided model identifier is invalid."}, "rejected", "model"),
        (400, error("No models loaded. Please load a model in the developer page."), "rejected", "model"),
        (400, {"object": "error", "message": "maximum context length is 10", "code": 400}, "rejected", "context"),
        (500, error("the request exceeds the available context size"), "rejected", "context"),
        (500, error("the model broke"), "unavailable", None),
        (503, [error("UNAVAILABLE", code=503)], "unavailable", None),
        (
            400,
            error("filtered", code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}),
            "rejected",
            "policy",
        ),
        (400, {"error": "text"}, "rejected", None),
        (400, 5, "rejected", None),
    ],
)
def test_a_status_and_its_body(status: int, body: Any, kind: FailureKind, cause: Cause | None) -> None:
    """The body's own words decide; the status where they say nothing."""
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    assert refusal_of_status(status, raw) == Refusal(kind, cause)


@pytest.mark.parametrize(
    ("told", "kind", "cause"),
    [
        ({"code": 400, "message": "no"}, "rejected", None),
        ({"code": "502", "message": "upstream"}, "unavailable", None),
        ({"code": 429, "message": "busy"}, "rate_limited", None),
        ({"type": "overloaded_error"}, "unavailable", None),
        ({"type": "rate_limit_error"}, "rate_limited", None),
        ({"type": "authentication_error"}, "rejected", "key"),
        ({"type": "not_found_error", "message": "model: x"}, "rejected", "model"),
        ({"type": "invalid_request_error", "message": "prompt is too long"}, "rejected", "context"),
        ("something broke", "unavailable", None),
        (None, "unavailable", None),
    ],
)
def test_an_error_in_a_stream(told: Any, kind: FailureKind, cause: Cause | None) -> None:
    """It has no status but the one that it names; a word that is not known is the server's own trouble."""
    assert refusal_in_stream(told) == Refusal(kind, cause)


@pytest.mark.parametrize(
    ("status", "body", "field"),
    [
        (400, error("'max_tokens' is not supported", param="max_tokens"), "max_tokens"),
        (
            400,
            error("Unsupported value: 'messages[0].role' does not support 'system'", param="messages[0].role"),
            "system",
        ),
        (400, error("System role not supported"), "system"),
        (400, error("`temperature` is deprecated for this model."), "temperature"),
        (
            422,
            {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "extra"}]},
            "stream_options",
        ),
        (400, error("'max_tokens' is too large: the maximum context length is 10", param="max_tokens"), "max_tokens"),
        (400, error("temperature is a fine thing"), None),
        (400, error("no", param="messages"), None),
        (500, error("unsupported", param="temperature"), None),
    ],
)
def test_the_field_that_is_refused(status: int, body: Any, field: str | None) -> None:
    """It is one of those that were sent and can be left out, and the server calls it wrong."""
    assert refusal_of_status(status, json.dumps(body).encode(), sent=SENT).field == field


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "registry.ollama.ai/library/gemma3:4b does not support tools"),
        (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        (500, "tools param requires --jinja flag"),
        (404, "No endpoints found that support tool use"),
    ],
)
def test_tools_that_are_refused(status: int, message: str) -> None:
    """Ollama's, vLLM's, llama.cpp's and OpenRouter's words for it; where none were sent they mean something else."""
    body = json.dumps(error(message)).encode()
    assert refusal_of_status(status, body, sent={*SENT, "tools"}) == Refusal("rejected", "tools")
    assert refusal_of_status(status, body, sent=SENT).cause != "tools"


@pytest.mark.parametrize(
    "body",
    [
        error("Invalid value for 'content': expected a string, got null.", param="messages.[1].content"),
        error("messages: text content blocks must be non-empty"),
        {"detail": [{"loc": ["body", "messages", 1, "content"], "msg": "Input should be a valid string"}]},
    ],
)
def test_content_that_is_blank_in_another_form(body: Any) -> None:
    """A message with calls of tools has null or blank text; which of them, servers do not agree on."""
    assert refusal_of_status(400, json.dumps(body).encode(), sent={*SENT, "content"}).field == "content"
    assert refusal_of_status(400, json.dumps(body).encode(), sent=SENT).field is None


Anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "detail", "code", "type", "message", "loc", "param"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.integers(400, 599), Anything)
def test_no_body_is_too_odd(status: int, body: Any) -> None:
    """Whatever a server sends, it is a refusal of some kind."""
    assert refusal_of_status(status, json.dumps(body).encode(), sent=SENT).kind
    assert refusal_in_stream(body).kind
