"""Make the README's pictures of the web page: a real stack, a real browser.

python docs/make_screenshots.py
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

IMAGES = Path(__file__).parent / "images"
WIDE, PHONE = {"width": 1120, "height": 720}, {"width": 390, "height": 720}
BOARD = {"width": 1280, "height": 840}
EARLIER = ("Why is the sky blue?", "A haiku about message queues", "What does idempotent mean?")


def cloudia(folder: str, *arguments: str) -> str:
    """Run a command in the stack's folder. Return what it printed."""
    command = [sys.executable, "-m", "cloudia", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=120).stdout


def say(page: Page, text: str, status: str) -> None:
    """Send a message, and wait for the end of its answer."""
    page.fill("#text", text)
    page.press("#text", "Enter")
    page.locator(f"section.turn:last-child article.assistant[data-status={status}]").wait_for(timeout=60_000)
    page.wait_for_timeout(300)  # Until the caret and the scroll bars are where they stay.


def pictures(page: Page, folder: str, url: str) -> None:
    """Take them all."""
    page.goto(url)
    page.wait_for_selector("#state[data-state=connected]")
    for text in EARLIER:
        say(page, text, "done")
        page.keyboard.press("Alt+KeyN")
    cloudia(folder, "chaos", "llm", "cut", "--count", "1")
    say(page, "Explain exponential back-off, with an example in Python", "done")
    page.evaluate("document.getElementById('log').scrollTop = 0")
    page.screenshot(path=IMAGES / "web.png")
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(600)  # The list slides away.
    page.screenshot(path=IMAGES / "web-phone.png")
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="light")
    cloudia(folder, "chaos", "llm", "500")
    page.keyboard.press("Alt+KeyN")
    say(page, "Is anybody there?", "failed")
    page.screenshot(path=IMAGES / "web-breaker.png")
    cloudia(folder, "chaos", "off")


def dashboard(page: Page, folder: str, url: str) -> None:
    """Take the dashboard's: how it is now, and a message that failed twice before it was answered."""
    page.goto(url)
    page.wait_for_selector("#state[data-state=connected]")
    for text in EARLIER:
        say(page, text, "done")
        page.keyboard.press("Alt+KeyN")
    page.set_viewport_size(BOARD)  # type: ignore[arg-type]
    page.goto(f"{url.partition('?')[0]}dashboard")
    page.locator("#parts tbody tr").first.wait_for()
    for burst in (1, 4, 9, 3, 6, 2):  # Something to draw lines through.
        lines = [json.dumps({"content": f"How does a queue keep order? {number}"}) for number in range(burst)]
        Path(folder, "burst.jsonl").write_text("\n".join(lines))
        cloudia(folder, "send", "--jsonl", "burst.jsonl")
        page.wait_for_timeout(2500)
    page.screenshot(path=IMAGES / "dashboard.png")
    cloudia(folder, "chaos", "llm", "500", "--count", "2")
    cloudia(folder, "send", "What is a dead letter?")
    page.get_by_role("link", name="Messages").click()
    page.locator("#messages tbody a").first.click()
    page.locator(".waterfall").wait_for()
    page.wait_for_timeout(300)
    page.screenshot(path=IMAGES / "dashboard-message.png")
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.screenshot(path=IMAGES / "dashboard-phone.png")


def main() -> None:
    """Take the pictures, each set on a stack of its own."""
    with_stack("breaker_errors = 1", pictures)
    prices = """prices = '{"sim-1": {"input": 0.25, "output": 2}}'"""
    with_stack(f"breaker_errors = 100\nquick_retry_seconds = 0\n{prices}", dashboard)


def with_stack(settings: str, take: Callable[[Page, str, str], None]) -> None:
    """Start a stack with these settings of its LLM, take pictures of it, and stop it."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        Path(folder, "cloudia.toml").write_text(f'[llm]\nmodel = "sim-1"\n{settings}\n')
        cloudia(folder, "up", "--detach")
        try:
            url = json.loads(cloudia(folder, "status", "--json"))["web_url"]
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            take(browser.new_page(viewport=WIDE), folder, url)  # type: ignore[arg-type]
            browser.close()
        finally:
            cloudia(folder, "down")


if __name__ == "__main__":
    main()
