"""Other users of this machine: what they own, and commands that they run. Needs root, which becomes them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloudia
from tests.patience import HANGS
from tests.support import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOURCES = (Path(cloudia.__file__).parents[1], Path(pytest.__file__).parents[1])


@dataclass(frozen=True)
class User:
    """A user of the machine."""

    name: str

    @property
    def uid(self) -> int:
        """The user's id."""
        return pwd.getpwnam(self.name).pw_uid

    def write(self, path: Path, text: str = "", *, mode: int = 0o644) -> Path:
        """Make a file of this user's."""
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, self.uid, -1)
        return path

    def folder(self, path: Path, *, mode: int = 0o755) -> Path:
        """Make a folder of this user's."""
        path.mkdir()
        path.chmod(mode)
        os.chown(path, self.uid, -1)
        return path

    def run(self, *arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `python ARGUMENTS` as this user, with the suite's cloudia and libraries."""
        return _run(self, _python(self), *arguments, folder=folder, **environment)

    def cloudia(self, *arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `cloudia ARGUMENTS` as this user, as its script does: without the folder on the path."""
        return self.run("-P", "-m", "cloudia", *arguments, folder=folder, **environment)


def _run(
    user: User, python: str, *arguments: str, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    variables = {
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join(map(str, _SOURCES)),
        "PYTHONDONTWRITEBYTECODE": "1",
        **environment,
    }
    return subprocess.run(
        [python, *arguments],
        cwd=folder,
        env=clean_environment(**variables),
        user=user.uid,
        group=pwd.getpwuid(user.uid).pw_gid,
        extra_groups=[],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )


@cache
def _python(user: User) -> str:
    """Return an interpreter that this user may run, and that can load the suite's libraries."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (os.path.realpath(sys.executable), shutil.which(version, path="/usr/local/bin:/usr/bin")):
        try:
            if python and _run(user, python, "-c", "import cloudia.cli.main", folder=Path("/")).returncode == 0:
                return python
        except PermissionError:
            continue
    pytest.skip(f"no {version} that another user may run, or cloudia's sources are closed to others")


@contextmanager
def shared_folder() -> Iterator[Path]:
    """Make a folder where everybody can write, as /tmp is."""
    with tempfile.TemporaryDirectory(prefix="shared-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o1777)
        yield folder
