"""What the user names is written to, and stays what it is: a link, a pipe, a device, a file with its mode."""

from __future__ import annotations

import os
import resource
import signal
import stat
import threading
from pathlib import Path

import pytest

from cloudia.given_file import write_given

_TEXT = "Grüße 👋\n"


def test_a_new_file_is_its_owners(tmp_path: Path) -> None:
    """It is made, as UTF-8, for nobody else to read."""
    write_given(tmp_path / "new", _TEXT)
    assert (tmp_path / "new").read_bytes() == _TEXT.encode()
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


@pytest.mark.parametrize("before", ["", "short", "what was there is longer than what is written\n" * 9])
def test_a_file_keeps_its_mode(before: str, tmp_path: Path) -> None:
    """Its content is replaced as a whole; its mode, and its other name, stay."""
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_text(before)
    file.chmod(0o644)
    other.hardlink_to(file)
    write_given(file, _TEXT)
    assert other.read_text(encoding="utf-8") == _TEXT
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed(there: bool, tmp_path: Path) -> None:
    """It stays a link, also where nothing was at its other end."""
    if there:
        (tmp_path / "target").touch()
    (tmp_path / "link").symlink_to("target")
    write_given(tmp_path / "link", _TEXT)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text(encoding="utf-8") == _TEXT


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    """Whoever reads it gets all of it, and it stays a pipe."""
    pipe, text = tmp_path / "pipe", _TEXT * 20_000
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text(encoding="utf-8")))
    reader.start()
    write_given(pipe, text)
    reader.join()
    assert read == [text]
    assert pipe.is_fifo()


def test_a_device_is_written_into() -> None:
    """Such as a terminal, or `/dev/fd/3`."""
    ours, theirs = os.openpty()
    try:
        write_given(Path(os.ttyname(theirs)), "hello\n")
        assert os.read(ours, 100) == b"hello\r\n"
        assert Path(os.ttyname(theirs)).is_char_device()
    finally:
        os.close(ours)
        os.close(theirs)


def test_without_room_nothing_is_lost(tmp_path: Path) -> None:
    """A file that cannot grow to what is to be written keeps what it had."""
    file = tmp_path / "file"
    file.write_text("the letters of yesterday\n")
    before, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_given(file, "x" * 8192)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert file.read_text() == "the letters of yesterday\n"


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A folder, and a path that leads nowhere, are errors of the system that name the path."""
    for path in (tmp_path, tmp_path / "absent" / "file"):
        with pytest.raises(OSError, match=path.name):
            write_given(path, _TEXT)
