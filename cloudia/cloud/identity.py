"""Identity: who a bearer token belongs to, and whose a session is.

A token is a JWT with `sub` and `exp` (RFC 7519), and with a `role` where it is an operator's: HS256 with the secret in SSM, or
RS256/ES256 with the keys of a JWKS URL. The algorithm is ours to choose, never the token's (RFC 8725, 3.1).

A session id carries a signature over its owner, so that a function knows whose it is without asking Redis.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import jwt

from cloudia.errors import ForbiddenError, NotFoundError, UnauthorizedError, UnavailableError, UsageError

if TYPE_CHECKING:
    from cloudia.cloud.parameters import Parameters
    from cloudia.settings import Settings
    from cloudia.stack import Stack

__all__ = ["OPERATOR", "Caller", "Identity", "bearer", "issue_token", "token_expired"]

_USER = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,128}")
_MAX_TOKEN = 8192
_LEEWAY_SECONDS = 10
"""For how long a token is taken after its end."""
_AHEAD_SECONDS = 120
"""By how much the clock where a token was made may be ahead: RFC 7519 speaks of "no more than a few minutes"."""
_END_OF_TIME = 253_402_300_800
"""The year 10000: a token may be good for longer than a clock can tell."""
_SESSION = re.compile(r"ses_[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}")
_HINT = "Make one with `cloudia token`."


OPERATOR = "operator"
"""The `role` of a token for whoever runs the stack."""


def issue_token(
    secret: str, user_id: str, *, seconds: float = 3600, issuer: str = "", audience: str = "", role: str = ""
) -> str:
    """Return a token of `user_id` that expires in `seconds`. `UsageError` for a name that cannot be one."""
    if not _USER.fullmatch(user_id):
        raise UsageError("a user is 1 to 128 characters without control characters")
    now = int(time.time())
    claims: dict[str, Any] = {"sub": user_id, "iat": now, "exp": now + int(seconds)}
    if issuer:
        claims["iss"] = issuer
    if audience:
        claims["aud"] = audience
    if role:
        claims["role"] = role
    return jwt.encode(claims, secret, algorithm="HS256")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a token is of."""

    user_id: str
    expires_at: float
    """Epoch seconds from which on it is refused."""
    is_operator: bool = False
    """Whether it has the role of who runs the stack."""


def token_expired() -> UnauthorizedError:
    """Return the refusal of a token that was good."""
    return UnauthorizedError("the token has expired", hint=_HINT, code="token_expired")


class Identity:
    """Verifies tokens and session ids. Methods block where a secret or a key set has to be fetched."""

    def __init__(self, parameters: Parameters, stack: Stack, settings: Settings) -> None:
        self._parameters = parameters
        self._stack = stack
        self._issuer = settings.auth_issuer or None
        self._audience = settings.auth_audience or None
        self._jwks = jwt.PyJWKClient(settings.auth_jwks_url, timeout=5) if settings.auth_jwks_url else None

    def user(self, token: str | None) -> str:
        """Return the user of a token. `UnauthorizedError` says why it was refused."""
        return self.caller(token).user_id

    def caller(self, token: str | None) -> Caller:
        """Return who a token is of, and until when. `UnauthorizedError` says why it was refused."""
        if not token:
            raise UnauthorizedError("the request has no bearer token", hint=_HINT, code="no_token")
        if len(token) > _MAX_TOKEN:
            raise UnauthorizedError("the token is too long", hint=_HINT, code="bad_token")
        try:
            claims = self._claims(token)
        except jwt.ExpiredSignatureError as error:
            raise token_expired() from error
        except jwt.ImmatureSignatureError as error:
            raise UnauthorizedError(
                "the token is not valid yet: the clock where it was made is ahead of this one's",
                hint="Set that machine's clock, or this one's.",
                code="bad_token",
            ) from error
        except jwt.PyJWKClientConnectionError as error:
            raise _no_keys() from error
        # A key of another kind, a number without end or nesting without bound: PyJWT lets these through as they are.
        except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
            raise UnauthorizedError("the token is not valid here", hint=_HINT, code="bad_token") from error
        user = claims["sub"]
        if not isinstance(user, str) or not _USER.fullmatch(user):
            raise UnauthorizedError("the token's subject is not a user", hint=_HINT, code="bad_token")
        until = min(int(claims["exp"]), _END_OF_TIME) + _LEEWAY_SECONDS
        return Caller(user, until, is_operator=claims.get("role") == OPERATOR)

    def operator(self, token: str | None) -> str:
        """Return the operator that a token is of. As `caller`; `ForbiddenError` where it is a user's."""
        caller = self.caller(token)
        if not caller.is_operator:
            raise ForbiddenError(
                "this is for whoever runs the stack, and the token is a user's",
                hint="Make one with `cloudia token --operator`.",
            )
        return caller.user_id

    def _claims(self, token: str) -> dict[str, Any]:
        if self._jwks:
            key: Any = _issuers_key(self._jwks, token)
            algorithms = ["RS256", "ES256"]
        else:
            key, algorithms = self._parameters.require(self._stack.token_secret), ["HS256"]
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=algorithms,
            audience=self._audience,
            issuer=self._issuer,
            leeway=_AHEAD_SECONDS,
            options={"require": ["sub", "exp"], "verify_aud": self._audience is not None},
        )
        if int(claims["exp"]) <= time.time() - _LEEWAY_SECONDS:
            raise jwt.ExpiredSignatureError
        return claims

    def new_session(self, user_id: str) -> str:
        """Return a new session id of this user: `ses_{random}.{signature}`."""
        name = f"ses_{secrets.token_urlsafe(16)}"
        return f"{name}.{self._signature(name, user_id)}"

    def check_session(self, session_id: str, user_id: str) -> None:
        """Accept a session of this user. `NotFoundError` where it is another's, or none of ours."""
        name, _, signature = session_id.partition(".")
        whole = _SESSION.fullmatch(session_id) is not None
        if not whole or not hmac.compare_digest(signature, self._signature(name, user_id)):
            raise NotFoundError(
                "there is no such session", hint="Use the session_id that `ready` gave you.", code="no_session"
            )

    def _signature(self, name: str, user_id: str) -> str:
        secret = self._parameters.require(self._stack.session_secret)
        digest = hmac.digest(secret.encode(), f"{name}\n{user_id}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _issuers_key(jwks: jwt.PyJWKClient, token: str) -> Any:
    """Return the key that a token names. `UnavailableError` where the key set cannot be read."""
    kid: Any = jwt.get_unverified_header(token).get("kid")
    try:
        jwks.get_signing_keys()  # cached; whatever is wrong with it is not the token's fault
    except (jwt.PyJWTError, OSError, HTTPException, ValueError) as error:
        raise _no_keys() from error
    return jwks.get_signing_key(kid).key


def _no_keys() -> UnavailableError:
    return UnavailableError(
        "the key set of the token's issuer cannot be read",
        hint="Is auth.jwks_url right, and is `cloudia-chat[jwks]` installed?",
        code="jwks_unavailable",
    )


def bearer(header: str | None) -> str | None:
    """Return the token of an `Authorization` header, None where it is not a bearer's."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
