"""The secrets of a folder's stack: made once, each its own, and a file of yesterday gets what it lacks."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from cloudia.local.secrets import Secrets

if TYPE_CHECKING:
    from pathlib import Path


def test_each_is_its_own(tmp_path: Path) -> None:
    """They differ from each other and from those of another stack, and are the same the next time."""
    made = Secrets.of(tmp_path / "one.json")
    assert Secrets.of(tmp_path / "one.json") == made
    other = Secrets.of(tmp_path / "other.json")
    values = [*asdict(made).values(), *asdict(other).values()]
    assert len(set(values)) == len(values)
    assert min(map(len, values)) >= 20


def test_yesterdays_file_keeps_what_it_has(tmp_path: Path) -> None:
    """A file that lacks a secret keeps the others, also those that are not known here, and gets the one."""
    file = tmp_path / "secrets.json"
    file.write_text(json.dumps({"token": "t", "session": "s", "of_tomorrow": "x"}))
    made = Secrets.of(file)
    assert (made.token, made.session) == ("t", "s")
    assert json.loads(file.read_text()) == {"of_tomorrow": "x"} | asdict(made)
    assert file.stat().st_mode & 0o077 == 0


def test_they_are_not_shown(tmp_path: Path) -> None:
    """No secret stands in what a traceback or a log would show of them."""
    made = Secrets.of(tmp_path / "secrets.json")
    assert not [value for value in asdict(made).values() if value in repr(made)]
