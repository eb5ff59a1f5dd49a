"""Stopping from outside: what a dead supervisor left is ended, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.errors import ForbiddenError
from cloudia.local.processes import Process, birth_of
from cloudia.local.project import Project
from cloudia.local.stop import _clean_up_alone, clean_up, stop_stack, supervisor_in_reach
from tests.local.runs import part, planned
from tests.patience import HANGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudia.local.run_file import PlannedRun


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that sleeps."""
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def _run(worker: Process | None, folder: Path, **extra: Any) -> PlannedRun:
    # This process's id, with a start time that is not its own: a supervisor that died, and whose id was given anew.
    supervisor = Process(os.getpid(), time.time() - 86_400)
    return planned(supervisor=supervisor, project=folder, parts={"worker": part(process=worker)}, **extra)


def test_nothing_was_noted(tmp_path: Path) -> None:
    """Without a `run.json` there is nothing to stop, and nothing is made."""
    assert not stop_stack(Project(tmp_path))
    assert supervisor_in_reach(Project(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_is_ended(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """A part that outlived its supervisor is killed, and the stack forgotten."""
    project = Project(tmp_path)
    project.write_run(_run(Process(child.pid, time.time(), birth_of(child.pid)), tmp_path))
    assert supervisor_in_reach(project) is None
    assert stop_stack(project)
    assert child.wait(HANGS) is not None
    assert project.read_run() is None


def test_a_recycled_id_is_left_alone(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """A process that has got the id of a part or a supervisor since is none of ours."""
    project = Project(tmp_path)
    project.write_run(_run(Process(child.pid, time.time() - 86_400), tmp_path))
    assert not stop_stack(project)
    assert child.poll() is None
    assert project.read_run() is None


def test_what_came_along_in_a_copy_is_left_alone(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """A copy of a folder has its `run.json` too: what that names is the other folder's, and is only forgotten."""
    ours, copy = tmp_path / "cloudia-x", Project(tmp_path / "copy")
    for folder in (ours, copy.root):
        folder.mkdir()
    copy.write_run(_run(Process(child.pid, time.time(), birth_of(child.pid)), tmp_path / "original", temporary=ours))
    assert not stop_stack(copy)
    assert child.poll() is None
    assert ours.exists()
    assert copy.read_run() is None


def test_a_stack_that_just_begins_is_not_cleaned_away(tmp_path: Path) -> None:
    """While somebody else holds the lock, what a stack before has left is theirs to clean."""
    project = Project(tmp_path)
    project.write_run(_run(None, tmp_path))
    with project.locked():
        assert not _clean_up_alone(project)
        assert project.read_run()


def test_two_downs_at_the_same_moment(tmp_path: Path) -> None:
    """Whoever holds the lock and has noted no stack is about to: it is waited for, and never ended in its place."""
    project = Project(tmp_path)
    project.write_run(_run(None, tmp_path))
    script = (
        "import sys; from pathlib import Path; from cloudia.local.project import Project\n"
        "with Project(Path(sys.argv[1])).locked(): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        with ThreadPoolExecutor(1) as pool:
            stopping = pool.submit(stop_stack, project)
            with pytest.raises(TimeoutError):
                stopping.result(0.1)
            other.stdin.close()
            assert not stopping.result(HANGS)
    assert other.returncode == 0


def test_a_supervisor_of_another_namespace_is_not_orphaned(tmp_path: Path) -> None:
    """Where the lock is held by a process that has no id here, `down` says so and forgets nothing."""
    project = Project(tmp_path)
    with project.locked() as lock:
        elsewhere = replace(lock.holder, birth="boot/another namespace/1")
        lock.path.write_text(json.dumps(elsewhere.to_json()))
        project.write_run(planned(supervisor=elsewhere, project=tmp_path))
        with pytest.raises(ForbiddenError, match="cannot be reached") as refused:
            stop_stack(project)
        assert refused.value.code == "out_of_reach"
        assert project.live_run()


def test_a_part_that_never_had_a_process(tmp_path: Path) -> None:
    """A part that was not started yet has no process to end."""
    project = Project(tmp_path)
    project.write_run(_run(None, tmp_path))
    assert not clean_up(project)


def test_only_our_own_folder_is_removed(tmp_path: Path) -> None:
    """The temporary folder of the stack that died goes too; a path that is not called like one is never touched."""
    ours, other = tmp_path / "cloudia-x", tmp_path / "precious"
    project = Project(tmp_path)
    for folder in (ours, other):
        (folder / "inner").mkdir(parents=True)
        project.write_run(_run(None, tmp_path, temporary=folder))
        clean_up(project)
    assert not ours.exists()
    assert (other / "inner").exists()
    project.write_run(_run(None, tmp_path, temporary=Path()))
    clean_up(project)
    assert (other / "inner").exists()
