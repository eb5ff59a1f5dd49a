"""Recording in the foreground: what `cloudia llm record` runs until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cloudia.cli.output import STATE, note, print_json
from cloudia.given_file import write_given
from cloudia.sim.llm.access import NoPages
from cloudia.sim.llm.recorder import Recorder
from cloudia.sim.llm.recording import Recording
from cloudia.sim.llm.server import Server, listen
from cloudia.worker.providers.trust import trusting

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from pathlib import Path

    from cloudia.sim.llm.recording import Heard

__all__ = ["record_case"]


def record_case(file: Path, provider: str, *, text: bool, port: int, ca_bundle: str) -> int:
    """Record what the provider at a URL sends, until Ctrl-C. Return how many answers were kept."""
    return asyncio.run(_record(file, provider, text=text, port=port, verify=trusting(ca_bundle)))


async def _record(file: Path, provider: str, *, text: bool, port: int, verify: ssl.SSLContext | bool) -> int:
    parts = urlsplit(provider)
    recording = Recording(file.stem, f"Recorded from {parts.hostname}.", text=text)

    def keep(heard: Heard) -> None:
        if recording.add(heard):
            write_given(file, json.dumps(recording.to_json(), indent=1) + "\n")
            note(f"{recording.answers} answers are kept")
        else:
            note("an answer is too much, or compressed, which only --text keeps: it is not kept")

    def say(said: Mapping[str, Any]) -> None:
        asked = parts._replace(scheme="http", netloc=urlsplit(said["url"]).netloc).geturl()
        if STATE.json:
            print_json({"event": said["event"], "url": asked})
        else:
            note(
                f"recording: {asked} stands for the provider in `cloudia up --llm` or any other client; Ctrl-C ends it"
            )

    listener = listen("127.0.0.1", port)
    recorder = Recorder(provider, keep, note, verify=verify)
    # uvicorn raises the signal once more when it has stopped; without a handler that would be no clean exit.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        await Server(NoPages(recorder, "127.0.0.1"), listener, say).serve(sockets=[listener])
    finally:
        await recorder.aclose()
    return recording.answers
