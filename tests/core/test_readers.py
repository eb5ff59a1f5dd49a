"""Who reads a setting: what its definition says and what the sources do are the same."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

import cloudia
from cloudia.providers import PROVIDERS
from cloudia.settings import SETTINGS, Account, Reader, Settings, to_environment

PACKAGE = Path(cloudia.__file__).parent
ROOMS: dict[Reader, tuple[str, ...]] = {
    "functions": ("functions",),
    "worker": ("worker",),
    "gateway": ("gateway",),
    "edge": ("sim/edge",),
    "deploy": ("deploy",),
    "up": ("local", "sim"),
    "cli": ("cli", "drill", "testing", "operate", "tui"),
}
SHIPS: tuple[Reader, ...] = ("functions", "worker", "gateway")
OTHERS = ("sim/edge", "sim/llm")
"""Within `sim`: a part of its own, and one with settings of its own."""
NAMES = {"settings", "chosen"}
"""What settings are called everywhere, so that what is read of them is seen."""
ACCOUNT = set(Account.__dataclass_fields__)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def sources(reader: Reader) -> set[Path]:
    """Return the files that run in a part: its rooms', and of `cloud` what those import."""
    own = {path for room in ROOMS[reader] for path in (PACKAGE / room).rglob("*.py")}
    if reader == "up":
        own = {path for path in own if not any(path.is_relative_to(PACKAGE / other) for other in OTHERS)}
    return own | (shared(own) if reader in SHIPS else set())


def shared(paths: set[Path]) -> set[Path]:
    """Return the files of `cloud` that these import, and those that these import in turn.

    What `Cloud` makes of a service when it is asked for is imported by who asks.
    """
    asked = {node.attr for path in paths for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}
    found: set[Path] = set()
    following = list(paths)
    while following:
        for path in imported(following.pop(), frozenset(asked)) - found:
            found.add(path)
            following.append(path)
    return found


def imported(path: Path, asked: frozenset[str]) -> set[Path]:
    """Return the files of `cloud` that a file imports when it runs, and when those of its properties are asked for."""
    found = set()
    for node in running(tree(path), asked):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cloudia.cloud"):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            found |= {PACKAGE.parent / f"{name.replace('.', '/')}.py" for name in names}
    return {path for path in found if path.exists()}


def running(node: ast.AST, asked: frozenset[str] | None = None) -> Iterator[ast.AST]:
    """Yield the nodes of a file, without what is for a type checker only, nor the properties that are not `asked` for."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.FunctionDef) and asked is not None and _is_made_late(node) and node.name not in asked:
        return
    yield node
    for inner in ast.iter_child_nodes(node):
        yield from running(inner, asked)


def _is_made_late(node: ast.FunctionDef) -> bool:
    return "cached_property" in map(ast.unparse, node.decorator_list)


def reads(path: Path) -> set[str]:
    """Return the settings that a file reads, those of accounts as `accounts.api_key`."""
    attributes = [node for node in running(tree(path)) if isinstance(node, ast.Attribute)]
    found = {node.attr for node in attributes if last_name(node.value) in NAMES} & {*SETTINGS, "accounts"}
    if "accounts" in found:
        found.remove("accounts")
        keys = {node.attr for node in attributes} & ACCOUNT
        found |= {f"{provider}_{key}" for provider in PROVIDERS for key in keys}
    return found


def last_name(node: ast.AST) -> str:
    """Return `settings` for `self._to.settings`."""
    if isinstance(node, ast.Attribute):
        return node.attr.lstrip("_")
    return node.id.lstrip("_") if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("reader", get_args(Reader))
def test_a_part_reads_what_is_said_that_it_reads(reader: Reader) -> None:
    """No part reads a setting that it may not have been given, and none is given what it does not read."""
    read = {name: path for path in sorted(sources(reader)) for name in reads(path)}
    said = {setting.name for setting in SETTINGS.values() if reader in setting.readers}
    assert {f"{name} in {path.relative_to(PACKAGE)}" for name, path in read.items() if name not in said} == set()
    assert said - set(read) == set()


def test_every_setting_has_a_reader() -> None:
    """A setting that nobody reads is none."""
    assert [name for name, setting in SETTINGS.items() if not setting.readers] == []
    assert all(set(setting.readers) <= set(ROOMS) for setting in SETTINGS.values())


@pytest.mark.parametrize(
    "path",
    sorted(set(PACKAGE.rglob("*.py")) - set(PACKAGE.rglob("sim/llm/*.py")) - {PACKAGE / "settings.py"}),
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_settings_are_called_settings(path: Path) -> None:
    """Nobody has settings by a name under which the others of these tests do not see what is read of them."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.arg) and node.annotation is not None and ast.unparse(node.annotation) == "Settings":
            assert node.arg.lstrip("_") in NAMES, f"line {node.lineno}"
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute) and node.value.attr == "settings":
            assert {last_name(target) for target in node.targets} <= NAMES, f"line {node.lineno}"


@pytest.mark.parametrize("reader", SHIPS)
def test_what_ships_reads_settings_by_their_names(reader: Reader) -> None:
    """No setting is read by a name that is made at run time: nobody would see who reads it."""
    calls = [node for path in sources(reader) for node in running(tree(path)) if isinstance(node, ast.Call)]
    assert not [ast.unparse(call) for call in calls if ast.unparse(call.func).endswith("settings.value")]
    named = [call for call in calls if ast.unparse(call.func) == "getattr"]
    assert not [ast.unparse(call) for call in named if last_name(call.args[0]) in NAMES]


@pytest.mark.parametrize("reader", get_args(Reader))
def test_the_environment_of_a_reader(reader: Reader) -> None:
    """A part's environment has what it reads, as far as that differs from the default, and no more: no secret of others."""
    texts = {name: "x" for name, setting in SETTINGS.items() if setting.kind is str}
    given = to_environment(Settings().changed(**texts), reader)
    assert given == {
        setting.variables[0]: "x" for setting in SETTINGS.values() if setting.kind is str and reader in setting.readers
    }
