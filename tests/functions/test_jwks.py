"""Tokens of an identity provider: RS256 and ES256 with the keys of a JWKS URL."""

from __future__ import annotations

import base64
import hmac
import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, cast

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from cloudia.cloud.identity import Identity
from cloudia.errors import UnauthorizedError, UnavailableError
from cloudia.settings import Settings
from cloudia.sim.ports import LOOPBACK, choose_port
from cloudia.stack import Stack
from tests.functions import contract
from tests.functions.apis import edge_of
from tests.servers import Quiet, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cloudia.cloud.parameters import Parameters
    from tests.support import Cloud

RSA, OTHER_RSA = rsa.generate_private_key(65_537, 2048), rsa.generate_private_key(65_537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
KEYS = {
    "keys": [
        {**RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True), "kid": "rsa", "use": "sig"},
        {**ECAlgorithm.to_jwk(EC.public_key(), as_dict=True), "kid": "ec", "use": "sig"},
    ]
}


@dataclass
class KeyServer:
    """An identity provider's key set: what it answers, and how often it was asked."""

    url: str
    body: bytes
    status: int = 200
    asked: int = 0


@contextmanager
def key_server(port: int = 0) -> Iterator[KeyServer]:
    """Serve `KEYS` on loopback until the block ends."""

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked += 1
            self.send_response(served.status)
            self.end_headers()
            self.wfile.write(served.body)

    with serving(Handler, port) as url:
        served = KeyServer(f"{url}/keys", json.dumps(KEYS).encode())
        yield served


@pytest.fixture
def keys() -> Iterator[KeyServer]:
    """A key server of the test's own."""
    with key_server() as served:
        yield served


def identity(url: str, **changes: Any) -> Identity:
    """Return an identity that knows no secret, only a key set."""
    return Identity(cast("Parameters", None), Stack(), Settings(auth_jwks_url=url, **changes))


def token(key: Any, algorithm: str, kid: str | None, **claims: Any) -> str:
    """Return a token of alice."""
    known = {"sub": "alice", "exp": int(time.time()) + 600, **claims}
    return jwt.encode(known, key, algorithm, headers={"kid": kid} if kid else None)


def test_tokens_of_the_key_set_are_accepted(keys: KeyServer) -> None:
    """RS256 and ES256 tokens are their subject's; the key set is fetched once for all of them."""
    known = identity(keys.url)
    assert keys.asked == 0
    for _ in range(3):
        assert known.user(token(RSA, "RS256", "rsa")) == "alice"
        assert known.user(token(EC, "ES256", "ec", sub="bob")) == "bob"
    assert keys.asked == 1


def hs256_with_the_public_key() -> str:
    """Return a token whose HMAC secret is what everyone knows: the public key (RFC 8725, 2.1)."""
    public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    parts = ({"alg": "HS256", "kid": "rsa"}, {"sub": "alice", "exp": 9_999_999_999})
    signed = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.digest(public, signed.encode(), "sha256")).decode().rstrip("=")
    return f"{signed}.{signature}"


BAD_TOKENS = {
    "HS256": token("a-secret-of-32-bytes-or-more-......", "HS256", "rsa"),
    "HS256 with the public key": hs256_with_the_public_key(),
    "nobody's": token(None, "none", "rsa"),
    "of an unknown key": token(OTHER_RSA, "RS256", "other"),
    "of no key": token(RSA, "RS256", None),
    "of another key than it says": token(OTHER_RSA, "RS256", "rsa"),
    "RS512": token(RSA, "RS512", "rsa"),
    "RS256 by the key of ES256": token(RSA, "RS256", "ec"),
    "ES256 by the key of RS256": token(EC, "ES256", "rsa"),
    "expired": token(RSA, "RS256", "rsa", exp=1),
    "garbage": "garbage",
}


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_other_tokens_are_refused(keys: KeyServer, name: str) -> None:
    """HS256, an unknown or a wrong key, and any mixture of them is an `UnauthorizedError`."""
    with pytest.raises(UnauthorizedError):
        identity(keys.url).user(BAD_TOKENS[name])


def test_issuer_and_audience_are_required_where_they_are_set(keys: KeyServer) -> None:
    """A token of the right keys for another service is refused."""
    known = identity(keys.url, auth_issuer="https://id.example", auth_audience="cloudia")
    right = {"iss": "https://id.example", "aud": "cloudia"}
    assert known.user(token(RSA, "RS256", "rsa", **right)) == "alice"
    for wrong in ({}, {**right, "aud": "other"}, {**right, "iss": "https://other.example"}):
        with pytest.raises(UnauthorizedError):
            known.user(token(RSA, "RS256", "rsa", **wrong))


def test_unknown_keys_do_not_hammer_the_key_server(keys: KeyServer) -> None:
    """Tokens with made-up key ids, which anyone can send, do not each cost a fetch."""
    known = identity(keys.url)
    for number in range(10):
        with pytest.raises(UnauthorizedError):
            known.user(token(OTHER_RSA, "RS256", f"made-up-{number}"))
    assert keys.asked <= 2


def test_a_key_server_that_is_away_is_nobodys_fault() -> None:
    """`UnavailableError` while the key set cannot be read, and the tokens are good again once it can."""
    port = choose_port()
    known, good = identity(f"http://{LOOPBACK}:{port}/keys"), token(RSA, "RS256", "rsa")
    with pytest.raises(UnavailableError) as raised:
        known.user(good)
    assert raised.value.code == "jwks_unavailable"
    with key_server(port) as served:
        served.status = 500
        with pytest.raises(UnavailableError):
            known.user(good)
        served.status = 200
        assert known.user(good) == "alice"
    assert known.user(good) == "alice", "the key set is kept while its server is away"


async def test_the_http_api_takes_these_tokens(cloud: Cloud, keys: KeyServer, tmp_path: Path) -> None:
    """Over HTTP: a token of the key set is a caller, one of the stack's own secret is a 401, no key set is a 503."""
    async with edge_of(cloud, tmp_path / "edge.log", auth_jwks_url=keys.url) as (url, _):
        keys.status = 500
        with contract.client(url, token(RSA, "RS256", "rsa")) as client:
            response = client.get("/conversations")
            assert (response.status_code, contract.code_of(response)) == (503, "jwks_unavailable")
            keys.status = 200
            assert client.post("/messages", json={"content": "hello"}).status_code == 202
        with contract.client(url, cloud.token()) as client:
            response = client.get("/conversations")
            assert (response.status_code, contract.code_of(response)) == (401, "bad_token")
