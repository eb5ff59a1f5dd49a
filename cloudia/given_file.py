"""Writing to a path that the user gave: whatever is there stays what it is."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_given"]


def write_given(path: Path, text: str) -> None:
    """Write `text` as UTF-8 where a path leads: through links, into a device or a pipe, into a file that keeps its mode.

    A new file is readable by its owner only. `OSError` where it cannot be written; a disk without room for it is noticed
    before what the file holds is touched.
    """
    data = text.encode()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOCTTY, 0o600), "wb") as file:
        held = os.fstat(file.fileno())
        if not stat.S_ISREG(held.st_mode):
            file.write(data)
            return
        try:
            if data and hasattr(os, "posix_fallocate"):  # macOS has none.
                os.posix_fallocate(file.fileno(), 0, len(data))
        except OSError:
            file.truncate(held.st_size)
            raise
        file.write(data)
        file.truncate(len(data))
