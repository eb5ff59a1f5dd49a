"""How this command line is called by whoever runs it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

__all__ = ["own_command"]


def own_command() -> str:
    """Return what a shell in this folder takes for `cloudia`: the name where PATH finds this one, else how it was started."""
    own = Path(sys.argv[0])
    if own.name != "cloudia":
        return f"{shlex.quote(Path(sys.executable).name)} -m cloudia"
    found = shutil.which("cloudia")
    if not own.exists() or (found and own.samefile(found)):
        return "cloudia"
    near = os.path.relpath(own)
    return shlex.quote(str(own) if near.startswith("..") else near)
