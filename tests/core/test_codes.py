"""The codes of errors: the list is what is used."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import cloudia
from cloudia.codes import ErrorCode, told
from cloudia.errors import NotFoundError, request_error

_PACKAGE = Path(cloudia.__file__).parent


def test_each_code_is_used() -> None:
    """No code stands in the list that nothing raises; mypy holds what is raised to the list."""
    used: set[object] = set()
    for path in _PACKAGE.rglob("*.py"):
        if path.name != "codes.py":
            used |= {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    assert set(get_args(ErrorCode)) <= used


def test_the_list_is_sorted_and_has_each_once() -> None:
    """A code is found where one looks for it."""
    codes = get_args(ErrorCode)
    assert list(codes) == sorted(set(codes))


def test_what_another_process_told() -> None:
    """The code of a newer version is passed on; what is none gives the kind's own."""
    assert str(told("of_a_newer_version", "failed")) == "of_a_newer_version"
    nothing: list[object] = [None, "", 7, {}]
    assert [told(code, "failed") for code in nothing] == ["failed"] * 4
    error = request_error(404, {"error": {"code": "of_a_newer_version", "message": "gone"}})
    assert isinstance(error, NotFoundError)
    assert str(error.code) == "of_a_newer_version"
    assert request_error(404, {"error": {"code": 404}}).code == "not_found"
