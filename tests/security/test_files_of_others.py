"""Files of others: neither settings nor code is taken from a folder or a file that somebody else owns (CVE-2022-24765).

`mallory` prepares a folder where everybody can write, `victim` works in or below it.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from cloudia.errors import UsageError
from cloudia.local.owner import is_trusted, read_own
from cloudia.local.project import Project, find_project
from tests.security.users import User, shared_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MALLORY, _VICTIM = User("daemon"), User("nobody")
_VERBS = ["config", "status", "up --detach", "send hello", "token", "dlq list", "provision", "worker", "doctor"]


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder such as /tmp."""
    if os.geteuid() != 0:
        pytest.skip("only root can make files of others")
    with shared_folder() as folder:
        yield folder


def _code(shared: Path) -> str:
    """Return a module that leaves a mark where it is run."""
    mark = f"import pathlib; pathlib.Path({str(shared / 'ran')!r}).touch()\n"
    return f"{mark}async def answer(turn):\n    yield 'mine'\n"


def _refused(said: str, path: Path) -> None:
    """Hold that this is one sentence that names the file and who owns it, with the way out."""
    error, hint = said.splitlines()[:2]
    assert error == f"error: {path} belongs to {_MALLORY.name}, so it is not used"
    assert hint.startswith("hint: ")
    assert "CLOUDIA_SAFE_FOLDERS" in said


@pytest.mark.parametrize("verb", _VERBS)
def test_settings_above(verb: str, shared: Path) -> None:
    """A `cloudia.toml` of mallory's above the working folder configures nothing, whatever the verb; its code does not run."""
    _MALLORY.write(shared / "evil.py", _code(shared))
    planted = _MALLORY.write(
        shared / "cloudia.toml", '[worker]\nresponder = "evil:answer"\n[llm]\nmodel = "of-mallory"\n'
    )
    mine = _VICTIM.folder(shared / "mine")
    refused = _VICTIM.cloudia(*verb.split(), folder=mine, HOME="/nonexistent")
    assert (refused.returncode, refused.stdout) == (2, "")
    _refused(refused.stderr, planted)
    assert not (shared / "ran").exists()
    assert list(mine.iterdir()) == []


@pytest.mark.parametrize("name", [".env", "cloudia.toml"])
def test_files_right_here(name: str, shared: Path) -> None:
    """A file of mallory's in the working folder itself is not read either, also where it cannot be."""
    planted = _MALLORY.write(shared / name, "[llm]\nmodel = 'of-mallory'\n", mode=0o600)
    refused = _VICTIM.cloudia("config", "--json", folder=shared)
    assert (refused.returncode, refused.stdout) == (2, "")
    error = json.loads(refused.stderr)["error"]
    assert error["code"] == "not_yours"
    assert str(planted) in error["message"]


def test_a_state_of_others(shared: Path) -> None:
    """Somebody else's `.cloudia`, closed or open, holds no stack, no secret and no log of ours."""
    for mode in (0o700, 0o777):
        folder = _MALLORY.folder(shared / f"of-{mode}", mode=0o777)
        planted = _MALLORY.folder(folder / ".cloudia", mode=mode)
        _MALLORY.write(planted / "secrets.json", '{"token": "known", "session": "known"}')
        _MALLORY.write(planted / "run.json", "{}")
        for verb in ("token", "status", "logs", "up --detach"):
            refused = _VICTIM.cloudia(*verb.split(), folder=folder)
            assert (refused.returncode, refused.stdout) == (2, "")
            _refused(refused.stderr, folder)
        assert {path.name for path in planted.iterdir()} == {"secrets.json", "run.json"}


def test_a_link_to_a_file_of_ones_own(shared: Path) -> None:
    """A link that mallory has laid is mallory's, whatever it leads to."""
    mine = _VICTIM.write(shared / "kept.toml", "[llm]\nmodel = 'mine'\n")
    link = shared / "cloudia.toml"
    link.symlink_to(mine)
    os.lchown(link, _MALLORY.uid, -1)
    _refused(_VICTIM.cloudia("config", folder=shared).stderr, link)


def test_a_folder_of_others_with_a_file_of_ones_own(shared: Path) -> None:
    """Who owns the folder can put another file in the place of ours: it is not used."""
    folder = _MALLORY.folder(shared / "theirs", mode=0o777)
    _VICTIM.write(folder / "cloudia.toml")
    _refused(_VICTIM.cloudia("config", folder=folder).stderr, folder)


def test_code_beside_ones_own_settings(shared: Path) -> None:
    """Where everybody can put modules, none is run: not for the responder that one's own settings name."""
    _VICTIM.write(shared / "cloudia.toml", '[worker]\nresponder = "bot:answer"\n')
    _MALLORY.write(shared / "bot.py", _code(shared))
    assert _VICTIM.cloudia("config", folder=shared).returncode == 0  # The settings are one's own.
    for verb in (["up", "--detach"], ["worker", "--target", "aws"]):
        refused = _VICTIM.cloudia(*verb, folder=shared)
        assert refused.returncode == 2
        assert f"error: everybody can put code into {shared}, so none of it is run\n" in refused.stderr
    assert not (shared / "ran").exists()


