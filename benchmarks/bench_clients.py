"""How quickly the two clients show what they have: the TUI in a terminal, and the web page in Chromium.

    python benchmarks/bench_clients.py [--tui | --page]

For each: the first frame of a conversation of 2,000 messages after it was chosen. Then an answer of 1,500 tokens at 100
tokens/s, with paragraphs and code: the time from an event's arrival at the client to the moment at which its last word is on
the screen (its bytes have left the terminal; its frame is painted), and the share of a core that the client's processes take
meanwhile.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from cloudia import ids
from cloudia.client import Client
from cloudia.client.stream import EventStream
from cloudia.cloud.aws import Aws
from cloudia.cloud.identity import issue_token
from cloudia.cloud.items import to_item
from cloudia.local.chaos import Chaos
from cloudia.local.project import Project
from cloudia.stack import Stack
from cloudia.testing.llm import ScriptedLLM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from cloudia.protocol import Event
    from cloudia.settings import Settings

CLI = [sys.executable, "-m", "cloudia"]
TURNS = 1000
OPENINGS = 5
TOKENS_PER_SECOND = 100
WORDS = 1500
COLUMNS, ROWS = 100, 30
WORD = re.compile(r"w\d{4}")
LAST = f"w{WORDS - 1:04d}"


def show(name: str, openings: list[float], lags: list[float], cpu: float) -> None:
    """Print one row."""
    lags.sort()
    opened = [seconds * 1000 for seconds in openings]
    lag = [seconds * 1000 for seconds in lags]
    print(
        f"{name:<5} first frame median {statistics.median(opened):.0f} ms, worst {max(opened):.0f} ms   {len(lag)} events   "
        f"lag p50 {statistics.median(lag):.0f} ms, p99 {lag[int(len(lag) * 0.99)]:.0f} ms   {cpu * 100:.0f} % of a core"
    )


def answer() -> str:
    """Return an answer of words that are all different: paragraphs, and a block of code after every other one."""
    blocks = []
    for start in range(0, WORDS, 50):
        words = [f"w{number:04d}" for number in range(start, start + 50)]
        code = start % 100 == 50
        blocks.append(
            "```python\n" + "\n".join(map(" ".join, zip(*[iter(words)] * 10, strict=True))) + "\n```"
            if code
            else " ".join(words)
        )
    return "\n\n".join(blocks)


def script_answer(run: dict[str, Any]) -> None:
    """Have the simulated LLM give that answer next."""
    with ScriptedLLM(run["llm_url"], Project(Path(run["project"])).secrets().control) as llm:
        llm.reply(answer())


def long_conversation(settings: Settings, turns: int) -> str:
    """Put a conversation of the user `local` into a stack's tables. Return its id."""
    aws, stack = Aws(settings), Stack(settings.stack_name)
    conversation_id, now, message_id, rows = ids.conversation_id(), ids.now(), None, []
    for number in range(turns):
        job_id, message_id = ids.turn_ids(message_id)
        base = {"conversation_id": conversation_id, "created_at": now, "job_id": job_id}
        text = f"Answer **{number}**\n\n- one\n- two\n\n```python\nprint({number})\n```\n\nAnd so on: end{number:04d}."
        rows.append({**base, "message_id": message_id, "role": "user", "content": f"question {number}"})
        rows.append(
            {**base, "message_id": ids.reply_id(message_id), "role": "assistant", "content": text, "status": "done"}
        )
    for start in range(0, len(rows), 25):
        puts: Any = [{"PutRequest": {"Item": to_item(row)}} for row in rows[start : start + 25]]
        aws.dynamodb.batch_write_item(RequestItems={stack.messages.name: puts})
    owned = {"user_id": "local", "conversation_id": conversation_id, "title": "A very long one"}
    row = to_item({**owned, "created_at": now, "updated_at": now, "last_message_id": message_id})
    aws.dynamodb.put_item(TableName=stack.conversations.name, Item=row)
    return conversation_id


