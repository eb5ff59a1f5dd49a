"""`docs/cli.md` is what the code says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from cloudia.cli import exits
from cloudia.cli.exits import exit_code
from cloudia.cli.main import verbs
from cloudia.errors import CloudiaError
from tests.doc_scripts import doc_script

_made = doc_script("make_cli")


def test_the_page_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python docs/make_cli.py` would change nothing."""
    assert _made.PAGE.read_text() == _made.page(), "run `python docs/make_cli.py`"
    monkeypatch.setattr("sys.argv", ["make_cli.py", "--check"])
    assert _made.main() == 0


def test_a_stale_page_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is missing or differs is not current, and is made."""
    monkeypatch.setattr(_made, "PAGE", tmp_path / "cli.md")
    monkeypatch.setattr("sys.argv", ["make_cli.py", "--check"])
    assert _made.main() == 1
    (tmp_path / "cli.md").write_text("old")
    assert _made.main() == 1
    monkeypatch.setattr("sys.argv", ["make_cli.py"])
    assert _made.main() == 0
    assert (tmp_path / "cli.md").read_text() == _made.page()


def test_every_verb_has_its_section() -> None:
    """Each verb has a section with its options and an example, and the index leads to it."""
    text = _made.PAGE.read_text()
    for name, command in verbs().items():
        section = text.partition(f"\n## cloudia {name}\n")[2].partition("\n## ")[0]
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert all(f"`{option}`" in section for option in parameter.opts if option not in {"--help", "-h"})
        assert f"cloudia {name}" in section
        assert "Exit codes: 0, 1, 2, " in section
        assert f"(#cloudia-{name.replace(' ', '-')})" in text
    assert set(_made.EXAMPLES) == set(verbs())


@pytest.mark.parametrize("example", sorted({line for lines in _made.EXAMPLES.values() for line in lines}))
def test_an_example_is_a_command(example: str) -> None:
    """Every example is one that the command line takes."""
    command = next(part for part in re.split(r"[|>]", example) if "cloudia " in part)
    words = shlex.split(command)[1:]
    known = verbs()
    name = next(" ".join(words[:length]) for length in (2, 1) if " ".join(words[:length]) in known)
    known[name].make_context(name, words[len(name.split()) :])


def test_the_exit_codes_are_those_of_the_code() -> None:
    """The page names every exit code that an error can have."""

    def kinds(kind: type[CloudiaError]) -> set[type[CloudiaError]]:
        return {kind}.union(*(kinds(inner) for inner in kind.__subclasses__()))

    codes = {exit_code(kind("")) for kind in kinds(CloudiaError)}
    assert set(_made.EXIT_CODES) == codes | {exits.OK, exits.FAILED, exits.USAGE, exits.INTERRUPTED}
