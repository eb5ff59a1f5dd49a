"""The house's own rules, held by the tools that know them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cloudia import __version__
from cloudia.settings import SETTINGS
from tests.package.conftest import ROOT
from tests.patience import HANGS
from tests.support import clean_environment

_TOOLS = [
    ["lint-imports"],
    ["ruff", "check", "--no-cache", "."],
    ["ruff", "format", "--check", "--no-cache", "."],
    pytest.param(["mypy"], marks=pytest.mark.long),
]


@pytest.mark.parametrize("command", _TOOLS, ids=["imports", "lint", "format", "types"])
def test_tools_find_nothing(command: list[str]) -> None:
    """The import contracts are kept; ruff, its formatter and mypy's strict mode find nothing."""
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


# How many modules an import may load, which no machine changes. A regression is an SDK or a toolkit that comes along unasked:
# 200 and more.
_CEILINGS = {
    "cloudia.settings": 120,
    "cloudia.cli.main": 220,
    "cloudia.client": 110,
    "cloudia.functions.post_message": 620,
    "cloudia.worker.worker": 620,
    "cloudia.worker.__main__": 760,
    "cloudia.gateway.__main__": 780,
    "cloudia.local.supervisor": 330,
}


@pytest.mark.parametrize(("module", "modules"), _CEILINGS.items())
def test_imports_are_light(module: str, modules: int) -> None:
    """What starts often imports little: each module stays under its ceiling."""
    shown = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(len(sys.modules))"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=True,
    )
    assert int(shown.stdout) <= modules


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=HANGS
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


# Written so that this file does not hold what it looks for.
_REGISTRIES = [
    "pypi" + r"\.org",
    "pythonhosted" + r"\.org",
    "registry" + r"\.npmjs",
    "npmjs" + r"\.(?:org|com)",
    "crates" + r"\.io",
    "proxy" + r"\.golang",
    "maven" + r"\.org",
    "deb" + r"\.debian",
    "--index" + "-url",
    "--extra-index" + "-url",
]
_PLACES = [rf"(?<![\w.~-])/{name}/" for name in ("root", "home", "work", "Users", "opt/wheels", "tmp/lab")]


def test_no_registry_and_no_machine_is_named() -> None:
    """No tracked file names a registry's host, or a path that is only on one machine."""
    looked_for = re.compile("|".join([*_REGISTRIES, *_PLACES]))
    found = []
    for path in _tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue  # A picture.
        lines = text.splitlines()
        found += [
            f"{path.relative_to(ROOT)}:{number}" for number, line in enumerate(lines, 1) if looked_for.search(line)
        ]
    assert not found


_WRONG_PACKAGE = re.compile(
    r"""\bcloudia\[[a-z]|(?<!un)install\b[^`\n]*[\s"']cloudia(?=["'`\s]|$)|\b(?:uvx|pipx run) cloudia\b"""
)


@pytest.mark.parametrize(
    ("text", "is_wrong"),
    [
        ("pip install cloudia", True),
        ("pip install --no-deps cloudia && pip install", True),
        ("uv tool install 'cloudia'", True),
        ("is cloudia[jwks] installed", True),
        ("uvx cloudia up", True),
        ("pip install 'cloudia-chat[local]' pytest", False),
        ("installing cloudia into .venv", False),
    ],
)
def test_what_names_another_package(text: str, is_wrong: bool) -> None:
    """The package `cloudia` of the index is somebody else's; what would send a user there is noticed."""
    assert bool(_WRONG_PACKAGE.search(text)) == is_wrong


def test_no_text_sends_a_user_to_the_wrong_package() -> None:
    """Whatever says how cloudia is installed names its distribution, `cloudia-chat`."""
    found = []
    for path in _tracked():
        if path != Path(__file__) and path.suffix in {".py", ".md", ".toml", ".yml", ".txt", ".sh", ".html", ""}:
            lines = path.read_text().splitlines()
            found += [f"{path}:{number}" for number, line in enumerate(lines, 1) if _WRONG_PACKAGE.search(line)]
    assert not found


def test_the_changelog_knows_this_version() -> None:
    """The first version that the changelog tells of is the package's."""
    assert re.search(r"^## \[?([0-9][^\] ]*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == __version__  # type: ignore[index]


def test_the_example_of_an_environment() -> None:
    """`.env.example` names known variables only, one at least of each group that is usual elsewhere, and no secret's value."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    matches = (re.fullmatch(r"#? ?([A-Z][A-Z0-9_]*)=(.*)", line) for line in lines)
    found = {
        match[1]: match[2] for match in matches if match and not match[1].startswith("OTEL_")
    }  # OpenTelemetry's own.
    known: dict[str, bool] = {}
    for setting in SETTINGS.values():
        known |= dict.fromkeys(setting.variables, setting.secret)
    assert found
    assert not set(found) - set(known)
    assert not {name for name, value in found.items() if known[name] and value}
    groups = {name.split("_")[0] for name, _ in known.items() if not name.startswith("CLOUDIA_")}
    assert {name.split("_")[0] for name in found} == {*groups, "CLOUDIA"}
