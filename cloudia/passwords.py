"""Passwords in URLs and secrets in environments: how they are told, and what is shown of a URL."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, unquote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["MASK", "names_secret", "passwords_in", "without_password", "without_secrets"]

MASK = "••••"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S*")
_AFTER_AUTHORITY = re.compile(r"[/?#\\]")
_PARAMETER = re.compile(r"(?i)[?&#;]([^=&#;?]*(?:pass|pwd|secret|token|key|auth|credential|signature)[^=&#;?]*)=")
_NAME = re.compile(
    r"(?i)(?:SECRET|TOKEN|PASSWORD|PASSWD|PWD|CREDENTIALS|(?:API|ACCESS|PRIVATE)_?KEY(?:_ID)?)S?\Z|\AAWS_BEARER_TOKEN_"
)


def names_secret(variable: str) -> bool:
    """Tell whether an environment variable of this name holds a secret, as such names go: `AWS_SECRET_ACCESS_KEY`."""
    return variable not in {"PWD", "OLDPWD"} and _NAME.search(variable) is not None


def without_secrets(variables: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what names a secret, and without the URLs that hold a password."""
    return {name: value for name, value in variables.items() if not names_secret(name) and not any(passwords_in(value))}


def without_password(text: str) -> str:
    """Return a text with the passwords of the URLs in it masked; a text without blanks is one URL, or none.

    A password that was not percent-encoded may hold any character, and then nobody can tell where it ends: of such a URL
    only the scheme is left. https://www.rfc-editor.org/rfc/rfc3986#section-3.2.1
    """
    return _URL.sub(lambda found: _masked(found[0]), text)


def _masked(url: str) -> str:
    scheme, _, rest = url.partition("://")
    end = _AFTER_AUTHORITY.search(rest)
    authority, tail = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    if "@" in tail and ":" in authority:
        return f"{scheme}://{MASK}"
    userinfo, at, host = authority.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    parameter = _PARAMETER.search(tail)
    if parameter:  # What follows it may be its value still, which somebody forgot to encode.
        tail = tail[: parameter.end()] + MASK
    return f"{scheme}://{user}{f':{MASK}' if colon else ''}{at}{host}{tail}"


def passwords_in(text: str) -> Iterator[str]:
    """Yield the passwords of the URLs in a text, each as it stands there and as it is meant."""
    for url in _URL.findall(text):
        userinfo = url.partition("://")[2].rpartition("@")[0]
        found = [userinfo.partition(":")[2]]
        found += [url[match.end() :].partition("&")[0] for match in _PARAMETER.finditer(url)]
        for password in filter(None, found):
            yield password
            yield unquote(password)
            yield unquote_plus(password)
