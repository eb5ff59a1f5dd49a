"""The package as others get it: a wheel, and environments that have it."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cached_property
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from tests.patience import HANGS

ROOT = Path(__file__).parents[2]
_CONSTRAINTS = ["--constraint", str(ROOT / "constraints.txt")]
_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


class Environments:
    """The wheel, and an environment each for what may be installed of it; each is made when a test first asks for it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def wheel(self) -> Path:
        """The wheel that is built of the tree."""
        build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(self._folder / "dist"), str(ROOT)]
        subprocess.run(build, check=True, capture_output=True, timeout=120)
        (wheel,) = (self._folder / "dist").iterdir()
        return wheel

    @cached_property
    def whole(self) -> Path:
        """`pip install WHEEL`: no extra, no MiniStack."""
        return _installed(self._folder / "whole", [*_CONSTRAINTS, str(self.wheel)])

    @cached_property
    def bare(self) -> Path:
        """What `cloudia/worker/requirements.txt` names, and the wheel without what it depends on."""
        requirements = ["--requirement", str(ROOT / "cloudia" / "worker" / "requirements.txt")]
        return _installed(self._folder / "bare", [*_CONSTRAINTS, *requirements], ["--no-deps", str(self.wheel)])

    @staticmethod
    def variables(cache: Path) -> dict[str, str]:
        """Return what a process in an environment gets: a cache folder of its own, pip's wheels from the usual one."""
        names = ("PIP_", "SSL_", "REQUESTS_", "CURL_", "LANG", "LC_", "HTTP", "HTTPS", "NO_PROXY", "http", "no_proxy")
        kept = {name: value for name, value in os.environ.items() if name.startswith(names)}
        pip_cache = os.environ.get("PIP_CACHE_DIR") or str(user_cache_path("pip"))
        return {
            **kept,
            "PATH": os.environ["PATH"],
            "HOME": str(cache),
            "XDG_CACHE_HOME": str(cache),
            "PIP_CACHE_DIR": pip_cache,
            "COLUMNS": "120",
            "PYTHONDONTWRITEBYTECODE": "",  # pip was told not to compile; what is used is compiled once, when it is used.
        }


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Environments:
    """The package as others get it."""
    return Environments(tmp_path_factory.mktemp("package"))


def _installed(folder: Path, *steps: list[str]) -> Path:
    """Make an environment and run the steps of pip in it. Return its folder."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=HANGS)
    for step in steps:
        install = ["--python", str(folder / "bin" / "python"), "install", "--quiet", "--no-compile", *step]
        done = subprocess.run([*_PIP, *install], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    return folder
