"""Changing a job before it is redriven: `--set NAME=VALUE`, or a TOML file in the user's editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from cloudia.errors import CloudiaError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudia.operate.dead_letters import Edit
    from cloudia.protocol import QueuedJob

__all__ = ["edit_job", "parse_sets"]

_NAMES = ("content", "model")


def parse_sets(pairs: Sequence[str], *, max_content_bytes: int) -> Edit:
    """Return the edit that `content=…` and `model=…` are. `UsageError` names what is neither."""
    from cloudia.operate.edits import checked_edit  # noqa: PLC0415 - lazy

    wanted: dict[str, object] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or name not in _NAMES:
            raise UsageError(
                f"--set {name[:32]!r} cannot be set", hint="--set content='the new text' or --set model=NAME."
            )
        wanted[name] = value
    return checked_edit(wanted, max_content_bytes=max_content_bytes)


def edit_job(job: QueuedJob, *, max_content_bytes: int) -> Edit:
    """Let the user change a job in `$VISUAL` or `$EDITOR`. Raises where nobody is there, or the editor fails."""
    from cloudia.operate.edits import checked_edit  # noqa: PLC0415 - lazy

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("--edit needs a terminal", hint="Without one, use --set content='the new text'.")
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="cloudia-edit-") as folder:
        path = Path(folder) / f"{job.job_id}.toml"
        path.write_text(_to_toml(job), encoding="utf-8")
        path.chmod(0o600)
        try:
            done = subprocess.run([*command, str(path)], check=False)
        except OSError as error:
            raise CloudiaError(
                f"the editor {command[0]!r} did not start: {error.strerror}", hint="Set EDITOR, or use --set."
            ) from error
        if done.returncode != 0:
            raise CloudiaError(f"the editor ended with {done.returncode}; nothing was redriven")
        try:
            wanted = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise CloudiaError(f"what was saved is not TOML: {error}", hint="Nothing was redriven.") from error
    if not wanted:
        raise CloudiaError("nothing was saved", hint="Nothing was redriven.")
    unknown = sorted(set(wanted) - set(_NAMES))
    if unknown:
        raise UsageError(f"{unknown[0][:32]!r} cannot be changed", hint="Only content and model can.")
    if wanted.get("model") == "":
        del wanted["model"]
    return checked_edit(wanted, max_content_bytes=max_content_bytes)


def _to_toml(job: QueuedJob) -> str:
    """Return the file to edit. The text is a multi-line string in which what TOML cannot hold as it is stands escaped."""
    text = job.content.replace("\\", "\\\\").replace('"""', '""\\"')
    text = "".join(char if char.isprintable() or char in "\n\t" else _escaped(char) for char in text)
    if text.endswith('"'):
        text = f'{text[:-1]}\\"'
    return (
        f"# {job.job_id} of {job.user_id}: it is redriven as it is saved here.\n"
        f"# To break off, save an empty file.\n\n"
        f"# Another model than the configured one; empty leaves it as it is.\n"
        f'model = "{job.model or ""}"\n\n'
        f'content = """\n{text}"""\n'
    )


def _escaped(char: str) -> str:
    return f"\\U{ord(char):08x}"
