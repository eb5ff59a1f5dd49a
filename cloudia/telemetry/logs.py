"""Logs as JSON lines on stderr.

A log line never holds the text of a message or a secret: what is logged are names, ids, counts and times. What others put
into it - an exception's message, a library's line - may quote anything, so that of these only the type and the place are
told, and of a library's text what stands in its code. `log.tracebacks` shows it all, but for the secrets that are known.
"""

from __future__ import annotations

import inspect
import io
import json
import logging
import os
import sys
import threading
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from cloudia import ids
from cloudia.passwords import names_secret, passwords_in
from cloudia.telemetry.places import places, type_name
from cloudia.telemetry.scrubber import keep_secrets, scrubbed
from cloudia.visible import json_escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["bound", "configure_logs", "line_form", "log"]

_LOGGER = logging.getLogger("cloudia")
_fields: ContextVar[dict[str, Any] | None] = ContextVar("cloudia_log_fields", default=None)
_WITHHELD = "a text that is not shown; log.tracebacks shows it"
_ASYNCIO = "asyncio"
"""It logs a text of its own as the first line, and what others made on the lines after."""


class _JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `part`, `event`, then the fields."""

    def __init__(self, part: str, *, tracebacks: bool) -> None:
        super().__init__()
        self._part = part
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name == _LOGGER.name
        line: dict[str, Any] = {
            "time": ids.iso(record.created),
            "level": record.levelname.lower(),
            "part": self._part,
            "event": record.getMessage() if ours or self._tracebacks else _own_text(record),
        }
        if ours:
            line |= getattr(record, "fields", {})
        else:
            line |= {"logger": record.name, "at": f"{record.pathname}:{record.lineno}"}
        if record.exc_info and record.exc_info[1]:
            line["exception"] = self._exception(record.exc_info[1])
        document = json.dumps(line, ensure_ascii=False, default=_plain, separators=(",", ":"))
        return json_escaped(scrubbed(document))

    def _exception(self, error: BaseException) -> str:
        if self._tracebacks:
            return self.formatException((type(error), error, error.__traceback__))
        return places(error)


def _own_text(record: logging.LogRecord) -> str:
    """Return a library's text without what was filled into it, where it stands as such in the code that logs it."""
    if record.name == _ASYNCIO:
        return str(record.msg).partition("\n")[0]
    frame = inspect.currentframe()
    while frame and (frame.f_lineno, frame.f_code.co_filename) != (record.lineno, record.pathname):
        frame = frame.f_back
    known = frame is not None and isinstance(record.msg, str) and record.msg in frame.f_code.co_consts
    return str(record.msg) if known else _WITHHELD


def _plain(value: object) -> str:
    return type_name(type(value)) if isinstance(value, BaseException) else str(value)


def configure_logs(part: str, level: str = "info", *, tracebacks: bool = False, secrets: Iterable[str] = ()) -> None:
    """Send this process's logs to stderr as JSON lines of UTF-8, and its last words too. Libraries speak from warning on.

    `tracebacks` shows exceptions whole. The `secrets`, and those of the environment, are in no line.
    """
    keep_secrets(secrets)
    keep_secrets(_secrets_of(os.environ))
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines(part, tracebacks=tracebacks))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _LOGGER.setLevel(level.upper())
    sys.excepthook = lambda _kind, error, _traceback: _last_words(error)
    threading.excepthook = lambda told: _last_words(told.exc_value, thread=told.thread and told.thread.name)
    sys.unraisablehook = lambda told: _last_words(told.exc_value)
    warnings.showwarning = lambda _text, category, file, line, *_: _warned(category, f"{file}:{line}")


def line_form() -> logging.Formatter:
    """Return the form of the lines that `configure_logs` has set, for a handler beside its own."""
    forms = (handler.formatter for handler in logging.getLogger().handlers)
    return next((form for form in forms if isinstance(form, _JsonLines)), _JsonLines("", tracebacks=False))


def _secrets_of(variables: Mapping[str, str]) -> Iterator[str]:
    """Yield the secrets of an environment: what its names call so, and the passwords of its URLs."""
    for name, value in variables.items():
        if names_secret(name):
            yield value
        yield from passwords_in(value)


def _last_words(error: BaseException | None, **fields: Any) -> None:
    """Log what nobody has caught, in the place of the interpreter's traceback."""
    if not isinstance(error, SystemExit | KeyboardInterrupt):
        log("uncaught exception", level=logging.ERROR, exc_info=error, **fields)


def _warned(category: type[Warning], place: str) -> None:
    log("python warns", level=logging.WARNING, category=type_name(category), at=place)


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
