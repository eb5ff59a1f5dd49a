"""The collector as a part of `up`: spans of all parts and of the user's own programs in one trace, drawn by `cloudia trace`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.local.collector import collected
from cloudia.telemetry import conventions as names
from tests.cli.provider import fault, quick
from tests.patience import HANGS
from tests.support import RunningStack, eventually, start_stack, stop_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

_BOT = """
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("my.bot")


async def answer(turn):
    parent = propagate.extract({"traceparent": turn.traceparent or ""})
    with tracer.start_as_current_span("look it up \\x1b[31m", parent):
        pass
    async for text in turn.llm.stream(turn.messages):
        yield text
"""
_SENDER = """
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
with provider.get_tracer("mine").start_as_current_span("from outside") as span:
    print(f"{span.get_span_context().trace_id:032x}")
provider.shutdown()
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack whose responder makes a span of its own."""
    folder = tmp_path_factory.mktemp("collected")
    (folder / "cloudia.toml").write_text('[worker]\nresponder = "bot:answer"\n')
    (folder / "bot.py").write_text(_BOT)
    stack = start_stack(folder)
    try:
        with quick(stack.run):
            yield stack
    finally:
        stop_stack(stack)


@pytest.fixture(scope="module")
def retried(own: RunningStack) -> dict[str, Any]:
    """A message that failed twice and was then answered, as `trace --json` tells it once it was delivered."""
    with fault(own.run, "status", status=500, count=4):  # Each attempt asks twice.
        sent = own.json("send", "hello")
    document: dict[str, Any] = own.json("trace", sent["job_id"], "--follow")
    return {"job_id": sent["job_id"], "document": document}


def _spans(document: Any) -> list[tuple[str, str]]:
    """Return service and name of each span."""
    return [
        (attribute["value"]["stringValue"], span["name"])
        for resource in document["resourceSpans"]
        for attribute in resource["resource"]["attributes"]
        if attribute["key"] == "service.name"
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def test_a_message_that_failed_twice_is_one_trace(retried: dict[str, Any]) -> None:
    """Function, worker and gateway have their spans in it, each attempt once, and what they lack is of the record."""
    document = retried["document"]
    spans = _spans(document)
    own = {service for service, name in spans if name != "look it up \x1b[31m"}
    assert own == {"cloudia", "cloudia-api", "cloudia-worker", "cloudia-gateway"}
    process = [name for _, name in spans if name.startswith("process ")]
    assert len(process) == 3
    assert [service for service, name in spans if name in {names.ACCEPT, names.DELIVER}] == [
        "cloudia-api",
        "cloudia-gateway",
    ]
    assert sum(name.startswith("chat ") for _, name in spans) == 5  # Two in each that failed.
    assert [name for service, name in spans if service == "cloudia"].count("back off") == 2
    ids = [
        (span["traceId"], span["spanId"])
        for resource in document["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    assert len({trace_id for trace_id, _ in ids}) == 1
    assert len(set(ids)) == len(ids)


def test_it_is_drawn(own: RunningStack, retried: dict[str, Any]) -> None:
    """The responder's own span stands below its attempt, and does nothing to the terminal; the delivery is the last line."""
    drawn = own.cli("trace", retried["job_id"]).stdout
    lines = drawn.splitlines()
    assert sum("look it up" in line for line in lines) == 3
    assert "\x1b" not in drawn
    assert [line.split()[0] for line in lines if line.startswith(("attempt", "back-off", "POST", "deliver"))] == [
        "POST", "attempt", "back-off", "attempt", "back-off", "attempt", "deliver",
    ]  # fmt: skip
    assert next(line for line in lines if "look it up" in line).startswith("  ")
    assert "hello" not in drawn


def test_any_program_sends_by_what_env_prints(own: RunningStack) -> None:
    """OpenTelemetry's SDK needs nothing but the variables; without the token nothing is taken."""
    variables = own.json("env")["variables"]
    told = {name: value for name, value in variables.items() if name.startswith("OTEL_")}
    assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == own.run["collector_url"]
    sent = subprocess.run(
        [sys.executable, "-c", _SENDER], env={**os.environ, **told}, capture_output=True, text=True, timeout=HANGS,
        check=True,
    )  # fmt: skip
    found = own.project.require_run()
    document = collected(own.project, found, sent.stdout.strip())
    assert document is not None
    assert [name for _, name in _spans(document)] == ["from outside"]
    nothing = dict(told, OTEL_EXPORTER_OTLP_HEADERS="")
    refused = subprocess.run(
        [sys.executable, "-c", _SENDER], env={**os.environ, **nothing}, capture_output=True, text=True, timeout=HANGS,
        check=True,
    )  # fmt: skip
    assert "401" in refused.stderr
    assert collected(own.project, found, refused.stdout.strip()) is None


async def test_the_collector_dies(own: RunningStack, retried: dict[str, Any]) -> None:
    """Messages are answered, and drawn from their record; it is started again with what it had."""
    pid = own.run["pids"]["collector"]
    os.kill(pid, signal.SIGSTOP)  # Neither dead nor answering.
    try:
        sent = own.json("send", "hello")
        assert "attempt 1" in own.cli("trace", sent["job_id"]).stdout
    finally:
        os.kill(pid, signal.SIGKILL)

    def again() -> bool:
        return len(_spans(own.json("trace", retried["job_id"]))) >= len(_spans(retried["document"]))

    await eventually(again)


def test_off(tmp_path_factory: pytest.TempPathFactory) -> None:
    """There is no such part, nothing is sent, and `trace` draws from the record; what is no word is refused."""
    folder = tmp_path_factory.mktemp("off")
    stack = start_stack(folder, "--otel", "off")
    try:
        assert "collector" not in stack.run["parts"]
        assert stack.run["collector_url"] == ""
        assert not [name for name in stack.json("env")["variables"] if name.startswith("OTEL_")]
        with quick(stack.run):
            sent = stack.json("send", "hello")
        drawn = stack.cli("trace", sent["job_id"], "--follow").stdout
        assert "attempt 1" in drawn
        assert "deliver" not in drawn
    finally:
        stop_stack(stack)
    assert stack.cli("up", "--otel", "maybe").returncode == 2
