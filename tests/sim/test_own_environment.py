"""Environments of a program's own: made once from what an index serves, with progress told, and made anew where broken."""

from __future__ import annotations

import asyncio
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler
from typing import TYPE_CHECKING

import pytest

from cloudia.errors import PartError
from cloudia.sim.own_environment import OwnEnvironment
from tests.servers import Quiet, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OWN = OwnEnvironment("thing-1.0", "Thing 1.0", ("thing==1.0",), "Install it yourself.")


class _Files(Quiet, SimpleHTTPRequestHandler):
    """Those of a folder."""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of wheels that pip looks into, and no other place; it has that of `thing`. The cache folder is empty."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    information = "thing-1.0.dist-info"
    with zipfile.ZipFile(folder / "thing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("thing.py", "")
        wheel.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")
    with serving(partial(_Files, directory=str(folder))) as url:
        monkeypatch.setenv("PIP_FIND_LINKS", f"{url}/")
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_USER", "1")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache of ours"))
        yield folder


async def test_it_is_made_once(served: Path) -> None:
    """Of two that want it one makes it, and tells of each package that is fetched. It counts until its Python is gone."""
    said: list[str] = []
    assert not _OWN.is_made
    await asyncio.gather(_OWN.make(said.append), _OWN.make(said.append))
    assert [line.removesuffix(")").split(" (")[0] for line in said] == [
        f"installing Thing 1.0 into {_OWN.folder}, once",
        "installing Thing 1.0: thing-1.0",
        "Thing 1.0 is installed",
    ]
    assert _OWN.is_made
    assert list(_OWN.folder.glob("lib/*/site-packages/thing.py"))
    (_OWN.folder / "bin" / "python").unlink()
    assert not _OWN.is_made


async def test_what_cannot_be_made(served: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package that is nowhere, and a cache folder that cannot be written, are told in a sentence with a way out."""
    (served / "thing-1.0-py3-none-any.whl").unlink()
    with pytest.raises(PartError, match=r"Thing 1\.0 cannot be installed: .*thing==1.0") as caught:
        await _OWN.make(lambda _text: None)
    assert caught.value.hint == "Install it yourself."
    assert not _OWN.is_made
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(PartError, match=r"Thing 1\.0 cannot be installed: .*[Nn]ot a directory"):
        await _OWN.make(lambda _text: None)
