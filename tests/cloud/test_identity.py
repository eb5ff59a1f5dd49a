"""Identity: a token is ours and unchanged or refused, and a session belongs to one user."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from cloudia.cloud.identity import Identity, bearer, issue_token
from cloudia.cloud.parameters import Parameters
from cloudia.errors import NotFoundError, UnauthorizedError, UnavailableError, UsageError
from cloudia.stack import Stack
from tests.servers import Quiet, serving
from tests.support import Cloud, RunningStack, make_cloud

LATER = 4_000_000_000
USERS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=128)


@pytest.fixture(scope="module")
def cloud(stack: RunningStack) -> Cloud:
    """One cloud for this file: nothing here writes to it."""
    return make_cloud(stack)


@pytest.fixture(scope="module")
def identity(cloud: Cloud) -> Identity:
    return identify(cloud)


def identify(cloud: Cloud, **changes: Any) -> Identity:
    settings = replace(cloud.settings, **changes)
    return Identity(Parameters(cloud.aws.ssm), cloud.stack, settings)


def signed(cloud: Cloud, claims: dict[str, Any], **options: Any) -> str:
    """Return a token of any claims, signed with the stack's secret."""
    return jwt.encode(claims, **{"key": cloud.secrets["token"], "algorithm": "HS256", **options})


def refused(identity: Identity, token: str | None) -> str:
    """Return the code with which a token is refused."""
    with pytest.raises(UnauthorizedError) as error:
        identity.user(token)
    assert error.value.status == 401
    assert token is None or len(token) < 20 or token not in str(error.value.to_json())  # I6
    return error.value.code


# --- tokens ----------------------------------------------------------------------------------------------------------


@given(USERS)
def test_a_token_is_its_users(cloud: Cloud, identity: Identity, user: str) -> None:
    """What `issue_token` made for a user is taken as that user's."""
    assert identity.user(cloud.token(user)) == user


@pytest.mark.parametrize("user", ["", "a" * 129, "a\n", "\x00", "\x7f", "\ud800"])
def test_no_token_is_made_for_what_cannot_be_a_user(cloud: Cloud, identity: Identity, user: str) -> None:
    """Control characters would break keys and logs, and half a surrogate pair cannot be signed: neither is a user."""
    with pytest.raises(UsageError):
        cloud.token(user)
    assert refused(identity, signed(cloud, {"sub": user, "exp": LATER})) == "bad_token"


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"sub": "alice"}, "bad_token"),
        ({"exp": LATER}, "bad_token"),
        ({"sub": None, "exp": LATER}, "bad_token"),
        ({"sub": 5, "exp": LATER}, "bad_token"),
        ({"sub": ["alice"], "exp": LATER}, "bad_token"),
        ({"sub": "alice", "exp": "soon"}, "bad_token"),
        ({"sub": "alice", "exp": float("nan")}, "bad_token"),
        ({"sub": "alice", "exp": float("inf")}, "bad_token"),
        ({"sub": "alice", "exp": [LATER]}, "bad_token"),
        ({"sub": "alice", "exp": LATER, "nbf": LATER}, "bad_token"),
        ({"sub": "alice", "exp": 1_700_000_000}, "token_expired"),
    ],
)
def test_a_token_needs_a_user_and_an_end(cloud: Cloud, identity: Identity, claims: dict[str, Any], code: str) -> None:
    """`sub` and `exp` are required, of the right type, and the token is in its time."""
    assert refused(identity, signed(cloud, claims)) == code


def test_a_token_expires(cloud: Cloud, identity: Identity) -> None:
    """Ten seconds of leeway for clocks that differ, and no more."""
    assert identity.user(cloud.token(seconds=-5)) == "alice"
    assert refused(identity, cloud.token(seconds=-15)) == "token_expired"


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_a_clock_that_is_ahead_is_told_as_that(cloud: Cloud, identity: Identity, claim: str) -> None:
    """One that is two minutes ahead is let be; beyond, whoever made the token learns that it is the clock."""
    with pytest.raises(UnauthorizedError) as caught:
        identity.user(signed(cloud, {"sub": "alice", "exp": LATER, claim: int(time.time()) + 150}))
    assert caught.value.code == "bad_token"
    assert "clock" in caught.value.message
    assert "clock" in caught.value.hint
    assert identity.user(signed(cloud, {"sub": "alice", "exp": LATER, claim: int(time.time()) + 100})) == "alice"


