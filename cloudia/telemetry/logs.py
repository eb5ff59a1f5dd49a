"""Logs as JSON lines on stderr.

A log line never holds the text of a message or a secret: what is logged are names, ids, counts and times.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from cloudia import ids

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["bound", "configure_logs", "log"]

_LOGGER = logging.getLogger("cloudia")
_fields: ContextVar[dict[str, Any] | None] = ContextVar("cloudia_log_fields", default=None)


class _JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `part`, `event`, then the fields."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self._part = part

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": ids.iso(record.created),
            "level": record.levelname.lower(),
            "part": self._part,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.name != _LOGGER.name:
            line["logger"] = record.name
        if record.exc_info and record.exc_info[0]:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str, separators=(",", ":"))


def configure_logs(part: str, level: str = "info") -> None:
    """Send this process's logs to stderr as JSON lines. Libraries speak from warning on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines(part))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _LOGGER.setLevel(level.upper())


def log(event: str, *, level: int = logging.INFO, exc_info: BaseException | None = None, **fields: Any) -> None:
    """Log an event, a short fixed phrase, with its fields beside those that `bound` set."""
    if _LOGGER.isEnabledFor(level):
        merged = {**(_fields.get() or {}), **{name: value for name, value in fields.items() if value is not None}}
        _LOGGER.log(level, event, extra={"fields": merged}, exc_info=exc_info)


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add fields to every line logged inside, in this task."""
    token = _fields.set({**(_fields.get() or {}), **fields})
    try:
        yield
    finally:
        _fields.reset(token)
