"""What the APIs have in common on the wire: the face each one shows, and server-sent events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudia.sim.llm.prompts import Prompt, Provider, Reply

__all__ = ["MARK", "NUMBER", "Api", "Frames", "bearer", "encode"]

MARK = "\0"  # stands for the token in an event that is still to be filled
NUMBER = "\1"  # stands for the event's number, behind the token


@dataclass(frozen=True, slots=True)
class Frames:
    """A streamed reply: `head`, then for each token `before`, the token as JSON and `after`, then `tail`.

    Where events have numbers, `first` is that of the first token; it stands between `after` and `end`.
    """

    head: bytes
    before: bytes
    after: bytes
    tail: bytes
    first: int | None = None
    end: bytes = b""

    @classmethod
    def around(cls, token: bytes, *, head: bytes, tail: bytes, first: int | None = None) -> Frames:
        """Return frames whose tokens look like `token`, in which the last MARK holds the place, and NUMBER that of a number."""
        before, _, after = token.rpartition(encode(MARK))
        after, _, end = after.partition(encode(NUMBER))
        return cls(head, before, after, tail, first, end)

    def token(self, chunk: str, place: int) -> bytes:
        """Return the event that carries one token; `place` is the token's in the reply."""
        number = b"" if self.first is None else b"%d" % (self.first + place)
        return b"%b%b%b%b%b" % (self.before, json.dumps(chunk).encode(), self.after, number, self.end)


class Api(Protocol):
    """One vendor's chat API, without I/O."""

    name: Provider
    id_header: str  # names the response's header that carries the request's id

    def key(self, headers: Mapping[str, str]) -> str:
        """Return the API key that came with a request, or an empty string."""
        ...

    def parse(self, body: dict[str, Any]) -> Prompt:
        """Return what the body asks. Raises FieldError for what the vendor would answer 400 to."""
        ...

    def answer(self, prompt: Prompt, reply: Reply) -> dict[str, Any]:
        """Return the body of an answer in one piece."""
        ...

    def frames(self, prompt: Prompt, reply: Reply) -> Frames:
        """Return the events of a streamed answer."""
        ...

    def error(self, status: int, message: str, param: str | None = None) -> dict[str, Any]:
        """Return the body of an error; `param` is the field that `message` complains of."""
        ...

    def models(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return the list of models."""
        ...

    def model(self, name: str) -> dict[str, Any]:
        """Return one entry of the list of models."""
        ...


def encode(value: object) -> bytes:
    """Return `value` as compact JSON in ASCII, which carries any text."""
    return json.dumps(value, separators=(",", ":")).encode()


def bearer(headers: Mapping[str, str]) -> str:
    """Return the token of `Authorization: Bearer`, or an empty string."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
