"""Whose a file is: only what is this user's, or root's, is read, believed or run.

A folder above the working one may be everybody's, as /tmp is. Who may write there must not configure, and so run code as,
whoever works below: git's safe.directory, CVE-2022-24765. Root is trusted as it needs no such way; so is who called sudo, by
root alone. What its owner lets others write to is the owner's to say, but code is not taken from where everybody can put some.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from cloudia.errors import UsageError

__all__ = ["SAFE_FOLDERS", "is_trusted", "read_own", "require_own", "require_own_code"]

SAFE_FOLDERS = "CLOUDIA_SAFE_FOLDERS"
"""The variable that names folders of others to be used all the same, as PATH names its own. No file can set it."""


def is_trusted(owner: int, *, user: int, sudo_user: int | None) -> bool:
    """Decide by ids whether the files of `owner` are used by `user`, whom `sudo_user` may have become by sudo."""
    return owner in {user, 0} or (user == 0 and owner == sudo_user)


def require_own(folder: Path, *names: str) -> None:
    """Accept a folder, and what it has of these names. `UsageError` says what belongs to somebody else."""
    if _is_safe(folder):
        return
    there = [path for path in (folder / name for name in names) if os.path.lexists(path)]
    if not names or there:
        for path in (folder, *there):
            _require(path, path.lstat())


def read_own(path: Path) -> str:
    """Return a file's text, which is UTF-8 whatever the locale, without its BOM.

    `UsageError` where it is somebody else's, also if it has just become so; `OSError` as open.
    """
    with path.open(encoding="utf-8-sig") as file:
        if not _is_safe(path.parent):
            _require(path, os.fstat(file.fileno()))
        return file.read()


def require_own_code(folder: Path) -> None:
    """Accept a folder whose modules are to be imported. `UsageError` where others can put some there."""
    require_own(folder)
    if folder.stat().st_mode & stat.S_IWOTH and not _is_safe(folder):
        raise UsageError(
            f"everybody can put code into {folder}, so none of it is run",
            hint=f"Work in a folder that only you can write to; or set {SAFE_FOLDERS}={folder} if it is safe.",
            code="not_yours",
        )


def _require(path: Path, status: os.stat_result) -> None:
    sudo = os.environ.get("SUDO_UID", "")
    if is_trusted(status.st_uid, user=os.geteuid(), sudo_user=int(sudo) if sudo.isdecimal() else None):
        return
    folder = path if stat.S_ISDIR(status.st_mode) else path.parent
    raise UsageError(
        f"{path} belongs to {_name(status.st_uid)}, so it is not used",
        hint=f"Put a cloudia.toml into a folder of yours and work there; or set {SAFE_FOLDERS}={folder} if you trust them.",
        code="not_yours",
    )


def _is_safe(folder: Path) -> bool:
    named = [name for name in os.environ.get(SAFE_FOLDERS, "").split(os.pathsep) if name]
    return any(Path(name).resolve() == folder.resolve() for name in named)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
