"""A project's folder: its settings, its secrets, and what is noted of a stack."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import resource
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudia.errors import NoStackError, UsageError
from cloudia.local.logfile import LogFile
from cloudia.local.processes import Process
from cloudia.local.project import Project, find_project
from cloudia.local.run_file import VERSION
from cloudia.local.stop import stop_stack
from tests.local.runs import begun, planned

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("[worker\nconcurrency = 4\n", "line 1"),
        ("[worker]\nconcurrency = \n", "line 2"),
        ("[worker]\nconcurency = 4\n", "unknown setting worker.concurency"),
        ("[nonsense]\nvalue = 4\n", "unknown setting nonsense.value"),
        ("concurrency = 4\n", "'concurrency' stands outside a table"),
        ('[worker]\nconcurrency = "many"\n', "worker.concurrency (from cloudia.toml) is not a whole number"),
        ("[worker]\nconcurrency = 4.5\n", "worker.concurrency (from cloudia.toml) is not a whole number"),
        ("[worker]\nconcurrency = true\n", "worker.concurrency (from cloudia.toml) is not a whole number"),
        ("[llm]\nmodel = 4\n", "llm.model (from cloudia.toml) is not a text"),
        ("[up]\npersist = 1\n", "up.persist (from cloudia.toml) is not a true or false"),
        ("[worker]\nconcurrency = 0\n", "worker.concurrency (from cloudia.toml) is not between 1 and 2000"),
        ('[up]\nengine = "moto"\n', "up.engine (from cloudia.toml) is not one of ministack, localstack, endpoint"),
        ("[llm]\nconnect_seconds = nan\n", "llm.connect_seconds (from cloudia.toml) is not a number"),
    ],
)
def test_a_bad_cloudia_toml(written: str, named: str, tmp_path: Path) -> None:
    """A mistake in `cloudia.toml` names the line, or the setting and what it must be, with a hint."""
    (tmp_path / "cloudia.toml").write_text(written)
    with pytest.raises(UsageError) as caught:
        Project(tmp_path).settings()
    assert named in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ('# mine\n[llm]\nmodel = "x"\n\n[worker]\n"concurrency" = "many"\n', 6),
        ("[llm]\nconcurency = 4\n", 2),
        ("\nworker.concurrency = 0\n", 2),
        ("# first\nconcurrency = 4\n", 2),
        ("[limits]\n[ worker ]\nconcurrency=9999\n", 3),
        ('worker = {concurrency = "many"}\n', None),
    ],
)
def test_the_line_of_a_mistake(written: str, line: int | None, tmp_path: Path) -> None:
    """A wrong value and an unknown key are named with their line, where the line can be told."""
    (tmp_path / "cloudia.toml").write_text(written)
    with pytest.raises(UsageError) as caught:
        Project(tmp_path).settings()
    assert caught.value.hint.startswith(f"Mend line {line} of cloudia.toml. ") == (line is not None)


def test_a_mistake_elsewhere_has_no_line(tmp_path: Path) -> None:
    """A wrong flag is not blamed on `cloudia.toml`, though it sets the same."""
    (tmp_path / "cloudia.toml").write_text("[worker]\nconcurrency = 4\n")
    with pytest.raises(UsageError) as caught:
        Project(tmp_path).settings({"worker_concurrency": "many"})
    assert "cloudia.toml" not in caught.value.message + caught.value.hint


def test_an_env_file_that_is_no_text(tmp_path: Path) -> None:
    """A `.env` that is not UTF-8 is told in a sentence."""
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    with pytest.raises(UsageError, match=r"\.env cannot be read: it is not UTF-8"):
        Project(tmp_path).settings()


@pytest.mark.parametrize("raw", [b"\xff\xfe[worker]", b"\x00"])
def test_a_cloudia_toml_that_is_no_text(raw: bytes, tmp_path: Path) -> None:
    """A `cloudia.toml` that is not UTF-8, or holds control characters, is told in a sentence."""
    (tmp_path / "cloudia.toml").write_bytes(raw)
    with pytest.raises(UsageError, match=r"cloudia\.toml"):
        Project(tmp_path).settings()


def test_everything_is_the_owners(tmp_path: Path) -> None:
    """`.cloudia` is 0700, `secrets.json` and `run.json` are 0600, and git ignores all of it."""
    project = Project(tmp_path)
    project.secrets()
    project.write_run(planned())
    state = tmp_path / ".cloudia"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    for name in ("secrets.json", "run.json"):
        assert stat.S_IMODE((state / name).stat().st_mode) == 0o600
    assert (state / ".gitignore").read_text() == "*\n"


def test_secrets_are_made_once(tmp_path: Path) -> None:
    """The secrets are made on the first call, differ from each other, and stay."""
    first = Project(tmp_path).secrets()
    assert first.token != first.session
    assert min(len(first.token), len(first.session)) >= 32
    assert Project(tmp_path).secrets() == first


@pytest.mark.parametrize("written", ["", "[]", "{}", '{"token": "x"}', "\xff"])
def test_secrets_that_cannot_be_read(written: str, tmp_path: Path) -> None:
    """Broken secrets are told, with what to do."""
    (tmp_path / ".cloudia").mkdir()
    (tmp_path / ".cloudia" / "secrets.json").write_text(written, encoding="latin-1")
    with pytest.raises(UsageError, match="cannot be read") as caught:
        Project(tmp_path).secrets()
    assert caught.value.hint == "Delete it; a new one is made."


_PROCESS = '{"pid": 1, "started_at": 2}'


@pytest.mark.parametrize(
    "written",
    [
        "",
        "{",
        "[]",
        '"x"',
        "{}",
        "\xff",
        "[" * 100_000,
        '{"state": "ready", "supervisor": 5}',
        '{"state": "ready", "supervisor": {"pid": "1", "started_at": 2}}',
        '{"supervisor": ' + _PROCESS + "}",
        '{"state": "ready", "supervisor": ' + _PROCESS + ', "parts": {"worker": {}}}',
        json.dumps({**planned().to_json(), "supervisor": 5}),
        json.dumps({**planned().to_json(), "parts": {"worker": {}}}),
    ],
    ids=itertools.count(),
)
def test_a_broken_run_json(written: str, tmp_path: Path) -> None:
    """A broken `run.json` is what a crash left: it counts as none, and goes when a stack starts; while one runs it is told."""
    project = Project(tmp_path)
    path = project.state / "run.json"
    path.write_text(written, encoding="latin-1")
    assert project.read_run() is None
    assert path.exists()
    with project.locked():
        assert not path.exists()
        path.write_text(written, encoding="latin-1")
        with pytest.raises(UsageError, match="cannot be read") as caught:
            project.read_run()
        assert f"process {os.getpid()}" in caught.value.hint


def test_a_run_json_of_a_newer_cloudia(tmp_path: Path) -> None:
    """What a newer cloudia has noted counts as none; while its stack runs, that is told, and which process to end."""
    project = Project(tmp_path)
    path = project.state / "run.json"
    path.write_text(json.dumps({**planned().to_json(), "version": VERSION + 1}))
    assert project.read_run() is None
    with project.locked():
        assert not path.exists()
        path.write_text(json.dumps({"version": VERSION + 1}))
        with pytest.raises(UsageError, match=r"run\.json was written by a newer cloudia") as caught:
            project.read_run()
        assert f"process {os.getpid()}" in caught.value.hint


def test_a_run_json_that_is_whole_stays(tmp_path: Path) -> None:
    """What a supervisor that died has noted is there for who cleans up after it."""
    project = Project(tmp_path)
    project.write_run(planned())
    with project.locked():
        assert project.read_run() == planned()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    """A lock or a folder that cannot be made is told in a sentence."""
    project = Project(tmp_path)
    (project.state / "logs").touch()
    (project.state / "lock").mkdir()
    with pytest.raises(UsageError, match="logs cannot be written"):
        _ = project.logs
    with pytest.raises(UsageError, match="lock cannot be written"), project.locked():
        pass


def test_no_room(tmp_path: Path) -> None:
    """Where nothing can be written any more that is told before anything starts, and no temporary file stays."""
    project = Project(tmp_path)
    project.write_run(planned())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))  # The system refuses to write more than ten bytes to a file.
    try:
        with pytest.raises(UsageError, match="cannot be written: File too large"):
            project.require_room()
        with pytest.raises(UsageError, match=r"secrets\.json cannot be written: File too large"):
            project.secrets()
        with pytest.raises(OSError, match="File too large"):
            project.write_run(planned("degraded"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert project.read_run() == planned()
    assert {path.name for path in project.state.iterdir()} == {".gitignore", "run.json"}
    project.require_room()
    assert {path.name for path in project.state.iterdir()} == {".gitignore", "run.json"}


def test_a_log_without_room(tmp_path: Path) -> None:
    """A log that has no room loses lines, and goes on when there is room again."""
    log = LogFile(tmp_path / "x.log")
    log.write("first")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6, hard))
    try:
        log.write("lost")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.write("last")
    log.close()
    assert (tmp_path / "x.log").read_text() == "first\nlast\n"


def test_run_json_is_replaced_in_one_step(tmp_path: Path) -> None:
    """Nothing but the whole document is ever there, and no temporary file stays."""
    project = Project(tmp_path)
    project.write_run(planned("starting"))
    project.write_run(planned())
    assert project.read_run() == planned()
    assert {path.name for path in (tmp_path / ".cloudia").iterdir()} == {".gitignore", "run.json"}
    project.remove_run()
    assert project.read_run() is None
    project.remove_run()


def test_nothing_runs(tmp_path: Path) -> None:
    """Without `run.json`, or with that of a stack that has no plan yet or is not up, there is no stack."""
    project = Project(tmp_path)
    with pytest.raises(NoStackError):
        project.require_run()
    with project.locked() as lock:
        noted = lock.holder
        project.write_run(begun(supervisor=noted))
        assert project.live_run() is None
        with pytest.raises(NoStackError):
            project.require_run()
        project.write_run(planned("starting", supervisor=noted))
        assert project.live_run() == planned("starting", supervisor=noted)
        with pytest.raises(NoStackError):
            project.require_run()
        project.write_run(planned(supervisor=noted))
        assert project.require_run() == planned(supervisor=noted)
    with pytest.raises(NoStackError):
        project.require_run()


def test_what_another_supervisor_noted_is_not_believed(tmp_path: Path) -> None:
    """A `run.json` of a supervisor that has ended is not of what runs, though the one that runs now may have its id."""
    project = Project(tmp_path)
    with project.locked() as lock:
        project.write_run(planned(supervisor=replace(lock.holder, started_at=lock.holder.started_at - 60)))
        assert project.live_run() is None


def test_a_copy_is_another_folder(tmp_path: Path) -> None:
    """In a copy of a folder whose stack runs nothing runs; the folder itself is as it was."""
    project, copy = Project(tmp_path / "one"), Project(tmp_path / "two")
    project.root.mkdir()
    with project.locked() as lock:
        run = planned(supervisor=lock.holder, project=project.root)
        project.write_run(run)
        shutil.copytree(project.root, copy.root)
        assert (copy.holder(), copy.live_run()) == (None, None)
        assert not stop_stack(copy)
        assert project.live_run() == run
        assert lock.is_here


def _cleaned(folder: Path) -> None:
    shutil.rmtree(folder / ".cloudia")


def _begun_anew(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (Project(folder).state / "lock").touch()


@pytest.mark.parametrize("what", [_cleaned, shutil.rmtree, lambda folder: folder.rename(f"{folder}-2"), _begun_anew])
def test_a_lock_knows_that_its_folder_is_gone(what: Callable[[Path], object], tmp_path: Path) -> None:
    """Moved, emptied, deleted or made anew: the lock is then that of no folder, whatever is there now."""
    project = Project(tmp_path / "one")
    project.root.mkdir()
    with project.locked() as lock:
        assert lock.is_here
        what(project.root)
        assert not lock.is_here
        assert project.holder() is None


def test_one_stack_holds_the_lock(tmp_path: Path) -> None:
    """Who holds a project's lock is alone, and everybody sees who it is; it is free again afterwards."""
    project = Project(tmp_path)
    assert project.holder() is None
    with project.locked():
        assert project.holder() == Process.own()
        with pytest.raises(UsageError) as caught, project.locked():
            pass
        assert caught.value.code == "running"
    with project.locked():
        pass


