"""The secrets of a folder's stack, in `.cloudia/secrets.json`: made once, each for one purpose, and sent nowhere."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from cloudia.errors import UsageError
from cloudia.private_file import write_private

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Secrets"]

_BYTES = 32
_FIRST = frozenset({"token", "session"})
"""Those that every file has had."""


def _made() -> Any:
    return field(default_factory=lambda: secrets.token_urlsafe(_BYTES), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """The secrets of one stack."""

    token: str = _made()
    """Signs the bearer tokens."""
    session: str = _made()
    """Signs session ids."""
    access_key_id: str = _made()
    """The engine's: whoever does not name it is refused."""
    secret_access_key: str = _made()
    redis: str = _made()
    """The password of Redis."""
    control: str = _made()
    """Opens the control of the simulated provider."""
    provider: str = _made()
    """The API key that the simulated provider takes."""
    collector: str = _made()
    """What a request to the collector bears."""
    page: str = _made()
    """What the page's cookie and key are made of."""

    @classmethod
    def of(cls, path: Path) -> Secrets:
        """Return those of a file; what it lacks is made and written into it.

        `OSError` where it cannot be written, `UsageError` where it cannot be read.
        """
        known = _read(path)
        made = cls(**{item.name: known[item.name] for item in fields(cls) if item.name in known})
        if asdict(made).keys() - known.keys():
            write_private(path, json.dumps(known | asdict(made)))
        return made


def _read(path: Path) -> dict[str, str]:
    try:
        return _checked(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read", hint="Delete it; a new one is made.") from error


def _checked(known: Any) -> dict[str, str]:
    if not isinstance(known, dict) or not all(isinstance(value, str) and value for value in known.values()):
        raise ValueError("that is no object of texts")
    if not known.keys() >= _FIRST:
        raise ValueError("it is not whole")
    return known
