"""Shells of users: environments that would lead a local stack astray if it heeded them, and a proxy that nobody may reach."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["NAMES", "dead_proxy", "shell"]

_VARIABLES: Mapping[str, Mapping[str, str]] = {
    "a profile that is not there": {"AWS_PROFILE": "missing", "AWS_DEFAULT_PROFILE": "missing"},
    "a role": {"AWS_CONFIG_FILE": "{folder}/role", "AWS_PROFILE": "role"},
    "a session that has expired": {"AWS_CONFIG_FILE": "{folder}/sso"},
    "a token of the web": {
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/x",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "{folder}/role",
    },
    "half of a key": {"AWS_ACCESS_KEY_ID": "AKIAUSER"},
    "the other half": {"AWS_SECRET_ACCESS_KEY": "theirs", "AWS_SESSION_TOKEN": "theirs"},
    "broken files": {"AWS_CONFIG_FILE": "{folder}/broken", "AWS_SHARED_CREDENTIALS_FILE": "{folder}/broken"},
    "a container's credentials": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "{proxy}/credentials"},
    "settings of an SDK": {
        "AWS_CA_BUNDLE": "/no/such/file",
        "AWS_DEFAULTS_MODE": "nonsense",
        "AWS_ENDPOINT_URL_DYNAMODB": "{proxy}",
        "AWS_ENDPOINT_URL_SQS": "{proxy}",
        "AWS_MAX_ATTEMPTS": "nonsense",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "nonsense",
        "AWS_RETRY_MODE": "nonsense",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_USE_FIPS_ENDPOINT": "true",
    },
    "an account's id as key": {"AWS_ACCESS_KEY_ID": "123456789012", "AWS_SECRET_ACCESS_KEY": "theirs"},
}
_FILES = {
    "role": "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = role\nregion = eu-west-1\n",
    "sso": "[default]\nsso_session = x\nsso_account_id = 123456789012\nsso_role_name = x\n"
    "[sso-session x]\nsso_region = eu-west-1\nsso_start_url = https://x.invalid/start\n",
    "broken": "[profile x\n[[",
}
NAMES = tuple(_VARIABLES)


def shell(*names: str, folder: Path, proxy: str) -> dict[str, Any]:
    """Return what the shells of these names have set, each on top of the one before; all name `proxy`, and no exception.

    The files that they name are made in `folder`.
    """
    for name, content in _FILES.items():
        (folder / name).write_text(content)
    proxies = {f"{kind}_proxy": proxy for kind in ("http", "https", "all")}
    variables = {**proxies, **{name.upper(): url for name, url in proxies.items()}}
    for name in names:
        variables |= {key: value.format(folder=folder, proxy=proxy) for key, value in _VARIABLES[name].items()}
    return variables


@contextmanager
def dead_proxy() -> Iterator[tuple[str, list[bytes]]]:
    """Listen as a proxy that serves nobody. Yields its URL, and the first bytes of each who came."""
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(1)
                    try:
                        came.append(connection.recv(200))
                    except OSError:
                        came.append(b"")

        listening = threading.Thread(target=listen, daemon=True)
        listening.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", came
        finally:
            server.shutdown(socket.SHUT_RDWR)
            listening.join()
