"""A case: what a provider was seen to send, to the byte, as data. docs/provider-cases.md has the format.

Nothing here does I/O: a case is read, and its exchanges give the bytes and the pauses of an answer.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from cloudia.sim.llm import fields
from cloudia.sim.llm.fields import FieldError
from cloudia.sim.llm.prompts import PROVIDERS
from cloudia.sim.llm.rules import RULES, holds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cloudia.sim.llm.prompts import Provider

__all__ = ["MAX_BYTES", "Case", "End", "Exchange", "Framing", "parse"]

Framing = Literal["chunked", "length", "until_close"]
End = Literal["chunked_end", "close", "reset"]

MAX_BYTES = 16 * 1024 * 1024  # of all the answers of a case
_MAX_MS = 3_600_000
_OF_AN_EXCHANGE = {"api", "refuse_if", "status", "headers", "body", "split", "framing", "end", "http", "wait_ms"}
_OF_A_REFUSAL = {"rule", "status", "headers", "body"}

_Word = TypeVar("_Word", bound=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One answer. `body` is bytes, each written by itself, and pauses in seconds; a status of 0 is no answer at all."""

    status: int
    headers: Mapping[str, Any]
    body: Sequence[bytes | float]
    split: int | None = None
    framing: Framing
    end: End = "chunked_end"
    http: str = "1.1"
    wait: float = 0.0
    refusals: Sequence[tuple[Mapping[str, Any], Exchange]] = ()
    """Answers to requests for which a rule holds; they do not use this one up."""

    def to(self, body: Mapping[str, Any], path: str) -> Exchange:
        """Return what answers a request: the first refusal whose rule holds for it, else this."""
        return next((refusal for rule, refusal in self.refusals if holds(rule, body, path)), self)

    def head(self, now: float) -> bytes:
        """Return the status line and the headers; `now` is in epoch seconds."""
        named: dict[str, Any] = {"content-type": "text/event-stream" if self.status == 200 else "application/json"}  # noqa: PLR2004
        named |= self.headers
        for name, value in named.items():
            if isinstance(value, dict):
                named[name] = formatdate(now + value["http_date_in_seconds"], usegmt=True)
        if self.framing == "length":
            named["content-length"] = sum(len(piece) for piece in self.body if isinstance(piece, bytes))
        elif self.framing == "chunked":
            named["transfer-encoding"] = "chunked"
        lines = [f"HTTP/{self.http} {self.status} Case", *(f"{name}: {value}" for name, value in named.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    def writes(self) -> Iterator[bytes | float]:
        """Yield what follows the head as it is written: bytes in their framing, and pauses in seconds."""
        for piece in self.body:
            if isinstance(piece, float):
                yield piece
                continue
            size = self.split or len(piece) or 1
            for at in range(0, len(piece), size):
                cut = piece[at : at + size]
                yield b"%x\r\n%b\r\n" % (len(cut), cut) if self.framing == "chunked" else cut
        if self.framing == "chunked" and self.end == "chunked_end":
            yield b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Case:
    """A case: for each turn of its conversation the answers of each API, in order."""

    name: str
    turns: Sequence[Mapping[Provider, Sequence[Exchange]]]


def parse(data: Mapping[str, Any]) -> Case:
    """Return the case that `data` describes; what is in it for whoever asks and expects is passed over.

    Raises FieldError, also for a case whose answers have more than MAX_BYTES.
    """
    api = _word(data, "api", PROVIDERS)
    if api is None:
        raise FieldError("api", f"must be one of {', '.join(PROVIDERS)}")
    turns: list[Mapping[Provider, Sequence[Exchange]]] = []
    for turn in fields.objects(data, "turns"):
        answers: dict[Provider, list[Exchange]] = {}
        for exchange in fields.objects(turn, "exchanges"):
            answers.setdefault(_word(exchange, "api", PROVIDERS) or api, []).append(_exchange(exchange))
        if not answers:
            raise FieldError("exchanges", "must be given in each turn")
        turns.append(answers)
    if not turns:
        raise FieldError("turns", "must be given")
    pieces = (
        piece
        for turn in turns
        for answers in turn.values()
        for answer in answers
        for each in (answer, *(refusal for _, refusal in answer.refusals))
        for piece in each.body
    )
    if sum(len(piece) for piece in pieces if isinstance(piece, bytes)) > MAX_BYTES:
        raise FieldError("body", f"must have {MAX_BYTES} bytes at most, in all the answers of a case")
    return Case(fields.text(data, "name") or "unnamed", turns)


def _exchange(data: Mapping[str, Any]) -> Exchange:
    fields.known(data, _OF_AN_EXCHANGE)
    plain = _answer(data, status=200)
    wait = fields.number(data, "wait_ms", most=_MAX_MS) or 0.0
    return Exchange(
        status=plain.status,
        headers=plain.headers,
        body=plain.body,
        split=fields.integer(data, "split", least=1),
        framing=_word(data, "framing", get_args(Framing)) or plain.framing,
        end=_word(data, "end", get_args(End)) or "chunked_end",
        http=_word(data, "http", ("1.0", "1.1")) or "1.1",
        wait=wait / 1000,
        refusals=[_refusal(refusal) for refusal in fields.objects(data, "refuse_if")],
    )


def _refusal(data: Mapping[str, Any]) -> tuple[Mapping[str, Any], Exchange]:
    fields.known(data, _OF_A_REFUSAL)
    rule = fields.obj(data, "rule")
    fields.known(rule, RULES)
    return rule, _answer(data, status=400)


def _answer(data: Mapping[str, Any], *, status: int) -> Exchange:
    given = fields.integer(data, "status", least=0, most=599)
    status = status if given is None else given
    return Exchange(
        status=status,
        headers=_headers(fields.obj(data, "headers")),
        body=[_piece(piece) for piece in fields.objects(data, "body")],
        framing="chunked" if status == 200 else "length",  # noqa: PLR2004
    )


def _headers(data: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, value in data.items():
        if isinstance(value, dict):
            fields.known(value, {"http_date_in_seconds"})
            if fields.number(value, "http_date_in_seconds", least=-1e9, most=1e9) is not None:
                continue
        elif isinstance(value, str | int) and f"{name}{value}".isprintable():
            try:
                f"{name}{value}".encode("latin-1")
            except UnicodeEncodeError:
                pass
            else:
                continue
        raise FieldError("headers", f"{fields.clean(name)[:80]} must be a text of latin-1, or http_date_in_seconds")
    return data


def _piece(data: Mapping[str, Any]) -> bytes | float:
    fields.known(data, {"text", "times", "base64", "pause_ms"})
    text, coded = fields.text(data, "text", empty=True), fields.text(data, "base64", empty=True)
    pause = fields.number(data, "pause_ms", most=_MAX_MS)
    if pause is not None:
        return pause / 1000
    if text is not None:
        raw = text.encode()
        times = fields.integer(data, "times", least=1, most=MAX_BYTES // max(1, len(raw)))
        return raw * (times or 1)
    try:
        return base64.b64decode(coded or "", validate=True)
    except binascii.Error as error:
        raise FieldError("base64", "is not base64") from error


def _word(data: Mapping[str, Any], name: str, words: Sequence[_Word]) -> _Word | None:
    """Return the field `name`, which is one of `words`; None if it is absent or null."""
    value = fields.text(data, name)
    found = next((word for word in words if word == value), None)
    if value is not None and found is None:
        raise FieldError(name, f"must be one of {', '.join(words)}")
    return found
