"""A small project to start from: which files it has, and how they are written without ever losing one of the user's."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

from cloudia.errors import CloudiaError, UsageError

__all__ = ["FILES", "scaffold"]

# A name in a project, and the name in the package: there, a dot would hide it, or change what git and pip do with the package.
FILES = {
    "cloudia.toml": "cloudia.toml",
    "app.py": "app.py",
    "test_app.py": "test_app.py",
    ".env.example": "env.example",
    ".gitignore": "gitignore",
    ".github/workflows/chat.yml": "chat.yml",
    "README.md": "README.md",
}


def scaffold(folder: Path, *, force: bool) -> list[Path]:
    """Write the files into a folder, which is made where it is missing. Return their paths.

    `UsageError` names what is in the way; a file may be replaced with `force`. What is refused or fails changes nothing.
    """
    targets = [folder / name for name in FILES]
    _refuse_obstacles(folder, targets, force=force)
    folders = {parent for target in targets for parent in target.parents}
    made = [each for each in sorted(folders, reverse=True) if not each.exists()]  # the innermost first
    try:
        _write(folder, targets)
    except OSError as error:
        for each in made:
            with contextlib.suppress(OSError):
                each.rmdir()
        raise _unwritable(folder, error) from error
    return targets


def _refuse_obstacles(folder: Path, targets: list[Path], *, force: bool) -> None:
    """Raise `UsageError` where something that is there would be lost, or cannot be replaced."""
    try:
        parents = {parent for target in targets for parent in target.parents}
        files_for_folders = sorted(path for path in parents if os.path.lexists(path) and not path.is_dir())
        there = [target for target in targets if os.path.lexists(target)]
        folders_for_files = [path for path in there if path.is_dir()]
    except OSError as error:
        raise _unwritable(folder, error) from error
    if files_for_folders:
        raise UsageError(f"{files_for_folders[0]} is no folder", hint="Name another folder.")
    if folders_for_files:
        raise UsageError(f"{folders_for_files[0]} is a folder, and would be a file", hint="Name another folder.")
    if there and not force:
        names = [path.relative_to(folder).as_posix() for path in there]
        raise UsageError(
            f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} in the way in {folder}",
            hint="Name another folder, or replace what is there with --force.",
            code="in_the_way",
        )


def _write(folder: Path, targets: list[Path]) -> None:
    """Write all files beside their places first: a disk that fills up meanwhile changes nothing. `OSError`."""
    source = files(__name__) / "files"
    folder.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".cloudia-init-", dir=folder))
    try:
        for number, name in enumerate(FILES.values()):
            (beside / str(number)).write_bytes((source / name).read_bytes())
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
        for number, target in enumerate(targets):
            (beside / str(number)).replace(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _unwritable(folder: Path, error: OSError) -> CloudiaError:
    return UsageError(f"{folder} cannot be written: {error.strerror}", hint="Name a folder of yours.")
