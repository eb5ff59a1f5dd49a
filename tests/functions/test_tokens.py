"""Tokens: only one that the stack's secret signed, that names a user and has not expired, is a caller."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from cloudia.stack import Stack
from tests.functions import contract

if TYPE_CHECKING:
    from tests.functions.apis import QuietCloud

ALICE = {"sub": "alice", "exp": 9_999_999_999}
OTHER_SECRET = "another-secret-of-32-bytes-or-more!!"


def forged(header: Any, claims: Any, secret: str) -> str:
    """Return a token of any header and claims, well or badly formed, with a valid HS256 signature."""
    parts = [
        part if isinstance(part, str) else json.dumps(part)  # as it is, for JSON that Python would not write
        for part in (header, claims)
    ]
    signed = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
    signature = hmac.digest(secret.encode(), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def bad_tokens(secret: str) -> dict[str, str]:
    """Return tokens that are each wrong in one way, for a stack of this secret."""
    good = jwt.encode(ALICE, secret, "HS256")
    key = rsa.generate_private_key(65_537, 2048)
    head, claims, signature = good.split(".")
    mallory = jwt.encode({**ALICE, "sub": "mallory"}, secret, "HS256").split(".")[1]
    hs256 = {"alg": "HS256", "typ": "JWT"}
    return {
        "garbage": "garbage",
        "three dots": "...",
        "not ASCII": "\xe9.\xe9.\xe9",
        "two tokens": f"{good} {good}",
        "cut off": good[:-1],
        "without a signature": f"{head}.{claims}.",
        "with another's claims": f"{head}.{mallory}.{signature}",
        "signed by another": jwt.encode(ALICE, OTHER_SECRET, "HS256"),
        "signed by nobody": jwt.encode(ALICE, None, "none"),  # type: ignore[arg-type]
        "signed by nobody, in capitals": forged({"alg": "NONE"}, ALICE, secret),
        "signed as HS512": jwt.encode(ALICE, secret * 2, "HS512"),
        "signed as RS256": jwt.encode(ALICE, key, "RS256"),
        "RS256 by its header, HMAC by its signature": forged({"alg": "RS256"}, ALICE, secret),
        "without an algorithm": forged({"typ": "JWT"}, ALICE, secret),
        "with an unknown extension": forged({**hs256, "crit": ["x"], "x": 1}, ALICE, secret),
        "without a subject": forged(hs256, {"exp": ALICE["exp"]}, secret),
        "without an expiry": forged(hs256, {"sub": "alice"}, secret),
        "whose subject is a number": forged(hs256, {**ALICE, "sub": 1}, secret),
        "whose subject is empty": forged(hs256, {**ALICE, "sub": ""}, secret),
        "whose subject has a newline": forged(hs256, {**ALICE, "sub": "alice\nbob"}, secret),
        "whose subject has 129 characters": forged(hs256, {**ALICE, "sub": "x" * 129}, secret),
        "whose subject is half a pair": forged(hs256, '{"sub": "\\ud800", "exp": 9999999999}', secret),
        "that expires at infinity": forged(hs256, '{"sub": "alice", "exp": 1e999}', secret),
        "that expires at some word": forged(hs256, {**ALICE, "exp": "soon"}, secret),
        "that begins tomorrow": forged(hs256, {**ALICE, "nbf": time.time() + 86_400}, secret),
        "whose claims are an array": forged(hs256, [], secret),
        "whose header is deeply nested": forged("[" * 5000, ALICE, secret),
        "whose claims are deeply nested": forged(hs256, "[" * 5000, secret),
        "of 8,193 characters": forged(hs256, {**ALICE, "x": "x" * 6200}, secret).ljust(8193, "x"),
        "of 10,000 characters": "x" * 10_000,
    }


SECRET = "token-secret-of-32-bytes-or-more!"
"""What `make_cloud` gives each of its clouds."""
BAD_TOKENS = bad_tokens(SECRET)


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_a_bad_token_is_a_401_and_nothing_is_enqueued(quiet: QuietCloud, name: str) -> None:
    """A token that is wrong in any way is nobody's, whatever else the request says."""
    assert quiet.cloud.secrets["token"] == SECRET
    before = quiet.depth()
    header = f"Bearer {BAD_TOKENS[name]}".encode("latin-1")
    with contract.client(quiet.users.url, None) as client:
        response = client.post("/messages", json={"content": "hello"}, headers=[(b"authorization", header)])
    assert (response.status_code, contract.code_of(response)) == (401, "bad_token")
    assert quiet.depth() == before


@pytest.mark.parametrize("header", ["", "Bearer", "Basic YTpi", "Token x", "bearer"])
def test_no_bearer_token_is_a_401(quiet: QuietCloud, header: str) -> None:
    """A missing, empty or different `Authorization` is `no_token`."""
    with contract.client(quiet.users.url, None) as client:
        response = client.get("/conversations", headers={"authorization": header})
    assert (response.status_code, contract.code_of(response)) == (401, "no_token")


def test_a_token_expires(quiet: QuietCloud) -> None:
    """A token is refused as expired once it is over its `exp` by more than the leeway of 10 s."""
    for seconds, status in ((-5, 200), (-15, 401)):
        with contract.client(quiet.users.url, quiet.cloud.token(seconds=seconds)) as client:
            response = client.get("/conversations")
        assert response.status_code == status
    assert contract.code_of(response) == "token_expired"


def test_the_scheme_is_written_in_any_case(quiet: QuietCloud) -> None:
    """`bearer` is a scheme in any case (RFC 9110, 11.1)."""
    with contract.client(quiet.users.url, None) as client:
        for scheme in ("bearer", "BEARER"):
            response = client.get("/conversations", headers={"authorization": f"{scheme} {quiet.cloud.token()}"})
            assert response.status_code == 200


def test_each_operation_checks_the_token(quiet: QuietCloud) -> None:
    """No route but `/health` answers a token that another stack signed."""
    with contract.client(quiet.users.url, jwt.encode(ALICE, OTHER_SECRET, "HS256")) as client:
        for route in Stack().routes:
            response = client.request(route.method, route.path.replace("{id}", "job_01m82ns9p2xqamevtfvfmjq5f3"))
            assert response.status_code == (200 if route.function == "health" else 401)
