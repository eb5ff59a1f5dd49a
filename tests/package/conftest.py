"""The package as others get it: a wheel, and environments that have it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from platformdirs import user_cache_path

ROOT = Path(__file__).parents[2]
_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


@dataclass(frozen=True)
class Environments:
    """The wheel, and an environment each for what may be installed of it."""

    wheel: Path
    whole: Path
    """`pip install WHEEL`: no extra, no MiniStack."""
    bare: Path
    """What `cloudia/worker/requirements.txt` names, and the wheel without what it depends on."""

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
    """Build the wheel and make the environments, both at the same time: pip takes one core for each."""
    folder = tmp_path_factory.mktemp("package")
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (wheel,) = (folder / "dist").iterdir()
    made = Environments(wheel, folder / "whole", folder / "bare")
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    requirements = ["--requirement", str(ROOT / "cloudia" / "worker" / "requirements.txt")]
    _make(made.whole)
    _make(made.bare)
    installing = [
        _install(made.whole, *constraints, str(wheel)),
        _install(made.bare, *constraints, *requirements),
    ]
    for process in installing:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    without = _install(made.bare, "--no-deps", str(wheel))
    _, said = without.communicate(timeout=60)
    assert without.returncode == 0, said
    return made


def _make(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)


def _install(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*_PIP, "--python", str(folder / "bin" / "python"), "install", "--quiet", "--no-compile", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
