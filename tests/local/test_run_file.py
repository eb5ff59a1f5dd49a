"""The run file: what is saved is what is loaded, and what cannot be trusted is told apart from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudia.codes import told
from cloudia.errors import PartError, UsageError
from cloudia.local.health import Look
from cloudia.local.processes import Process
from cloudia.local.run_file import (
    VERSION,
    BrokenRunFileError,
    Failure,
    PartRecord,
    PartState,
    PlannedRun,
    RunFile,
    RunState,
    Urls,
)
from cloudia.sim.spec import PartKind, PartSpec, kind_of
from tests.local.runs import begun, part, planned

if TYPE_CHECKING:
    from collections.abc import Mapping

_texts = st.text(max_size=20)
_paths = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).map(Path)
_seconds = st.floats(0, 2e9)
_processes = st.builds(Process, st.integers(1, 2**31), _seconds, _texts)
_parts = st.builds(
    PartRecord,
    kind=st.sampled_from(get_args(PartKind)),
    state=st.sampled_from(get_args(PartState)),
    process=st.none() | _processes,
    restarts=st.integers(0),
    detail=_texts,
    reason=_texts,
)
_begun: Mapping[str, Any] = {
    "state": st.sampled_from(get_args(RunState)),
    "project": _paths,
    "supervisor": _processes,
    "temporary": _paths,
    "container": _texts,
    "doing": _texts,
    "written_at": _seconds,
    "failure": st.none() | st.builds(Failure, st.text(min_size=1, max_size=20), _texts, _texts, st.booleans()),
}
_runs = st.builds(RunFile, **_begun) | st.builds(
    PlannedRun,
    **_begun,
    urls=st.builds(Urls, *[_texts] * 7),
    stack_name=_texts,
    region=_texts,
    engine=_texts,
    llm=_texts,
    persist=st.booleans(),
    environment=st.dictionaries(_texts, _texts, max_size=3),
    parts=st.dictionaries(_texts, _parts, max_size=3),
)
_LATER = {"parts", "pids", "collector_url"}
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run file may be."""
    return tmp_path_factory.mktemp("runs") / "run.json"


def _fields(document: Any, *above: str | int) -> list[tuple[str | int, ...]]:
    """Return the way to each field of a document, however deep; a field's value may be a document."""
    if not isinstance(document, dict):
        return []
    return [way for name, value in document.items() for way in ((*above, name), *_fields(value, *above, name))]


def _at(document: Any, way: tuple[str | int, ...]) -> tuple[Any, Any]:
    """Return the object that holds a field, and the field's name."""
    for name in way[:-1]:
        document = document[name]
    return document, way[-1]


# --- what is whole ------------------------------------------------------------------------------------------------------


@given(_runs)
@settings(deadline=None)
def test_what_is_saved_is_loaded(file: Path, run: RunFile) -> None:
    """Whatever a supervisor notes, with a plan or without, is read as it was."""
    run.save(file)
    assert RunFile.load(file) == run


@given(_runs, st.dictionaries(_texts.map("x_{}".format), _json, max_size=3))
@settings(deadline=None)
def test_unknown_fields_are_passed_over(file: Path, run: RunFile, more: dict[str, Any]) -> None:
    """What a later cloudia of the same version of the file adds, anywhere in it, changes nothing."""
    document = run.to_json()
    for holder in (document, document["supervisor"], *document.get("parts", {}).values()):
        holder.update(more)
    file.write_text(json.dumps(document))
    assert RunFile.load(file) == run


def test_yesterdays_parts_have_no_kind_and_no_birth(file: Path) -> None:
    """A stack that runs while cloudia is updated has noted neither: its parts are what their names say."""
    document = planned(parts={"worker-2": part()}).to_json()
    del document["parts"]["worker-2"]["kind"]
    del document["parts"]["worker-2"]["birth"]
    file.write_text(json.dumps(document))
    unborn = part(process=replace(Process.own(), birth=""))
    assert RunFile.load(file) == planned(parts={"worker-2": unborn})


def test_the_document() -> None:
    """`cloudia up --json` has these fields, in this order: others build upon them."""
    failed = begun("failed", failure=Failure.of(UsageError("It is so.", hint="Mend it.", code=told("odd", "usage"))))
    first = ["version", "state", "project", "supervisor", "temporary", "container", "doing", "written_at"]
    assert list(failed.to_json()) == [*first, "error", "usage_error"]
    assert failed.to_json()["error"] == {"code": "odd", "message": "It is so.", "hint": "Mend it."}
    urls = ["api_url", "websocket_url", "web_url", "aws_endpoint_url", "redis_url", "llm_url", "collector_url"]
    rest = ["stack_name", "region", "engine", "llm", "persist", "environment", "pids", "parts"]
    document = planned(parts={"llm": part(kind="llm", process=None), "worker": part()}).to_json()
    assert list(document) == [*first, *urls, *rest]
    assert document["pids"] == {"worker": Process.own().pid}
    assert document["parts"]["llm"] == {
        "kind": "llm",
        "state": "ready",
        "pid": None,
        "started_at": 0.0,
        "birth": "",
        "restarts": 0,
        "detail": "",
        "reason": "",
    }


