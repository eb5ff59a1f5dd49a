"""The trace context that ties a request to its job: W3C `traceparent`, made and read.

https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import re
import secrets

__all__ = ["new_traceparent", "trace_id"]

# Version 00 has four parts and no more; what a later version adds is not ours to read.
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.*)?",
    re.DOTALL,
)


def new_traceparent(incoming: str | None = None) -> str:
    """Return a `traceparent` of a new span, in the trace of `incoming` if that is one."""
    trace = trace_id(incoming) or secrets.token_hex(16)
    return f"00-{trace}-{secrets.token_hex(8)}-01"


def trace_id(traceparent: str | None) -> str | None:
    """Return the trace id of a `traceparent`, or None where it is not one."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None or (found["version"] == "00" and found["more"]):
        return None
    return found["trace"]
