"""What a slow start tells whoever waits for it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

__all__ = ["sayer"]


def sayer(config: pytest.Config) -> Callable[[str], None]:
    """Return a function that writes a line to pytest's terminal, past its capturing; silent where there is none."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    capture = config.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        if reporter is None:  # As in a worker of pytest-xdist.
            return
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            reporter.ensure_newline()
            reporter.write_line(f"cloudia: {text}")
            reporter.flush()

    return say