def test_the_algorithm_is_ours_to_choose(cloud: Cloud, identity: Identity) -> None:
    """RFC 8725, 3.1: neither `none` nor another algorithm is taken, whatever the header says."""
    claims = {"sub": "alice", "exp": LATER}
    assert refused(identity, jwt.encode(claims, "", algorithm="none")) == "bad_token"
    secret = "s" * 64
    assert refused(identity, signed(cloud, claims, key=secret)) == "bad_token"
    long = cloud.secrets["token"] * 2
    assert refused(identity, signed(cloud, claims, key=long, algorithm="HS512")) == "bad_token"
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert refused(identity, jwt.encode(claims, key, algorithm="RS256")) == "bad_token"


def test_issuer_and_audience_are_required_where_they_are_set(cloud: Cloud) -> None:
    """A token for another audience or of another issuer is refused; without the setting neither is looked at."""
    strict = identify(cloud, auth_issuer="me", auth_audience="chat")
    assert strict.user(cloud.token(issuer="me", audience="chat")) == "alice"
    assert refused(strict, cloud.token(issuer="me")) == "bad_token"
    assert refused(strict, cloud.token(audience="chat")) == "bad_token"
    assert refused(strict, cloud.token(issuer="you", audience="chat")) == "bad_token"
    assert refused(strict, cloud.token(issuer="me", audience="other")) == "bad_token"
    assert identify(cloud).user(cloud.token(issuer="you", audience="other")) == "alice"


@pytest.mark.parametrize(("token", "code"), [(None, "no_token"), ("", "no_token"), ("x" * 8193, "bad_token")])
def test_no_token_and_an_endless_one(identity: Identity, token: str | None, code: str) -> None:
    """I7: a token has a bound."""
    assert refused(identity, token) == code


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "sub", "exp", "aud"]), inner, max_size=4)
    ),
    max_leaves=6,
)
PARTS = JSON.map(part) | st.binary(max_size=20).map(part) | st.text(max_size=10)


@given(st.lists(PARTS, min_size=1, max_size=4).map(".".join) | st.text(max_size=100))
@example(part(b"[" * 5000) + ".e30.x")
@example(part({"alg": "HS256"}) + "." + part(b"[" * 5000) + ".x")
@example(part({"alg": "HS256", "crit": [[]]}) + ".e30." + part(b"x"))
@example(part({"alg": ["HS256"]}) + ".e30." + part(b"x"))
@example("\ud800.\ud800.\ud800")
def test_garbage_is_refused_and_breaks_nothing(identity: Identity, token: str) -> None:
    """Whatever stands in the header: `UnauthorizedError`, and no other exception."""
    assert refused(identity, token) == ("bad_token" if token else "no_token")


@given(st.data())
def test_a_token_that_was_tampered_with_is_nobody_elses(cloud: Cloud, identity: Identity, data: st.DataObject) -> None:
    """I5: with one character of a token changed, dropped or added, it is refused, or still says the same user."""
    token = cloud.token("alice")
    place = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.sampled_from("ABCxyz019-_.=+/ é"))
    how = data.draw(st.sampled_from(["change", "drop", "add"]))
    rest = token[place:] if how == "add" else token[place + 1 :]
    tampered = token[:place] + ("" if how == "drop" else character) + rest
    try:
        assert identity.user(tampered) == "alice"
    except UnauthorizedError as error:
        assert error.code == "bad_token"  # noqa: PT017 - either is right


