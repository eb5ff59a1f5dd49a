"""The environment of each part: what it reads, what the user's own code may want, and no secret that is another part's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cloudia.settings import SETTINGS, to_environment

if TYPE_CHECKING:
    from cloudia.settings import Reader, Settings

__all__ = ["inherited", "of_reader"]


def of_reader(settings: Settings, *readers: Reader) -> dict[str, str]:
    """Return the variables of a part of cloudia's own: of the settings what these readers read, and what is `inherited`.

    A secret that these settings leave out is not inherited either.
    """
    given = to_environment(settings, *readers)
    left_out = {
        variable
        for setting in SETTINGS.values()
        if setting.secret and setting.variables[0] not in given
        for variable in setting.variables
    }
    own = {
        name: value
        for name, value in inherited(*readers).items()
        if not name.startswith("CLOUDIA_") and name not in left_out
    }
    return own | given


def inherited(*readers: Reader) -> dict[str, str]:
    """Return this process's environment without the settings that others alone read: the gateway needs no key of an LLM."""
    others = {
        variable
        for setting in SETTINGS.values()
        if not set(readers) & set(setting.readers)
        for variable in setting.variables
    }
    return {name: value for name, value in os.environ.items() if name not in others}