def test_what_status_adds() -> None:
    """`cloudia status --json` is that document, with each process's memory, the engine, the health and the page's code."""
    run = planned(parts={"llm": part(kind="llm", process=None), "worker": part()})
    shown = Look(run, 3, {"llm": None, "worker": 2}, "MiniStack 1", {"status": "ok"}, "http://page/?code=x").to_json()
    assert shown["supervisor"].pop("resident_bytes") == 3
    assert {name: each.pop("resident_bytes") for name, each in shown["parts"].items()} == {"llm": None, "worker": 2}
    assert (shown.pop("engine_detail"), shown.pop("health")) == ("MiniStack 1", {"status": "ok"})
    assert shown == run.to_json() | {"web_url": "http://page/?code=x"}
    assert "parts" not in Look(begun(), 3, {}, None, None, None).to_json()


@pytest.mark.parametrize(
    "error", [UsageError("no", hint="h", code=told("of_a_newer_version", "usage")), PartError("no")]
)
def test_an_error_is_raised_as_it_was(error: UsageError | PartError) -> None:
    """What ended a start is told by whoever waited for it, with the exit code of its kind."""
    again = Failure.of(error).error()
    assert (type(again), again.to_json()) == (type(error), error.to_json())


# --- parts --------------------------------------------------------------------------------------------------------------


def test_a_kind_or_a_name() -> None:
    """A word names one part, or all of a kind; half a name is none."""
    run = planned(parts={"llm": part(kind="llm"), "worker-1": part(), "worker-2": part(), "worker-10": part()})
    assert list(run.named("worker")) == ["worker-1", "worker-2", "worker-10"]
    assert list(run.named("worker-1")) == ["worker-1"]
    assert list(run.named("llm")) == ["llm"]
    assert run.named("work") == run.named("") == begun().named("worker") == {}


@given(st.sampled_from(get_args(PartKind)), st.none() | st.integers(0))
def test_a_name_has_a_kind(kind: PartKind, number: int | None) -> None:
    """The kind is told from the name that a part of it has; a file that is no part's has its own."""
    assert kind_of(PartSpec(kind, [], {}, lambda _pid: ..., number=number).name) == kind  # type: ignore[arg-type, return-value]
    assert kind_of("supervisor") == "supervisor"


# --- what is not --------------------------------------------------------------------------------------------------------


def test_no_file(file: Path) -> None:
    """Where there is no file, nothing is noted, and that is no error."""
    file.unlink(missing_ok=True)
    assert RunFile.load(file) is None


@given(st.data())
@settings(deadline=None)
def test_a_truncated_file(file: Path, data: st.DataObject) -> None:
    """Half a file is broken, wherever it ends."""
    whole = json.dumps(data.draw(_runs).to_json(), indent=1)
    file.write_text(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(BrokenRunFileError, match="cannot be read"):
        RunFile.load(file)


@given(_json)
@settings(deadline=None)
def test_a_foreign_file(file: Path, document: Any) -> None:
    """Any other JSON is broken, not misread."""
    file.write_text(json.dumps(document))
    with pytest.raises(BrokenRunFileError):
        RunFile.load(file)


@given(_runs, st.data())
@settings(deadline=None)
def test_a_field_that_is_wrong(file: Path, run: RunFile, data: st.DataObject) -> None:
    """One field of another type, however deep, makes the file a broken one; `pids` alone is told to others and not read."""
    document = run.to_json()
    way = data.draw(st.sampled_from([way for way in _fields(document) if way[0] != "pids"]))
    holder, name = _at(document, way)
    holder[name] = [holder[name]]
    file.write_text(json.dumps(document))
    with pytest.raises(BrokenRunFileError):
        RunFile.load(file)


@pytest.mark.parametrize("missing", [name for name in planned().to_json() if name not in _LATER])
def test_a_field_that_is_missing(missing: str, file: Path) -> None:
    """No field of a plan may be missing, but for what earlier files had not."""
    document = planned().to_json()
    del document[missing]
    file.write_text(json.dumps(document))
    with pytest.raises(BrokenRunFileError):
        RunFile.load(file)


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "odd"},
        {"written_at": True},
        {"supervisor": {"pid": None, "started_at": 0.0}},
        {"supervisor": {"pid": -1, "started_at": 0.0}},
        {"supervisor": {"pid": True, "started_at": 0.0}},
        {"parts": {"worker": {**part().to_json(), "kind": "odd"}}},
        {"parts": {"worker": {**part().to_json(), "state": "degraded"}}},
        {"parts": {"worker": {**part().to_json(), "restarts": 1.5}}},
        {"parts": {"odd": {name: value for name, value in part().to_json().items() if name != "kind"}}},
        {"environment": {"A": 1}},
        {"error": {"code": "failed"}, "usage_error": False},
    ],
)
def test_a_word_that_is_wrong(wrong: dict[str, Any], file: Path) -> None:
    """A word or a number that cannot be makes the file a broken one."""
    file.write_text(json.dumps({**planned().to_json(), **wrong}))
    with pytest.raises(BrokenRunFileError, match="cannot be read"):
        RunFile.load(file)


@given(_runs, st.integers(VERSION + 1))
@settings(deadline=None)
def test_a_newer_version(file: Path, run: RunFile, version: int) -> None:
    """A file of a later version is told apart from a broken one, whatever else is in it."""
    for document in (run.to_json(), {}):
        file.write_text(json.dumps({**document, "version": version}))
        with pytest.raises(BrokenRunFileError, match="was written by a newer cloudia"):
            RunFile.load(file)


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, True, None])
def test_no_version_of_ours(version: object, file: Path) -> None:
    """A version that never was is broken."""
    file.write_text(json.dumps({**planned().to_json(), "version": version}))
    with pytest.raises(BrokenRunFileError, match="cannot be read"):
        RunFile.load(file)


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """What the system does not let us read is broken too."""
    with pytest.raises(BrokenRunFileError, match="cannot be read"):
        RunFile.load(tmp_path)
