"""A function of the user's own that a setting names `module:function`: found and imported."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudia.errors import UsageError

if TYPE_CHECKING:
    from cloudia.codes import ErrorCode

__all__ = ["load_function"]


def load_function(setting: str, name: str, *, what: str, example: str, code: ErrorCode) -> Any:
    """Return what `module:function` names; modules of the working folder are found too.

    `setting` is where the name stands (`worker.responder`), `what` it is to be (`responder`), `example` the hint.
    `UsageError` (of this `code`) where there is none, or its module fails to load.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise UsageError(f"{setting} {name!r} is not module:function", hint=example, code=code)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # Last, so that no file of a project hides a library.
    try:
        return getattr(importlib.import_module(module_name), function_name)
    except Exception as error:
        raise UsageError(
            f"the {what} {name} cannot be loaded: {type(error).__name__}: {error}", hint=example, code=code
        ) from error
