"""What a provider sent, as a case: its bytes with their times, without secrets, and unless asked without text."""

from __future__ import annotations

import base64
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudia.sim.llm.blanks import without_secrets, without_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cloudia.sim.llm.case import End, Framing
    from cloudia.sim.llm.prompts import Provider

__all__ = ["Heard", "Recording"]

MAX_BYTES = 4 * 1024 * 1024  # of all answers; base64 and JSON make more of it
_KEPT = ("content-type", "content-encoding", "retry-after", "cache-control", "location", "x-should-retry")
_LIMITS = ("x-ratelimit-", "anthropic-ratelimit-", "ratelimit")
_LEAST_MS = 2  # what is shorter is this machine's own doing
_NO_TEXT = "…"


@dataclass(slots=True)
class Heard:
    """One answer as it came. `pieces` are the reads, each with the seconds since the request went out."""

    api: Provider
    job_id: str | None
    asked: str
    """The last message of the user."""
    secrets: Sequence[str]
    """What the request bore to be let in."""
    status: int = 0
    http: str = "1.1"
    headers: Sequence[tuple[str, str]] = ()
    framing: Framing = "chunked"
    began: float = 0.0
    """Seconds until the head came."""
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    end: End = "chunked_end"
    size: int = 0
    """Bytes of the pieces, and of what came beyond MAX_BYTES and is not held."""

    def note(self, when: float, piece: bytes) -> None:
        """Add a piece."""
        self.size += len(piece)
        if self.size <= MAX_BYTES:
            self.pieces.append((when, piece))


class Recording:
    """A case that grows. `text` says whether what was said is kept."""

    def __init__(self, name: str, what: str, *, text: bool) -> None:
        self._name = name
        self._what = what
        self._text = text
        self._turns: OrderedDict[object, dict[str, Any]] = OrderedDict()
        self._bytes = 0
        self._api: Provider | None = None

    @property
    def answers(self) -> int:
        """How many answers it has."""
        return sum(len(turn["exchanges"]) for turn in self._turns.values())

    def add(self, heard: Heard) -> bool:
        """Keep an answer: those of one job make a turn, as does one without a job. Return whether there was room for it.

        An answer that is compressed has its text where it cannot be taken out; it is kept only where text is.
        """
        coded = any(name.lower() == "content-encoding" and value.lower() != "identity" for name, value in heard.headers)
        if self._bytes + heard.size > MAX_BYTES or (coded and not self._text):
            return False
        self._bytes += heard.size
        self._api = self._api or heard.api
        turn = self._turns.setdefault(
            heard.job_id or object(), {"send": heard.asked if self._text else _NO_TEXT, "exchanges": [], "expect": {}}
        )
        turn["exchanges"].append(self._exchange(heard))
        return True

    def _exchange(self, heard: Heard) -> dict[str, Any]:
        raw = without_secrets(b"".join(raw for _, raw in heard.pieces), heard.secrets)
        if not self._text:
            raw = without_text(raw)
        body: list[dict[str, Any]] = []
        at, since = 0, heard.began
        for when, piece in heard.pieces:
            pause = round((when - since) * 1000)
            if pause >= _LEAST_MS:
                body.append({"pause_ms": pause})
                since = when
            body.append(_piece(raw[at : at + len(piece)]))
            at += len(piece)
        headers = _headers(heard.headers, heard.secrets)
        return {
            **({"api": heard.api} if heard.api != self._api else {}),
            "status": heard.status,
            "headers": headers,
            "wait_ms": round(heard.began * 1000),
            "http": heard.http,
            "framing": heard.framing,
            "end": heard.end,
            "body": body,
        }

    def to_json(self) -> dict[str, Any]:
        """Return the case as it is by now."""
        return {
            "name": self._name,
            "api": self._api or "openai",
            "kind": "recorded",
            "reports": [],
            "what": self._what,
            "settings": {},
            "turns": list(self._turns.values()),
        }


def _headers(headers: Iterable[tuple[str, str]], secrets: Sequence[str]) -> dict[str, str]:
    """Return those that decide what a client does: no cookie, no id, nothing of the account."""
    named = {}
    for name, value in headers:
        lowered = name.lower()
        if lowered in _KEPT or lowered.startswith(_LIMITS):
            named[lowered] = without_secrets(value.encode(), secrets).decode()
    return named


def _piece(raw: bytes) -> dict[str, str]:
    try:
        return {"text": raw.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}