def test_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be locked, that is told, and not that a stack runs."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UsageError, match="No locks available"), Project(tmp_path).locked():
        pass
    assert Project(tmp_path).holder() is None


def test_the_nearest_project(tmp_path: Path) -> None:
    """A project is the nearest folder upwards with `cloudia.toml` or our state; an empty `.cloudia` is not one."""
    (tmp_path / "cloudia.toml").touch()
    inner = tmp_path / "inner"
    (inner / "deep" / ".cloudia").mkdir(parents=True)
    assert find_project(inner / "deep").root == tmp_path.resolve()
    Project(inner).secrets()
    assert find_project(inner / "deep").root == inner.resolve()


def test_a_folder_that_is_no_project(tmp_path: Path) -> None:
    """Where there is none, the folder itself is the project."""
    assert find_project(tmp_path).root == tmp_path.resolve()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Where `.cloudia` cannot be made, that is told in a sentence."""
    (tmp_path / ".cloudia").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        Project(tmp_path).secrets()


def test_state_survives_as_json(tmp_path: Path) -> None:
    """`run.json` is plain JSON that any tool can read."""
    run = planned(stack_name="ä")
    Project(tmp_path).write_run(run)
    assert json.loads((tmp_path / ".cloudia" / "run.json").read_text()) == run.to_json()


def test_the_search_ends_at_the_repository(tmp_path: Path) -> None:
    """What stands above a repository, also one that is a work tree with a `.git` file, is not its project."""
    (tmp_path / "cloudia.toml").touch()
    for number in range(2):
        repository = tmp_path / f"repository{number}"
        (repository / "deep").mkdir(parents=True)
        (repository / ".git").mkdir() if number else (repository / ".git").touch()
        assert find_project(repository / "deep").root == (repository / "deep").resolve()
        (repository / "cloudia.toml").touch()
        assert find_project(repository / "deep").root == repository.resolve()


def test_the_search_ends_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home folder may be a project; what is above it is not one for whoever works below."""
    (tmp_path / "cloudia.toml").touch()
    home = tmp_path / "home"
    (home / "deep").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    assert find_project(home / "deep").root == (home / "deep").resolve()
    assert find_project(home).root == home.resolve()
    (home / "cloudia.toml").touch()
    assert find_project(home / "deep").root == home.resolve()