def lags_of(arrived: Iterable[tuple[float, str]], shown: dict[str, float]) -> list[float]:
    """Return, for each event, how long after its arrival the last whole word that it brought was shown."""
    text, lags, seen = "", [], ""
    for at, piece in arrived:
        text = text[-10:] + piece
        words = WORD.findall(text)
        if words and words[-1] > seen:
            seen = words[-1]
            lags.append(shown[seen] - at)
    return lags


# --- the TUI ----------------------------------------------------------------------------------------------------------


class TimedStream(EventStream):
    """A stream that notes when each text arrived."""

    notes: Path

    async def events(self) -> AsyncIterator[Event]:
        """Yield the events, each after it was noted."""
        with self.notes.open("w", buffering=1) as notes:
            async for event in super().events():
                if event.type == "delta":
                    notes.write(json.dumps([time.monotonic(), (event.data or {})["text"]]) + "\n")
                yield event


def run_tui(folder: Path, conversation_id: str) -> None:
    """Be the chat, in the terminal that this process has. SIGUSR1 chooses the conversation."""
    from cloudia.tui.app import ChatApp  # noqa: PLC0415
    from cloudia.tui.preferences import Preferences  # noqa: PLC0415

    run, token = Project(folder).require_run(), issue_token(Project(folder).secrets().token, "local")

    def client() -> Client:
        made = Client(run.urls.api_url, run.urls.websocket_url, token)
        made.stream = TimedStream(run.urls.websocket_url, token)
        made.stream.notes = folder / "arrived"

        def choose() -> None:
            app.screen.call_later(app.screen._load, conversation_id)  # type: ignore[attr-defined]  # noqa: SLF001

        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, choose)
        return made

    app = ChatApp(client, preferences=Preferences(folder / "tui.json"))
    app.run()


_NEW = "\x0e"
"""Ctrl+N."""


class Terminal:
    """A terminal with the chat in it; it notes when a word was first seen."""

    def __init__(self, folder: Path, conversation_id: str) -> None:
        self.pid, self._fd = pty.fork()
        if not self.pid:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
            command = [sys.executable, __file__, "--run-tui", str(folder), conversation_id]
            os.execv(sys.executable, command)  # noqa: S606
        self.shown: dict[str, float] = {}
        self._tail = ""

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._fd, keys.encode())

    def until(self, wanted: str, *, seconds: float = 60) -> float:
        """Read until a text is shown. Return when that was."""
        self._tail, deadline = "", time.monotonic() + seconds
        while time.monotonic() < deadline:
            if select.select([self._fd], [], [], 0.5)[0]:
                piece, now = os.read(self._fd, 1 << 20).decode(errors="replace"), time.monotonic()
                self._tail = self._tail[-200:] + piece
                for word in WORD.findall(self._tail):
                    self.shown.setdefault(word, now)
                if wanted in self._tail:
                    return now
        raise TimeoutError(wanted)

    def quiet(self, seconds: float = 0.5) -> None:
        """Read until nothing comes for a while but the clock's ticks."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self._fd], [], [], 0.05)[0]:
                os.read(self._fd, 1 << 20)

    def close(self) -> None:
        """Leave the chat."""
        os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)
        os.close(self._fd)


def bench_tui(folder: Path, run: dict[str, Any], conversation_id: str) -> None:
    """Measure the TUI."""
    terminal = Terminal(folder, conversation_id)
    try:
        terminal.until("connected")
        openings = []
        for _ in range(OPENINGS):
            terminal.quiet()
            began = time.monotonic()
            os.kill(terminal.pid, signal.SIGUSR1)
            openings.append(terminal.until(f"end{TURNS - 1:04d}") - began)
            terminal.quiet()
            terminal.press(_NEW)
            terminal.until("A new conversation")
        script_answer(run)
        terminal.press("count\r")
        process = psutil.Process(terminal.pid)
        first = terminal.until("w0000")
        before = sum(process.cpu_times()[:2])
        last = terminal.until(LAST)
        cpu = (sum(process.cpu_times()[:2]) - before) / (last - first)
    finally:
        terminal.close()
    arrived = [tuple(json.loads(line)) for line in (folder / "arrived").read_text().splitlines()]
    show("TUI", openings, lags_of(arrived, terminal.shown), cpu)


# --- the page ---------------------------------------------------------------------------------------------------------

_LISTEN = """
window.arrived = [], window.painted = {};
const Plain = WebSocket;
window.WebSocket = class extends Plain {
    constructor(...given) {
        super(...given);
        this.addEventListener("message", ({ data }) => {
            const at = performance.now(), event = JSON.parse(data);
            if (event.type === "delta") arrived.push([at, event.text]);
        });
    }
};
let seen = "";
const channel = new MessageChannel();
channel.port1.onmessage = ({ data }) => data.forEach(word => (window.painted[word] ??= performance.now()));
const look = () => {
    requestAnimationFrame(look);
    const bodies = document.querySelectorAll("article.assistant .body");
    const text = bodies.length ? bodies[bodies.length - 1].textContent.slice(-2000) : "";
    const fresh = (text.match(/w\\d{4}/g) ?? []).filter(word => word > seen);
    if (!fresh.length) return;
    seen = fresh.at(-1);
    channel.port2.postMessage(fresh);  // It comes after this frame is painted.
};
requestAnimationFrame(look);
"""
_OPEN = """id => new Promise(done => {
    const began = performance.now();
    const drawn = () => setTimeout(() => done(performance.now() - began));
    const look = () => requestAnimationFrame(document.querySelector("article.assistant") ? drawn : look);
    location.hash = id;
    look();
})"""


def browser_cpu() -> float:
    """Return the seconds of CPU that the browser's processes took so far."""
    processes = [each for each in psutil.Process().children(recursive=True) if "chrom" in each.name()]
    return sum(sum(each.cpu_times()[:2]) for each in processes)


