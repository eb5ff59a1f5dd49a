"""`cloudia init`: what it writes runs at once, exactly as written; and nothing of the user's is ever lost."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudia.local.scaffold import FILES
from tests.patience import HANGS
from tests.support import CLI, clean_environment, cli

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = {
    "cloudia.toml",
    "app.py",
    "test_app.py",
    ".env.example",
    ".gitignore",
    ".github/workflows/chat.yml",
    "README.md",
}


def written(folder: Path) -> dict[str, str]:
    """Return the files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project as `cloudia init demo` makes it; whatever a test starts in it is stopped."""
    folder = tmp_path_factory.mktemp("init") / "demo"
    shown = cli("init", "demo", folder=folder.parent)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines() == [f"demo/{name}" for name in FILES]
    assert shown.stderr == "now: cd demo && cloudia up\n"
    yield folder
    cli("down", folder=folder)


def test_what_is_written(made: Path) -> None:
    """These files and no others, each for its owner to edit, none of them empty."""
    assert set(written(made)) == NAMES == set(FILES)
    assert all(written(made).values())
    assert all(os.access(made / name, os.R_OK | os.W_OK) for name in NAMES)
    ignored = (made / ".gitignore").read_text().splitlines()
    assert {".env", ".cloudia/"} <= set(ignored)
    assert ".env.example" not in ignored


def test_the_example_of_an_environment_sets_nothing(made: Path) -> None:
    """`.env.example` can be copied as it is: every line is a comment, and no line bears a secret."""
    lines = [line for line in (made / ".env.example").read_text().splitlines() if line]
    assert all(line.startswith("# ") for line in lines)
    assert "# OPENAI_API_KEY=" in lines


@pytest.mark.long
def test_the_pipeline(made: Path) -> None:
    """What the pipeline runs after its installation passes as it stands here, in its order, and stops what it started."""
    pipeline = (made / ".github" / "workflows" / "chat.yml").read_text()
    steps = re.findall(r"^      - run: (.+)$", pipeline, re.MULTILINE)
    assert [step.split()[:2] for step in steps] == [
        ["pip", "install"],
        ["pytest"],
        ["cloudia", "up"],
        ["cloudia", "send"],
        ["cloudia", "logs"],
        ["cloudia", "down"],
    ]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for step in steps[1:]:
        ran = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", step],
            cwd=made,
            env=clean_environment(PATH=path),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=HANGS,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        if step == "pytest":
            assert "3 passed" in ran.stdout
    assert cli("status", folder=made).returncode == 3


def test_it_is_well_kept(made: Path) -> None:
    """Its code is as tidy as ours: ruff finds nothing with its own defaults, and neither does its formatter."""
    for command in (["check"], ["format", "--check", "--line-length", "120"]):
        ruff = [str(Path(sys.executable).parent / "ruff"), *command, "--isolated", "--no-cache", "."]
        done = subprocess.run(ruff, cwd=made, capture_output=True, text=True, timeout=HANGS, check=False)
        assert done.returncode == 0, done.stdout


def test_json(tmp_path: Path) -> None:
    """`--json` prints what was written; without a folder that is the working one."""
    shown = cli("init", "--json", folder=tmp_path)
    assert shown.returncode == 0
    assert shown.stderr == ""
    assert json.loads(shown.stdout) == {"folder": str(tmp_path), "written": list(FILES)}
    assert set(written(tmp_path)) == NAMES


def test_in_the_working_folder(tmp_path: Path) -> None:
    """Beside what is there already; the next step is named, and nobody is sent elsewhere."""
    (tmp_path / "mine.py").write_text("mine")
    shown = cli("init", folder=tmp_path)
    assert shown.returncode == 0
    assert shown.stderr == "now: cloudia up\n"
    assert set(written(tmp_path)) == NAMES | {"mine.py"}
    assert (tmp_path / "mine.py").read_text() == "mine"


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    """A file that is there, also a link to nowhere, is named and kept, and nothing is written; so too under `--json`."""
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "app.py").symlink_to("nowhere.py")
    shown = cli("init", folder=tmp_path)
    assert shown.returncode == 2
    assert shown.stdout == ""
    assert shown.stderr.startswith("error: app.py, README.md are in the way in ")
    assert "hint: Name another folder, or replace what is there with --force.\n" in shown.stderr
    shown = cli("init", "--json", folder=tmp_path)
    assert shown.returncode == 2
    assert json.loads(shown.stderr)["error"]["code"] == "in_the_way"
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", "app.py"}
    assert (tmp_path / "README.md").read_text() == "mine"


def test_force(tmp_path: Path) -> None:
    """`--force` replaces exactly those files; a link is replaced, and what it points to is kept."""
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "mine.py").write_text("mine")
    (tmp_path / "app.py").symlink_to("mine.py")
    assert cli("init", "--force", folder=tmp_path).returncode == 0
    assert set(written(tmp_path)) == NAMES | {"mine.py"}
    assert (tmp_path / "mine.py").read_text() == "mine"
    assert not (tmp_path / "app.py").is_symlink()
    assert (tmp_path / "README.md").read_text() != "mine"


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["", "force"])
@pytest.mark.parametrize(
    ("there", "folder", "says"),
    [
        ("demo", "demo", "demo is no folder"),
        ("demo", "demo/inner", "demo is no folder"),
        (".github", ".", ".github is no folder"),
        ("app.py/", ".", "app.py is a folder, and would be a file"),
    ],
)
def test_what_cannot_be_replaced(there: str, folder: str, says: str, force: list[str], tmp_path: Path) -> None:
    """A file where a folder must be, and the other way about, is named and kept, with and without `--force`."""
    obstacle = tmp_path / there
    if there.endswith("/"):
        obstacle.mkdir()
    else:
        obstacle.write_text("mine")
    shown = cli("init", folder, *force, folder=tmp_path)
    assert shown.returncode == 2
    assert shown.stderr == f"error: {says}\nhint: Name another folder.\n"
    assert [path.name for path in tmp_path.iterdir()] == [there.rstrip("/")]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """It is told in a sentence."""
    folder = tmp_path / "demo"
    if os.geteuid() == 0:
        folder = Path("/proc/demo")  # root may write anywhere else
    else:
        tmp_path.chmod(0o500)
    shown = cli("init", str(folder), folder=tmp_path)
    assert shown.returncode == 2
    assert shown.stderr.startswith(f"error: {folder} cannot be written: ")
    assert shown.stderr.endswith("\nhint: Name a folder of yours.\n")


def test_a_full_disk(tmp_path: Path) -> None:
    """What cannot be written whole is not written at all: no half file, no folder, and what was there is as it was."""
    (tmp_path / "README.md").write_text("mine")
    for arguments in (["init", "a/demo"], ["init", "--force"]):
        full = subprocess.run(
            ["bash", "-c", 'ulimit -f 0; exec "$@"', "bash", *CLI, *arguments],
            cwd=tmp_path,
            env=clean_environment(PYTHONDONTWRITEBYTECODE="1"),
            capture_output=True,
            text=True,
            timeout=HANGS,
            check=False,
        )
        assert full.returncode == 2, full.stderr
        assert "cannot be written: File too large" in full.stderr
    assert written(tmp_path) == {"README.md": "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
