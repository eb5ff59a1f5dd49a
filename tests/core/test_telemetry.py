"""Logs are JSON lines whatever is logged, and a trace context is taken only where it is one."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from cloudia.errors import UnavailableError
from cloudia.telemetry import bound, configure_logs, log, new_traceparent, trace_id
from tests.patience import HANGS

CAPTURED = examples(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


class Logs:
    """Logs of this process: `configure` as a process does, and call it for the lines since the last call."""

    def __init__(self) -> None:
        self._stderr = io.StringIO()
        self.configure("test", "debug")

    def configure(self, part: str, level: str, **options: Any) -> None:
        with redirect_stderr(self._stderr):
            configure_logs(part, level, **options)

    def __call__(self) -> list[dict[str, Any]]:
        text = self._stderr.getvalue()
        self._stderr.seek(0)
        self._stderr.truncate()
        assert text == "" or text.endswith("\n")
        return [json.loads(line) for line in text.split("\n")[:-1]]


@pytest.fixture
def lines() -> Iterator[Logs]:
    """The logs of a part named `test`, of any level."""
    root, ours = logging.getLogger(), logging.getLogger("cloudia")
    before = root.handlers[:], root.level, ours.level
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning
    yield Logs()
    sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning = hooks
    root.handlers[:], level, our_level = before
    root.setLevel(level)
    ours.setLevel(our_level)


def test_a_line_is_one_json_object(lines: Logs) -> None:
    """`time`, `level`, `part`, `event`, then the fields, in that order; what is None is left out."""
    log("job ended", job_id="job_1", attempt=2, error=None)
    (line,) = lines()
    assert list(line) == ["time", "level", "part", "event", "job_id", "attempt"]
    assert datetime.fromisoformat(line.pop("time")).tzinfo == UTC
    assert line == {"level": "info", "part": "test", "event": "job ended", "job_id": "job_1", "attempt": 2}


ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.datetimes()
    | st.decimals()
    | st.sets(st.integers())
    | st.tuples(st.integers(), st.text(st.characters(exclude_categories=["Cs"])))
    | st.sampled_from([Path("/tmp"), ValueError("x"), object(), UnavailableError, asyncio.Lock, 10**400])
)


@CAPTURED
@given(st.text(st.characters(exclude_categories=["Cs"])), st.dictionaries(st.sampled_from("abcdef"), ODD))
@example("two\nlines\r\u2028", {"a": "\x00\x1b[31m\n"})
def test_odd_values_break_no_line(lines: Logs, event: str, fields: dict[str, Any]) -> None:
    """Any event and any value make exactly one line, and text comes back as it was."""
    log(event, **fields)
    (line,) = lines()
    assert line["event"] == event
    assert set(line) == {"time", "level", "part", "event"} | {name for name in fields if fields[name] is not None}
    for name, value in fields.items():
        if isinstance(value, str | bool):
            assert line[name] == value


def test_half_a_surrogate_pair_breaks_no_line() -> None:
    """What UTF-8 cannot write is escaped on a real stderr, and the line is JSON still."""
    code = "from cloudia.telemetry import *; configure_logs('test'); log('odd', a='\\udc80'); log('next')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=HANGS)
    odd, following = [json.loads(line) for line in done.stderr.splitlines()]
    assert odd["a"] == "\udc80"
    assert following["event"] == "next"


def test_bound_fields_are_on_every_line_inside(lines: Logs) -> None:
    """`bound` nests, an inner value wins, a field of the call wins over both, and all is as before afterwards."""
    with bound(job_id="outer", part_id="p"):
        with bound(job_id="inner"):
            log("a")
            log("b", job_id="own")
        log("c")
    log("d")
    assert [(line.get("job_id"), line.get("part_id")) for line in lines()] == [
        ("inner", "p"),
        ("own", "p"),
        ("outer", "p"),
        (None, None),
    ]


def test_bound_fields_end_with_an_error(lines: Logs) -> None:
    """An exception inside takes its fields with it."""
    with pytest.raises(ValueError, match="x"), bound(job_id="j"):
        raise ValueError("x")
    log("after")
    assert "job_id" not in lines()[0]


async def test_bound_fields_stay_in_their_task(lines: Logs) -> None:
    """Jobs that are worked on at the same time do not log each other's ids."""
    ready = asyncio.Barrier(3)

    async def work(name: str) -> None:
        with bound(job_id=name):
            await ready.wait()
            log("working", me=name)

    await asyncio.gather(*(work(name) for name in "abc"))
    assert all(line["job_id"] == line["me"] for line in lines())


