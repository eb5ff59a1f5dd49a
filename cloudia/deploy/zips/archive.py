"""A zip whose bytes follow from its content alone: names in order, no times, no owners. No I/O."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["archive"]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can tell
_UNIX = 3
_READABLE = 0o100644  # Lambda runs as another user: https://docs.aws.amazon.com/lambda/latest/dg/python-package.html


def archive(files: Mapping[str, bytes]) -> bytes:
    """Return the zip of files by their names, which have forward slashes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = _UNIX
            entry.external_attr = _READABLE << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, files[name])
    return buffer.getvalue()
