"""What the collector keeps: across a restart, within its bounds, and whatever happens to its file."""

from __future__ import annotations

import sqlite3
import stat
import time
from typing import TYPE_CHECKING

import pytest

from cloudia.sim.collector.decoding import KeptSpan
from cloudia.sim.collector.store import FullError, Store
from tests.sim.collector.running import TRACE_ID, request_of, running

if TYPE_CHECKING:
    from pathlib import Path

MOST = 2**20


def kept(number: int, trace_id: str = TRACE_ID, text: str = "") -> KeptSpan:
    return KeptSpan(trace_id, f"{number:016x}", '{"resource": {}, "scope": {}}', f'{{"name": "{number}{text}"}}')


def names(store: Store, trace_id: str = TRACE_ID) -> list[str]:
    found = store.trace(trace_id) or {"resourceSpans": []}
    return [
        span["name"]
        for resource in found["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def opened(path: Path, said: list[str] | None = None, *, seconds: float = 3600.0) -> Store:
    return Store(path, size=MOST, seconds=seconds, say=(said if said is not None else []).append)


def test_it_survives_a_restart(tmp_path: Path) -> None:
    """What was answered with 200 is there in the next process; the files are their owner's alone."""
    path = tmp_path / "spans.sqlite"
    with running(path) as first:
        assert first.post(request_of("before")).status_code == 200
        files = [path, *path.parent.glob("spans.sqlite-*")]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    with running(path) as second:
        assert second.names() == ["before"]


def test_it_keeps_to_its_size(tmp_path: Path) -> None:
    """The oldest go first, and the file does not grow on."""
    path = tmp_path / "spans.sqlite"
    store = opened(path)
    for batch in range(60):
        store.add([kept(batch * 100 + number, f"{batch + 1:032x}", "x" * 1000) for number in range(100)])
    assert path.stat().st_size < 1.5 * MOST
    assert len(names(store, f"{60:032x}")) == 100
    assert names(store, f"{1:032x}") == []
    store.close()


def test_it_keeps_to_its_age(tmp_path: Path) -> None:
    """What is older is dropped with the next that comes."""
    store = opened(tmp_path / "spans.sqlite", seconds=0.2)
    store.add([kept(1)])
    deadline = time.time() + 0.25
    while time.time() < deadline:
        time.sleep(0.05)
    store.add([kept(2)])
    assert names(store) == ["2"]
    store.close()


def test_a_trace_of_thousands_is_cut(tmp_path: Path) -> None:
    """2,000 spans are read, and it is said how many are left out."""
    store = opened(tmp_path / "spans.sqlite")
    store.add([kept(number) for number in range(1, 2101)])
    found = store.trace(TRACE_ID)
    assert found
    assert found["spansLeftOut"] == 100
    store.close()


@pytest.mark.parametrize(
    "broken", [b"this is no database, whatever it is" * 100, b"SQLite format 3\0" + b"\x07" * 5000]
)
def test_a_broken_file_is_put_aside(tmp_path: Path, broken: bytes) -> None:
    """It is told once, and a new one is begun; what was in the old one is still there to look at."""
    path, said = tmp_path / "spans.sqlite", list[str]()
    path.write_bytes(broken)
    store = opened(path, said)
    store.add([kept(1)])
    assert names(store) == ["1"]
    assert len(said) == 1
    assert (tmp_path / "spans.sqlite.broken").read_bytes() == broken
    store.close()


def test_it_breaks_while_it_is_open(tmp_path: Path) -> None:
    """What comes after is kept in a new file."""
    path, said = tmp_path / "spans.sqlite", list[str]()
    store = opened(path, said)
    store.add([kept(number, text="x" * 2000) for number in range(100)])
    store.close()
    with path.open("r+b") as file:  # Every page but the first, so that it can be opened.
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    store.add([kept(1)])
    assert names(store) == ["1"]
    assert len(said) == 1
    store.close()


def test_a_file_of_another_version_is_put_aside(tmp_path: Path) -> None:
    """Nothing is read that may mean something else."""
    path, said = tmp_path / "spans.sqlite", list[str]()
    with sqlite3.connect(path) as database:
        database.executescript("CREATE TABLE spans (x); PRAGMA user_version = 99;")
    database.close()
    store = opened(path, said)
    store.add([kept(1)])
    assert len(said) == 1
    store.close()


def test_what_cannot_be_written_is_dropped_and_told_once(tmp_path: Path) -> None:
    """The sender is told by a partial success, so that it does not come again; once there is room all goes on."""
    folder = tmp_path / "folder"
    path = folder / "spans.sqlite"
    with pytest.raises(FullError):
        opened(path).add([kept(1)])
    log = tmp_path / "running"
    log.mkdir()
    with running(log / "spans.sqlite") as collector:
        path = collector.store
        path.mkdir()  # In its place: nobody can write it, not even root.
        for _ in range(3):
            answer = collector.post(b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "%s", "spanId": "00000000000000aa"}]}]}]}' % TRACE_ID.encode(), content_type="application/json")  # fmt: skip  # noqa: E501
            assert answer.json()["partialSuccess"]["rejectedSpans"] == "1"
        assert collector.log.read_text().count("spans cannot be kept") == 1
        assert collector.http.get(f"/traces/{TRACE_ID}").status_code == 503
        path.rmdir()
        assert collector.post(request_of("after")).content == b""
        assert collector.names() == ["after"]
        assert collector.log.read_text().count("spans are kept again") == 1
