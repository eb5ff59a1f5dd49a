"""The trace context that ties a request to its job: W3C `traceparent`, made and read.

https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["attempt_span_id", "decide_sampling_by", "new_traceparent", "span_id", "trace_id"]

# Version 00 has four parts and no more; what a later version adds is not ours to read.
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<span>[0-9a-f]{16})-"
    r"(?P<flags>[0-9a-f]{2})(?P<more>-.*)?",
    re.DOTALL,
)
_SAMPLED = 1

_sampler: Callable[[str, bool | None], bool] | None = None


def decide_sampling_by(sampler: Callable[[str, bool | None], bool] | None) -> None:
    """Ask `sampler` from now on whether a new span is sampled, by its trace id and whether its parent is (None: no parent)."""
    global _sampler  # noqa: PLW0603 - of a process, as its log is
    _sampler = sampler


def new_traceparent(incoming: str | None = None) -> str:
    """Return a `traceparent` of a new span, in the trace of `incoming` if that is one.

    Where nobody decides what is sampled, it is what the caller says, and sampled where there is none.
    """
    found = _read(incoming)
    trace = found["trace"] if found else secrets.token_hex(16)
    parent = bool(int(found["flags"], 16) & _SAMPLED) if found else None
    sampled = parent is not False if _sampler is None else _sampler(trace, parent)
    return f"00-{trace}-{secrets.token_hex(8)}-{sampled:02x}"


def trace_id(traceparent: str | None) -> str | None:
    """Return the trace id of a `traceparent`, or None where it is not one."""
    found = _read(traceparent)
    return found["trace"] if found else None


def span_id(traceparent: str | None) -> str | None:
    """Return the span id of a `traceparent`, or None where it is not one."""
    found = _read(traceparent)
    return found["span"] if found else None


def attempt_span_id(job_id: str, fence: int) -> str:
    """Return the span id of an attempt: 16 hexadecimal digits, the same for whoever knows the attempt."""
    return hashlib.sha256(f"{job_id} {fence}".encode()).hexdigest()[:16]


def _read(traceparent: str | None) -> re.Match[str] | None:
    found = _TRACEPARENT.fullmatch(traceparent or "")
    return None if found is None or (found["version"] == "00" and found["more"]) else found