@given(USERS, USERS)
def test_claims_cannot_be_swapped(cloud: Cloud, identity: Identity, one: str, other: str) -> None:
    """I5: the signature of one user's token does not fit another's claims."""
    header, _, signature = cloud.token(one).split(".")
    _, claims, _ = signed(cloud, {"sub": other, "exp": LATER}).split(".")
    assert refused(identity, f"{header}.{claims}.{signature}") == "bad_token"


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, None),
        ("", None),
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER  abc ", "abc"),
        ("Bearer", ""),
        ("Bearer ", ""),
        ("Basic abc", None),
        ("abc", None),
        ("Bearerabc", None),
    ],
)
def test_the_header_bears_a_token(header: str | None, token: str | None) -> None:
    """RFC 6750 and RFC 9110: the scheme in any case, then the token; another scheme is none."""
    assert bearer(header) == token


# --- a key set -------------------------------------------------------------------------------------------------------


class KeySet(Quiet, BaseHTTPRequestHandler):
    """Serves what `answer` says."""

    answer: tuple[int, bytes] | None = None
    """Status and body; None hangs up."""

    def do_GET(self) -> None:
        self.close_connection = True
        if self.answer is None:
            return
        self.send_response(self.answer[0])
        self.send_header("content-length", str(len(self.answer[1])))
        self.end_headers()
        self.wfile.write(self.answer[1])


RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def key_set() -> bytes:
    keys = [
        {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key())), "kid": "r", "use": "sig"},
        {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(EC_KEY.public_key())), "kid": "e", "use": "sig"},
    ]
    return json.dumps({"keys": keys}).encode()


@pytest.fixture
def issuer() -> Iterator[str]:
    """The URL of an issuer's key set, on loopback."""
    KeySet.answer = (200, key_set())
    with serving(KeySet) as url:
        yield f"{url}/jwks.json"


def test_a_key_set_verifies_its_issuers_tokens(cloud: Cloud, issuer: str) -> None:
    """RS256 and ES256 with the key that `kid` names; the stack's own secret is good for nothing then."""
    identity = identify(cloud, auth_jwks_url=issuer)
    claims = {"sub": "alice", "exp": LATER}
    assert identity.user(jwt.encode(claims, RSA_KEY, algorithm="RS256", headers={"kid": "r"})) == "alice"
    assert identity.user(jwt.encode(claims, EC_KEY, algorithm="ES256", headers={"kid": "e"})) == "alice"
    assert refused(identity, jwt.encode(claims, RSA_KEY, algorithm="RS256", headers={"kid": "e"})) == "bad_token"
    assert refused(identity, jwt.encode(claims, RSA_KEY, algorithm="RS256", headers={"kid": "x"})) == "bad_token"
    assert refused(identity, cloud.token()) == "bad_token"


def test_a_public_key_is_no_secret(cloud: Cloud, issuer: str) -> None:
    """RFC 8725, 2.1: HS256 signed with the issuer's public key, which everybody has, is refused."""
    identity = identify(cloud, auth_jwks_url=issuer)
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header, claims = part({"alg": "HS256", "kid": "r"}), part({"sub": "alice", "exp": LATER})
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        f"{header}.{claims}".encode(), pem
    )
    assert refused(identity, f"{header}.{claims}.{part(signature)}") == "bad_token"


@pytest.mark.parametrize(
    "answer", [None, (500, b"{}"), (404, b""), (200, b"<html>busy</html>"), (200, b"[]"), (200, b'{"keys": []}')]
)
def test_a_key_set_that_cannot_be_read_is_not_the_tokens_fault(
    cloud: Cloud, issuer: str, answer: tuple[int, bytes] | None
) -> None:
    """While the issuer is away or answers nonsense, nobody is told that a good token is bad: 503, not 401."""
    KeySet.answer = answer
    token = jwt.encode({"sub": "alice", "exp": LATER}, RSA_KEY, algorithm="RS256", headers={"kid": "r"})
    with pytest.raises(UnavailableError) as away:
        identify(cloud, auth_jwks_url=issuer).user(token)
    assert away.value.code == "jwks_unavailable"


