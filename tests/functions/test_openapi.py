"""The description of the HTTP API says what the HTTP API does."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from cloudia.protocol import TERMINAL_STATUSES, VERSION, Job, PostMessage
from cloudia.settings import SETTINGS
from cloudia.stack import Stack
from tests.functions import contract
from tests.functions.apis import QuietCloud, Users, new_user

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMAS = contract.DOCUMENT["components"]["schemas"]


def test_the_document_is_openapi() -> None:
    """It is valid OpenAPI 3.1, and its version is the protocol's."""
    errors = [error.message for error in OpenAPIV31SpecValidator(contract.DOCUMENT).iter_errors()]
    assert errors == []
    assert contract.DOCUMENT["info"]["version"] == str(VERSION)


def test_it_has_exactly_the_stacks_routes() -> None:
    """Each route is an operation that is named like its function, one of several as `function_…`; there is no other."""
    routes: dict[tuple[str, str], str] = {
        (route.method, route.path): route.function for route in Stack(operator=True).routes
    }
    named = {(method, path): found["operationId"] for method, path, found in contract.operations()}
    assert named.keys() == routes.keys()
    for route, name in named.items():
        assert name == routes[route] or name.startswith(f"{routes[route]}_")
    assert len(set(named.values())) == len(named)


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    contract.operations(),
    ids=[found["operationId"] for *_, found in contract.operations()],
)
def test_only_health_is_open_to_all(users: Users, method: str, path: str, operation: dict[str, Any]) -> None:
    """Without a token, and whatever else is wrong, an operation is a 401; but for the one whose `security` says so."""
    response = users.client(None).request(method, path.replace("{id}", "x"))
    if operation.get("security", contract.DOCUMENT["security"]) == [{}, *contract.DOCUMENT["security"]]:
        assert response.status_code == 200
        assert operation["operationId"] == "health"
    else:
        assert (response.status_code, contract.code_of(response)) == (401, "no_token")


def test_the_stack_serves_it(users: Users) -> None:
    """`/openapi.json` is the document."""
    with contract.client(users.url, None) as client:
        client.event_hooks = {}
        assert client.get("/openapi.json").json() == contract.DOCUMENT


def _examples(part: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    """Yield the pointer of each schema that has examples beside it, with each example."""
    if isinstance(part, dict):
        if "schema" in part:
            named = [example["value"] for example in part.get("examples", {}).values()]
            for example in [*named, *([part["example"]] if "example" in part else [])]:
                yield f"{pointer}/schema", example
        for name, inner in part.items():
            if name not in {"example", "examples"}:
                yield from _examples(inner, f"{pointer}/{name.replace('/', '~1')}")
    elif isinstance(part, list):
        for index, inner in enumerate(part):
            yield from _examples(inner, f"{pointer}/{index}")


EXAMPLES = list(_examples(contract.DOCUMENT, ""))


@pytest.mark.parametrize(("pointer", "example"), EXAMPLES, ids=[pointer for pointer, _ in EXAMPLES])
def test_examples_fit_their_schemas(pointer: str, example: Any) -> None:
    """An example is valid where it stands."""
    assert contract.problems(pointer, example) == []


def test_each_refusal_shows_a_code_of_its_own_list() -> None:
    """An error's example bears one of the codes that its description lists."""
    shown = 0
    for _, _, operation in contract.operations():
        for status, answer in operation["responses"].items():
            _, found = contract.resolve(answer)
            example = found["content"]["application/json"].get("example", {})
            if int(status) >= 400 and example:
                assert example["error"]["code"] in contract.codes(found)
                shown += 1
    assert shown > 10


def test_the_schemas_have_the_protocols_fields() -> None:
    """What the schemas name is what the code knows: the request's fields, the statuses, the limits."""
    assert set(SCHEMAS["PostMessage"]["properties"]) == set(PostMessage.__dataclass_fields__)
    hidden = {"user_id", "session_id", "attempt_history", "hold"}
    assert set(SCHEMAS["Job"]["properties"]) == set(Job.__dataclass_fields__) - hidden | {"reply"}
    assert set(SCHEMAS["JobStatus"]["enum"]) == TERMINAL_STATUSES | {"queued", "running"}
    assert set(SCHEMAS["Message"]["properties"]["status"]["enum"]) == TERMINAL_STATUSES | {None}
    assert SCHEMAS["PostMessage"]["properties"]["content"]["maxLength"] == SETTINGS["limits_content_bytes"].high


# --- requests -------------------------------------------------------------------------------------------------------

_ULID = "01m82ns9p2semfsg913ts4wmzb"
_KEYS = st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=20)
_GOOD = st.fixed_dictionaries(
    {"content": st.text(min_size=1, max_size=40)},
    optional={
        "conversation_id": st.sampled_from([None, None, f"cnv_{_ULID}"]),
        "session_id": st.sampled_from([None, None, f"ses_{'a' * 22}.{'b' * 43}"]),
        "idempotency_key": st.none() | _KEYS,
    },
)
_JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.text(max_size=2), max_size=2)
)
_EDGES = {
    "content": ["", " \t\n\x1f\x85\u2003", "\u200b", "\0", "é" * 16_384, "é" * 16_385, "x" * 32_768, "x" * 32_769],
    "conversation_id": ["", f"job_{_ULID}", f"CNV_{_ULID}", f"cnv_{_ULID[1:]}", f"cnv_{_ULID}0", f"cnv_{'u' * 26}"],
    "session_id": ["", "ses_x", f"ses_{'a' * 22}.{'b' * 42}", f"ses_{'a' * 22}{'b' * 44}"],
    "idempotency_key": ["", " ", "k" * 128, "k" * 129, "é", "a\tb", "\x7f"],
    "user_id": ["mallory"],
}


@st.composite
def _bodies(draw: st.DrawFn) -> Any:
    """Return a good body, or one that has one field at an edge or beyond it, or too few, or is none at all."""
    body: dict[str, Any] = draw(_GOOD)
    change = draw(st.sampled_from(["none", "none", "edge", "edge", "junk", "less", "other"]))
    name = draw(st.sampled_from(list(_EDGES)))
    match change:
        case "edge":
            return {**body, name: draw(st.sampled_from(_EDGES[name]))}
        case "junk":
            return {**body, name: draw(_JUNK)}
        case "less":
            return {name: value for name, value in body.items() if name != "content"}
        case "other":
            return draw(_JUNK)
    return body


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=_bodies())
def test_the_request_schema_is_the_codes(quiet: QuietCloud, body: Any) -> None:
    """What the schema accepts is accepted, or refused for what no schema can know; what violates it is a 4xx."""
    before = quiet.depth()
    response = quiet.client(new_user()).post(
        "/messages", content=json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    if contract.problems("/components/schemas/PostMessage", body):
        assert response.status_code in {400, 404, 413}
    else:
        outcome = (response.status_code, None if response.is_success else contract.code_of(response))
        assert outcome in {(202, None), (404, "no_conversation"), (404, "no_session"), (413, "content_too_large")}
    assert quiet.depth() - before == (response.status_code == 202)


def test_white_space_is_the_same_to_document_and_code() -> None:
    """A message of white space alone is refused by both, whatever an engine of regular expressions takes for white space."""
    pattern = SCHEMAS["PostMessage"]["properties"]["content"]["pattern"]
    assert "\\S" not in pattern
    for code in (*range(0xD800), *range(0xE000, 0x11000)):
        assert bool(re.search(pattern, chr(code))) == bool(chr(code).strip()), hex(code)
