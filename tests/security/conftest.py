"""Attackers: a page of another origin in a real browser, and another user of the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.security.pages import foreign_site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from playwright.async_api import Page

_NOBODY = "65534"


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


@pytest.fixture
def as_another_user() -> Callable[[str], str]:
    """Run Python code as another user of this machine, and return what it printed."""
    python, setpriv = shutil.which("python3", path="/usr/bin:/usr/local/bin"), shutil.which("setpriv")
    if os.geteuid() != 0 or not python or not setpriv:
        pytest.skip("only root can become another user, with setpriv and a Python that all may run")

    def run(code: str) -> str:
        command = [setpriv, f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", python, "-I", "-c", code]
        return subprocess.run(command, cwd=Path("/"), env={}, check=True, capture_output=True, text=True).stdout

    return run
