"""Attackers: a page of another origin in a real browser, and another user of the machine."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.security.pages import foreign_site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from playwright.async_api import Page

_ACCOUNTS = Path("/tmp/cloudia-tests-accounts.lock")


@pytest_asyncio.fixture
async def foreign_page() -> AsyncIterator[Page]:
    """A page of another origin, in Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page()
        with foreign_site() as url:
            await page.goto(url)
            yield page
        await browser.close()


@pytest.fixture(scope="session")
def guest() -> Iterator[str]:
    """A user of this machine who was made for these tests, and is gone after them."""
    if os.geteuid() != 0 or not shutil.which("useradd"):
        pytest.skip("only root can make another user, with useradd")
    name = f"cloudia-guest-{os.getpid()}"
    with _ACCOUNTS.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Whoever finds them locked gives up at once.
        subprocess.run(["useradd", "--system", "--no-create-home", name], check=True, capture_output=True)
    yield name
    with _ACCOUNTS.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["userdel", name], check=True, capture_output=True)


@pytest.fixture
def as_another_user(guest: str) -> Callable[..., str]:
    """Run Python code as another user of this machine, with arguments, and return what it printed."""
    python, setpriv = shutil.which("python3", path="/usr/bin:/usr/local/bin"), shutil.which("setpriv")
    if not python or not setpriv:
        pytest.skip("becoming another user takes setpriv, and a Python that all may run")

    def run(code: str, *arguments: str) -> str:
        command = [
            setpriv,
            f"--reuid={guest}",
            "--regid=nogroup",
            "--clear-groups",
            python,
            "-I",
            "-c",
            code,
            *arguments,
        ]
        done = subprocess.run(command, cwd="/", env={}, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