def test_levels(lines: Logs) -> None:
    """Ours speak from the configured level on, libraries from warning on, and a library's line names its logger.

    I6: what a library fills into its text may be anything, so that the text is told as it stands in its code.
    """
    lines.configure("test", "warning")
    log("quiet")
    log("loud", level=logging.ERROR)
    library = logging.getLogger("some.library")
    library.info("quiet")
    library.warning("%s said", "library")
    ours, theirs = lines()
    assert (ours["event"], ours["level"]) == ("loud", "error")
    assert "logger" not in ours
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("%s said", "warning", "some.library")


def test_an_exception_is_in_its_line(lines: Logs) -> None:
    """An exception is one field, not lines of its own: its type and place, and where tracebacks are wanted the whole."""
    with pytest.raises(UnavailableError) as raised:
        raise UnavailableError("gone")
    log("failed", exc_info=raised.value)
    lines.configure("test", "debug", tracebacks=True)
    log("failed", exc_info=raised.value)
    line, whole = lines()
    assert line["exception"].startswith(f"cloudia.errors.UnavailableError at {__file__}:")
    assert "gone" not in line["exception"]
    assert whole["exception"].startswith("Traceback")
    assert whole["exception"].endswith("UnavailableError: gone")


def test_configuring_twice_logs_once(lines: Logs) -> None:
    """A process that is configured again has one handler still."""
    lines.configure("again", "info")
    log("once")
    assert [line["part"] for line in lines()] == ["again"]


# --- trace context: https://www.w3.org/TR/trace-context/ ---------------------------------------------------------------

HEX = "0123456789abcdef"
TRACE = st.text(HEX, min_size=32, max_size=32)
SPAN = st.text(HEX, min_size=16, max_size=16)
BYTE = st.text(HEX, min_size=2, max_size=2)
TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]")


@given(TRACE, SPAN, BYTE)
def test_a_traceparent_gives_its_trace(trace: str, span: str, flags: str) -> None:
    """A well-formed one of version 00 gives its trace id, unless a part is all zeros."""
    found = trace_id(f"00-{trace}-{span}-{flags}")
    assert found == (trace if set(trace) != {"0"} and set(span) != {"0"} else None)


@given(
    TRACE.filter(lambda text: set(text) != {"0"}),
    SPAN.filter(lambda text: set(text) != {"0"}),
    BYTE | st.sampled_from(["00", "ff"]),
    st.text(HEX + "-", min_size=1, max_size=8),
)
def test_a_later_version_may_say_more(trace: str, span: str, version: str, more: str) -> None:
    """A version above 00 is read as far as it is known and may have more parts; 00 may not, and ff is forbidden."""
    assert trace_id(f"{version}-{trace}-{span}-01") == (None if version == "ff" else trace)
    longer = trace_id(f"{version}-{trace}-{span}-01-{more}")
    assert longer == (None if version in {"00", "ff"} else trace)
    assert trace_id(f"{version}-{trace}-{span}-01{more.replace('-', '0')}") is None


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00",
        "00-" + "A" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "a" * 31 + "-" + "b" * 16 + "-01",
        "00-" + "0" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "a" * 32 + "-" + "0" * 16 + "-01",
        "00-" + "a" * 32 + "-" + "b" * 15 + "-01",
        "00-" + "a" * 32 + "-" + "b" * 16 + "-1",
        "00-" + "a" * 32 + "-" + "b" * 16 + "-zz",
        "zz-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "ff-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "a" * 32 + "-" + "b" * 16 + "-01\n",
        "00-" + "٣" * 32 + "-" + "b" * 16 + "-01",
    ],
)
def test_what_is_no_traceparent_gives_no_trace(text: str | None) -> None:
    """Length, case, alphabet, zeros and version are those of the recommendation."""
    assert trace_id(text) is None


@given(st.none() | st.text() | TRACE.map(lambda trace: f"00-{trace}-{'b' * 16}-00"))
def test_a_new_traceparent_is_one(incoming: str | None) -> None:
    """Whatever came in: what goes out is well-formed, a new span, in the same trace if there was one, sampled if that was."""
    made = new_traceparent(incoming)
    assert TRACEPARENT.fullmatch(made)
    assert made.endswith("-00" if trace_id(incoming) and (incoming or "").endswith("-00") else "-01")
    assert made != incoming
    assert trace_id(made) == (trace_id(incoming) or trace_id(made))
    assert new_traceparent(incoming) != made
