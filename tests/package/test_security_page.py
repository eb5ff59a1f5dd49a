"""The page on security: it names tests that are there."""

from __future__ import annotations

import re

from tests.package.conftest import ROOT


def test_every_test_that_it_names_is_there() -> None:
    """Whoever doubts a row can run its test."""
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs" / "security.md").read_text())
    assert len(named) > 20
    for path, test in named:
        assert (ROOT / path).is_file(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(), test