def test_a_dead_issuer_is_given_up_soon(cloud: Cloud, issuer: str) -> None:
    """I7: nothing listens there, and the request is not kept waiting."""
    dead = issuer.replace("127.0.0.1", "127.0.0.2").rsplit(":", 1)[0] + ":1/jwks.json"
    token = jwt.encode({"sub": "alice", "exp": LATER}, RSA_KEY, algorithm="RS256", headers={"kid": "r"})
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        identify(cloud, auth_jwks_url=dead).user(token)
    assert time.monotonic() - began < 6


# --- sessions --------------------------------------------------------------------------------------------------------


@given(USERS, USERS)
def test_a_session_belongs_to_one_user(identity: Identity, one: str, other: str) -> None:
    """I5: a session id is good for its user, and for nobody else."""
    session = identity.new_session(one)
    identity.check_session(session, one)
    if one != other:
        with pytest.raises(NotFoundError) as strange:
            identity.check_session(session, other)
        assert strange.value.code == "no_session"


def test_sessions_differ(identity: Identity) -> None:
    """A session id cannot be guessed from another one."""
    assert len({identity.new_session("alice") for _ in range(100)}) == 100


@examples(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_session_that_was_tampered_with_is_nobodys(identity: Identity, data: st.DataObject) -> None:
    """I5: any change of any character, name or signature, makes it none of ours."""
    session = identity.new_session("alice")
    place = data.draw(st.integers(0, len(session) - 1))
    character = data.draw(st.sampled_from("AZaz09-_.é\n"))
    tampered = session[:place] + character + session[place + data.draw(st.integers(0, 1)) :]
    if tampered != session:
        with pytest.raises(NotFoundError):
            identity.check_session(tampered, "alice")


@given(st.text(max_size=100))
@example("ses_.")
@example("ses_" + "a" * 22 + "." + "a" * 43)
@example("ses_" + "a" * 22 + "." + "é" * 43)
@example("\ud800")
def test_garbage_is_no_session(identity: Identity, session: str) -> None:
    """Whatever a client sends: `NotFoundError`."""
    with pytest.raises(NotFoundError):
        identity.check_session(session, "alice")


def test_sessions_of_another_stack_are_none_of_ours(cloud: Cloud, identity: Identity, stack: RunningStack) -> None:
    """The signature is made with the stack's own secret."""
    other = make_cloud(stack)
    other.aws.ssm.put_parameter(
        Name=other.stack.session_secret.name, Value="another secret", Type="SecureString", Overwrite=True
    )
    session = Identity(Parameters(other.aws.ssm), other.stack, other.settings).new_session("alice")
    with pytest.raises(NotFoundError):
        identity.check_session(session, "alice")


def test_without_its_secrets_nobody_is_known(cloud: Cloud) -> None:
    """A stack that was not provisioned says so: it neither takes nor makes anything unsigned."""
    identity = Identity(Parameters(cloud.aws.ssm), Stack("nowhere"), cloud.settings)
    asks: list[Callable[[], str]] = [lambda: identity.user(cloud.token()), lambda: identity.new_session("alice")]
    for ask in asks:
        with pytest.raises(UnavailableError) as missing:
            ask()
        assert missing.value.code == "not_provisioned"


def test_an_issued_token_is_a_plain_jwt() -> None:
    """`sub`, `iat`, `exp` and what was asked for: any JWT library can make one."""
    claims = jwt.decode(
        issue_token("s" * 32, "alice", seconds=60, issuer="me", audience="chat"),
        "s" * 32,
        algorithms=["HS256"],
        audience="chat",
        issuer="me",
    )
    assert claims["sub"] == "alice"
    assert claims["exp"] - claims["iat"] == 60
    assert set(claims) == {"sub", "iat", "exp", "iss", "aud"}
    assert set(jwt.decode(issue_token("s" * 32, "a"), options={"verify_signature": False})) == {"sub", "iat", "exp"}
