"""The contract: `openapi.json`, and an HTTP client that holds every response against it."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import httpx2
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.patience import HANGS

__all__ = ["DOCUMENT", "client", "code_of", "codes", "operations", "problems", "resolve"]

DOCUMENT: dict[str, Any] = json.loads(files("cloudia.functions").joinpath("openapi.json").read_text())

_URI = "urn:cloudia:openapi"
_REGISTRY: Registry[Any] = Registry().with_resource(_URI, DRAFT202012.create_resource(DOCUMENT))
_CODE = re.compile(r"`([a-z0-9_]+)`")


def problems(pointer: str, value: Any) -> list[str]:
    """Return what is wrong with `value` by the schema at a JSON pointer such as `/components/schemas/Error`."""
    validator = OAS31Validator({"$ref": f"{_URI}#{pointer}"}, registry=_REGISTRY, format_checker=oas31_format_checker)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Return `(method, path, operation)` of each operation; methods in upper case."""
    return [
        (method.upper(), path, operation)
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    ]


def resolve(part: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Return what a part of the document refers to, with its pointer; itself with None where it is no reference."""
    reference = part.get("$ref")
    if reference is None:
        return None, part
    found: Any = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return reference.removeprefix("#"), found


def codes(answer: dict[str, Any]) -> set[str]:
    """Return the codes that the description of a response lists."""
    return set(_CODE.findall(answer["description"]))


def code_of(response: httpx2.Response) -> str:
    """Return the code of an error."""
    return str(response.json()["error"]["code"])


def _operation(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    for known, template, operation in operations():
        if known == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path.rstrip("/")):
            escaped = template.replace("/", "~1")
            return f"/paths/{escaped}/{method.lower()}", operation
    return None


def _check(response: httpx2.Response) -> None:
    """Hold a response against the contract; what is no operation of it has to be a 404."""
    response.read()
    method, path, status = response.request.method, response.request.url.path, str(response.status_code)
    said = f"{method} {path}: {status} {response.text[:500]}"
    assert response.headers["content-type"].split(";")[0] == "application/json", said
    found = _operation(method, path)
    if found is None:
        assert status == "404", said
        assert not problems("/components/schemas/Error", response.json()), said
        return
    pointer, operation = found
    assert status in operation["responses"], f"undocumented: {said}"
    place, answer = resolve(operation["responses"][status])
    place = place or f"{pointer}/responses/{status}"
    wrong = problems(f"{place}/content/application~1json/schema", response.json())
    assert not wrong, f"{wrong} in {said}"
    if not response.is_success:
        assert code_of(response) in codes(answer), f"undocumented code: {said}"
    for name in answer.get("headers", {}) if response.is_error else ():
        assert name in response.headers, f"no {name}: {said}"


def client(url: str, token: str | None) -> httpx2.Client:
    """Return a client of one user whose responses are all held against the contract."""
    return httpx2.Client(
        base_url=url,
        headers={"authorization": f"Bearer {token}"} if token else {},
        event_hooks={"response": [_check]},
        limits=httpx2.Limits(max_connections=32),
        timeout=HANGS,
        trust_env=False,
    )