def test_a_module_in_the_place_of_a_library(shared: Path) -> None:
    """`cloudia gateway` and `worker` begin without the working folder on the path: a `json.py` that lies there is not run."""
    for name in ("json.py", "boto3.py", "websockets.py"):
        _MALLORY.write(shared / name, _code(shared))
    ended = _VICTIM.cloudia("gateway", "--target", "aws", folder=shared)
    assert ended.stderr.startswith("cloudia at AWS")  # It went on from there, and ended without Redis.
    assert ended.returncode == 1
    assert not (shared / "ran").exists()


def test_it_can_be_allowed(shared: Path) -> None:
    """The variable names a folder that is used all the same: that one, and no file can set it."""
    _MALLORY.write(shared / "cloudia.toml", '[llm]\nmodel = "of-mallory"\n')
    _MALLORY.write(shared / ".env", f"CLOUDIA_SAFE_FOLDERS={shared}\n")
    refused = _VICTIM.cloudia("config", "--json", folder=shared)
    assert refused.returncode == 2
    for named, code in ((f"/nowhere{os.pathsep}{shared}", 0), (str(shared.parent), 2), ("*", 2), ("", 2)):
        shown = _VICTIM.cloudia("config", "--json", folder=shared, CLOUDIA_SAFE_FOLDERS=named)
        assert shown.returncode == code, named
        assert ("of-mallory" in shown.stdout) is (code == 0)


def test_ones_own_folder_below(shared: Path) -> None:
    """A project of one's own below a folder of everybody's is used, and so is one that root has made."""
    _MALLORY.write(shared / "cloudia.toml", '[llm]\nmodel = "of-mallory"\n')
    for number, owner in enumerate((_VICTIM, User("root"))):
        folder = owner.folder(shared / str(number))
        owner.write(folder / "cloudia.toml", '[llm]\nmodel = "mine"\n')
        owner.write(folder / ".env", "CLOUDIA_LLM_FALLBACK_MODEL=mine-too\n")
        shown = _VICTIM.cloudia("config", "--json", folder=folder)
        assert shown.returncode == 0, shown.stderr
        values = {row["name"]: row["value"] for row in json.loads(shown.stdout)["settings"]}
        assert (values["llm.model"], values["llm.fallback_model"]) == ("mine", "mine-too")


def test_root_and_sudo(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root does not use a user's project, unless that user called sudo."""
    folder = _VICTIM.folder(shared / "mine")
    _VICTIM.write(folder / "cloudia.toml", '[llm]\nmodel = "mine"\n')
    for caller in (None, str(_MALLORY.uid), "", "²"):
        monkeypatch.delenv("SUDO_UID", raising=False)
        if caller is not None:
            monkeypatch.setenv("SUDO_UID", caller)
        with pytest.raises(UsageError, match=f"belongs to {_VICTIM.name}"):
            find_project(folder)
    monkeypatch.setenv("SUDO_UID", str(_VICTIM.uid))
    assert find_project(folder).settings().settings.llm_model == "mine"


@pytest.mark.parametrize(
    ("owner", "user", "sudo_user", "trusted"),
    [
        (1000, 1000, None, True),
        (0, 1000, None, True),
        (0, 0, None, True),
        (1001, 1000, None, False),
        (1001, 1000, 1001, False),
        (1000, 0, None, False),
        (1000, 0, 1000, True),
        (1001, 0, 1000, False),
    ],
)
def test_who_is_trusted(owner: int, user: int, sudo_user: int | None, trusted: bool) -> None:
    """Oneself, root, and for root alone who called sudo: anybody can set the variable of sudo for themselves."""
    assert is_trusted(owner, user=user, sudo_user=sudo_user) is trusted


def test_a_file_that_has_just_become_anothers(shared: Path) -> None:
    """What is opened is what is asked about: a file that was put there after the folder was looked at is not read."""
    project = find_project(shared)
    _MALLORY.write(shared / "cloudia.toml", "[llm]\nmodel = 'of-mallory'\n")
    _MALLORY.write(shared / ".env", "CLOUDIA_LLM_MODEL=of-mallory\n")
    for name in ("cloudia.toml", ".env"):
        with pytest.raises(UsageError, match=f"{name} belongs to {_MALLORY.name}"):
            read_own(shared / name)
    with pytest.raises(UsageError, match="belongs to"):
        project.settings()
    _MALLORY.folder(shared / ".cloudia")
    with pytest.raises(UsageError, match=r"\.cloudia belongs to"):
        Project(shared).secrets()


def test_the_pytest_plugin(shared: Path) -> None:
    """The fixtures' stack is not that of somebody else's project, found above or named; its code does not run."""
    _MALLORY.write(shared / "evil.py", _code(shared))
    planted = _MALLORY.write(shared / "cloudia.toml", '[worker]\nresponder = "evil:answer"\n')
    mine = _VICTIM.folder(shared / "mine")
    _VICTIM.write(mine / "test_it.py", "def test_it(cloudia_client):\n    cloudia_client.ask('hello')\n")
    for ini in ("", f"cloudia_project = {shared}"):
        _VICTIM.write(mine / "pytest.ini", f"[pytest]\n{ini}\n")
        done = _VICTIM.run("-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", folder=mine, HOME="/nonexistent")
        assert done.returncode == 1
        assert f"cloudia's stack did not start: {planted} belongs to {_MALLORY.name}, so it is not used" in done.stdout
    assert not (shared / "ran").exists()