async def bench_page(run: dict[str, Any], conversation_id: str) -> None:
    """Measure the page."""
    from playwright.async_api import async_playwright  # noqa: PLC0415

    async with async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        page = await browser.new_page(viewport={"width": 1120, "height": 720})
        await page.add_init_script(_LISTEN)
        await page.goto(run["web_url"])
        await page.wait_for_selector("#state[data-state=connected]")
        openings = []
        for _ in range(OPENINGS):
            await page.evaluate("location.hash = ''; document.getElementById('new').click()")
            await page.wait_for_timeout(300)
            openings.append(await page.evaluate(_OPEN, conversation_id) / 1000)
        await page.evaluate("document.getElementById('new').click()")
        script_answer(run)
        await page.fill("#text", "count")
        await page.press("#text", "Enter")
        await page.wait_for_function("() => window.painted.w0000", timeout=30_000)
        began, before = time.monotonic(), browser_cpu()
        await page.wait_for_function(f"() => window.painted.{LAST}", timeout=60_000, polling=500)
        cpu = (browser_cpu() - before) / (time.monotonic() - began)
        arrived, painted = await page.evaluate("[window.arrived, window.painted]")
        await browser.close()
    lags = lags_of(arrived, painted)
    show("page", openings, [lag / 1000 for lag in lags], cpu)


def main() -> None:
    """Start a stack, measure, stop it."""
    if "--run-tui" in sys.argv:
        run_tui(Path(sys.argv[-2]), sys.argv[-1])
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out = subprocess.run([*CLI, "up", "--detach", "--json"], cwd=folder, check=True, capture_output=True, text=True)
        run = json.loads(out.stdout)
        try:
            conversation_id = long_conversation(Project(folder).settings_of(Project(folder).require_run()), TURNS)
            Chaos(Project(folder).require_run()).set_pace(ttft=0.2, tps=TOKENS_PER_SECOND, seed=0)
            if "--page" not in sys.argv:
                bench_tui(folder, run, conversation_id)
            if "--tui" not in sys.argv:
                asyncio.run(bench_page(run, conversation_id))
        finally:
            subprocess.run([*CLI, "down"], cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    main()
