"""Processes of other runs, ports, logs and their tails."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudia.errors import UsageError
from cloudia.local.logfile import LogFile
from cloudia.local.processes import Process, birth_of
from cloudia.local.tail import Tail, in_order
from cloudia.sim.ports import Ports, choose_port
from tests.patience import HANGS
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudia.sim.spec import PartKind

_PARENT = (
    "import subprocess, sys, time;"
    "print(subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)']).pid, flush=True);"
    "time.sleep(600)"
)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    """A process that has a child of its own, whose id it prints."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", _PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_process_is_known_by_id_and_start_time(child: subprocess.Popen[str]) -> None:
    """A process is alive while it runs; the same id with another start time is another process."""
    now = time.time()
    assert child.stdout
    assert child.stdout.readline()
    assert Process(child.pid, now).alive
    assert (Process(child.pid, now).resident_bytes() or 0) > 1_000_000
    other = Process(child.pid, now - 60)
    assert not other.alive
    assert other.resident_bytes() is None
    assert other.wait(0)
    other.send(signal.SIGTERM)
    other.kill_tree()
    assert child.poll() is None


def test_own() -> None:
    """This process knows itself, and survives being noted."""
    own = Process.own()
    assert own.alive
    assert Process(**own.to_json()) == own


@pytest.mark.parametrize("step", [-3600, -60, 60, 3600])
@pytest.mark.skipif(sys.platform != "linux", reason="other systems note a start by the clock of that moment")
def test_a_step_of_the_clock_changes_no_birth(step: int, child: subprocess.Popen[str]) -> None:
    """A process whose birth is noted is the same one when the clock is set; with the same start and another birth it is not."""
    noted = Process(child.pid, time.time() + step, birth_of(child.pid))
    assert noted.alive
    assert not replace(noted, started_at=time.time(), birth=birth_of(os.getpid())).alive


async def test_kill_tree(child: subprocess.Popen[str]) -> None:
    """A process is killed together with what it started."""
    assert child.stdout
    grandchild = int(child.stdout.readline())
    process = Process(child.pid, time.time())
    process.kill_tree()
    assert not process.alive
    await eventually(lambda: not Process(grandchild, time.time()).alive)


def test_send_and_wait(child: subprocess.Popen[str]) -> None:
    """A wait is bounded, and over at once where the process has ended. One that ended and was not collected is not alive."""
    process = Process(child.pid, time.time())
    assert not process.wait(0.05)
    process.send(signal.SIGTERM)
    assert process.wait(HANGS)
    assert not process.alive
    assert process.resident_bytes() is None


_CARELESS_PARENT = """
import subprocess, time
child = subprocess.Popen(["sleep", "60"])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_a_process_that_nobody_collects_has_ended(end: str) -> None:
    """A wait is for the end of a process, not for its parent to notice: the first process of a container may take seconds."""
    with subprocess.Popen([sys.executable, "-c", _CARELESS_PARENT], stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout
            process = Process(int(parent.stdout.readline()), time.time())
            began = time.monotonic()
            if end == "terminate":
                process.send(signal.SIGTERM)
                assert process.wait(HANGS)
            else:
                process.kill_tree()
            assert not process.alive
            assert time.monotonic() - began < 2
        finally:
            parent.kill()


# --- ports --------------------------------------------------------------------------------------------------------------


def test_a_free_port() -> None:
    """A port that is chosen can be bound; one that is taken is named."""
    port = choose_port()
    assert choose_port(port) == port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(UsageError, match=f"port {port} is taken") as caught:
            choose_port(port)
        assert caught.value.hint


def test_ports_that_nobody_else_is_given() -> None:
    """Chosen ports differ, and are none that the system may give to a connection before they are bound."""
    ports = [choose_port() for _ in range(50)]
    assert len(set(ports)) == len(ports)
    limits = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(limits.read_text().split()[0]) if limits.exists() else 49_152
    assert max(ports) < lowest


def test_a_folder_has_its_own_ports(tmp_path: Path) -> None:
    """A folder is given the same ports each time, another one others; one that is taken is told, and given again once free."""
    kinds: tuple[PartKind, ...] = ("api", "gateway", "engine", "redis", "llm", "collector")
    (tmp_path / "one").mkdir()

    def given(name: str) -> tuple[list[int], dict[PartKind, int]]:
        ports = Ports(tmp_path / name)
        return [ports.choose(kind) for kind in kinds], ports.missed

    first, missed = given("one")
    assert (missed, len(set(first))) == ({}, len(kinds))
    assert given("one")[0] == first
    assert not set(given("two")[0]) & set(first)
    with socket.create_server(("127.0.0.1", first[1])):
        other, missed = given("one")
        assert missed == {"gateway": first[1]}
        assert [*other[:1], *other[2:]] == [*first[:1], *first[2:]]
        assert other[1] not in first
    assert given("one") == (first, {})


def test_a_port_that_was_asked_for_comes_first(tmp_path: Path) -> None:
    """It is taken instead of the folder's own, or refused; no other is given."""
    ports, wanted = Ports(tmp_path), choose_port()
    assert ports.choose("api", wanted) == wanted
    with socket.create_server(("127.0.0.1", wanted)), pytest.raises(UsageError, match="is taken"):
        ports.choose("api", wanted)
    assert ports.missed == {}


