"""The spans that are kept: a SQLite file of a bounded size and age. One that is broken is put aside, and a new one begun."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cloudia.sim.collector.decoding import KeptSpan

__all__ = ["FullError", "Store"]

_VERSION = 1
_TABLES = f"""
CREATE TABLE sources (id INTEGER PRIMARY KEY, document TEXT NOT NULL UNIQUE);
CREATE TABLE spans (trace_id TEXT NOT NULL, span_id TEXT NOT NULL, at REAL NOT NULL, source INTEGER NOT NULL,
                    document TEXT NOT NULL, PRIMARY KEY (trace_id, span_id));
CREATE INDEX spans_by_at ON spans (at);
PRAGMA user_version = {_VERSION};
"""
_LEFT = 0.9
"""The share of its size that it has after spans were dropped for it, so that this is not done each time."""
_AT_ONCE = 10
"""The share of the spans, as one in so many, that are dropped at once."""
_MOST_SPANS = 2000
_MOST_BYTES = 8 * 2**20
"""Of a trace that is read."""
_WAIT_SECONDS = 2.0
_BESIDE = ("-wal", "-shm")


class FullError(Exception):
    """The file cannot be written now: its disk is full, or it is not ours to write."""


class Store:
    """Spans in a file; used by one thread at a time. `say` is told in a sentence of a file that was put aside."""

    def __init__(self, path: Path, *, size: int, seconds: float, say: Callable[[str], object]) -> None:
        self._path = path
        self._size = size
        self._seconds = seconds
        self._say = say
        self._database: sqlite3.Connection | None = None

    def add(self, spans: Sequence[KeptSpan]) -> None:
        """Keep spans, each once whatever comes twice; drop what is too old, and the oldest where there is no room.

        `FullError` where they cannot be kept.
        """
        self._mending(lambda database: self._add(database, spans))

    def trace(self, trace_id: str) -> dict[str, Any] | None:
        """Return a trace's spans as OTLP JSON (`TracesData`), None where there are none.

        Beyond 2,000 spans or 8 MB it is cut, and `spansLeftOut` says how many. `FullError` where the file cannot be read.
        """
        found: dict[str, Any] | None = self._mending(lambda database: _trace(database, trace_id))
        return found

    def close(self) -> None:
        """Close the file."""
        if self._database:
            self._database.close()
            self._database = None

    def _mending(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Do something with the file; where it turns out to be broken, with a new one."""
        try:
            return self._with_file(work)
        except sqlite3.OperationalError as error:
            raise FullError from error
        except sqlite3.DatabaseError:  # Not a database, or malformed.
            self._put_aside()
        try:
            return self._with_file(work)
        except sqlite3.Error as error:
            raise FullError from error

    def _with_file(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        if self._database is None:
            self._database = self._open()
        try:
            return work(self._database)
        except sqlite3.Error:
            self.close()
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))
        except OSError as error:
            raise sqlite3.OperationalError(error.strerror) from error
        database = sqlite3.connect(self._path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(f"PRAGMA journal_size_limit = {2**20}")
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and not database.execute("SELECT 1 FROM sqlite_master").fetchone():
                database.executescript(f"BEGIN; {_TABLES} COMMIT;")
            elif version != _VERSION:
                raise sqlite3.DatabaseError("another version's")
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _put_aside(self) -> None:
        self.close()
        aside = self._path.with_name(f"{self._path.name}.broken")
        with contextlib.suppress(OSError):
            self._path.replace(aside)
            self._say(f"the spans that were kept cannot be read: they are in {aside.name} now, and new ones begun")
        for more in _BESIDE:
            with contextlib.suppress(OSError):
                self._path.with_name(self._path.name + more).unlink()

    def _add(self, database: sqlite3.Connection, spans: Sequence[KeptSpan]) -> None:
        now = time.time()
        self._make_room(database, now)
        database.execute("BEGIN IMMEDIATE")
        try:
            sources: dict[str, int] = {}
            for span in spans:
                if span.source not in sources:
                    sources[span.source] = _source(database, span.source)
                database.execute(
                    "INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?, ?)",
                    (span.trace_id, span.span_id, now, sources[span.source], span.document),
                )
            database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise

    def _make_room(self, database: sqlite3.Connection, now: float) -> None:
        """Drop what is too old, or of a clock that was ahead; then the oldest, until what is left is small enough."""
        old = database.execute(
            "DELETE FROM spans WHERE at < ? OR at > ?", (now - self._seconds, now + self._seconds)
        ).rowcount
        dropped = old > 0
        if _bytes(database) > self._size:
            while _bytes(database) > self._size * _LEFT:
                count = database.execute("SELECT count(*) FROM spans").fetchone()[0]
                if not count:
                    break
                database.execute(
                    "DELETE FROM spans WHERE rowid IN (SELECT rowid FROM spans ORDER BY at LIMIT ?)",
                    (-(-count // _AT_ONCE),),
                )
                _drop_sources(database)
        elif dropped:
            _drop_sources(database)


def _drop_sources(database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM sources WHERE id NOT IN (SELECT source FROM spans)")


def _source(database: sqlite3.Connection, document: str) -> int:
    database.execute("INSERT OR IGNORE INTO sources (document) VALUES (?)", (document,))
    return int(database.execute("SELECT id FROM sources WHERE document = ?", (document,)).fetchone()[0])


def _bytes(database: sqlite3.Connection) -> int:
    """Return what is in use of a file: pages that were freed are used again before it grows."""
    count, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((count - free) * size)


def _trace(database: sqlite3.Connection, trace_id: str) -> dict[str, Any] | None:
    count = database.execute("SELECT count(*) FROM spans WHERE trace_id = ?", (trace_id,)).fetchone()[0]
    if not count:
        return None
    rows = database.execute(
        "SELECT sources.document, spans.document FROM spans JOIN sources ON sources.id = spans.source"
        " WHERE trace_id = ? ORDER BY at LIMIT ?",
        (trace_id, _MOST_SPANS),
    )
    by_source: dict[str, list[Any]] = {}
    size = read = 0
    for source, document in rows:
        size += len(document)
        if size > _MOST_BYTES:
            break
        read += 1
        by_source.setdefault(source, []).append(json.loads(document))
    resources = [
        {
            "resource": (known := json.loads(source))["resource"],
            "scopeSpans": [{"scope": known["scope"], "spans": spans}],
        }
        for source, spans in by_source.items()
    ]
    return {"resourceSpans": resources, **({"spansLeftOut": count - read} if count > read else {})}