def test_a_port_that_was_just_closed() -> None:
    """A port whose last connection lingers in TIME_WAIT counts as free: a stack can come back to its URL."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers of our parts do
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()
    assert choose_port(port) == port


# --- logs ---------------------------------------------------------------------------------------------------------------


def test_a_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log over its bound becomes `.1`, replacing the one before; a new run begins a new one."""
    monkeypatch.setattr("cloudia.local.logfile._MOST_BYTES", 100)
    path = tmp_path / "part.log"
    log = LogFile(path)
    for number in range(30):
        log.write(f"line {number:>3}")
    log.close()
    assert path.stat().st_size <= 110
    assert (tmp_path / "part.log.1").stat().st_size <= 110
    assert {each.name for each in tmp_path.iterdir()} == {"part.log", "part.log.1"}
    log = LogFile(path)
    assert path.read_text() == ""
    log.write("at once")
    assert path.read_text() == "at once\n"
    log.close()


def test_a_tail_begins_with_the_last_lines(tmp_path: Path) -> None:
    """A tail gives the last lines first, then each whole line once, as it comes."""
    path = tmp_path / "part.log"
    path.write_text("one\ntwo\nthree\nfou")
    tail = Tail(path, lines=2)
    assert tail.read() == ["two", "three"]
    assert tail.read() == []
    with path.open("a") as file:
        file.write("r\nfive\n")
    assert tail.read() == ["four", "five"]


@pytest.mark.parametrize(("lines", "found"), [(0, []), (1, ["two"]), (9, ["one", "two"])])
def test_as_many_lines_as_asked(lines: int, found: list[str], tmp_path: Path) -> None:
    """None, some or all that there are."""
    path = tmp_path / "part.log"
    path.write_text("one\ntwo\n")
    assert Tail(path, lines=lines).read() == found


def test_a_log_that_is_replaced(tmp_path: Path) -> None:
    """A log that was replaced, or emptied and written anew, is read from its beginning."""
    path = tmp_path / "part.log"
    path.write_text("one\n")
    tail = Tail(path, lines=9)
    assert tail.read() == ["one"]
    path.replace(tmp_path / "part.log.1")
    assert tail.read() == []
    path.write_text("two and more\n")
    assert tail.read() == ["two and more"]
    os.truncate(path, 0)
    assert tail.read() == []
    with path.open("a") as file:
        file.write("three\n")
    assert tail.read() == ["three"]


def test_lines_of_several_parts_in_order() -> None:
    """Lines are put in the order of their times; one without a time stays behind the line before it."""
    early, late = '{"time":"2026-11-22T21:12:00.123Z","event":"a"}', '{"time":"2026-11-22T21:12:00.124Z","event":"b"}'
    given = "2026-11-22T21:12:00.120Z Ready to accept connections"
    lines = [
        ("worker", late),
        ("worker", "Traceback"),
        ("api", early),
        ("api", "  more"),
        ("llm", "no time"),
        ("redis", given),
    ]
    assert in_order(lines) == [
        ("llm", "no time"),
        ("redis", given),
        ("api", early),
        ("api", "  more"),
        ("worker", late),
        ("worker", "Traceback"),
    ]
