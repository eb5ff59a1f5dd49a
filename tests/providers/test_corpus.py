"""The corpus of what providers have been seen to do, played by the simulated provider to the worker's LLM, over real HTTP.

docs/provider-cases.md says what is in a case. `own/` holds others, which are of servers that the corpus has not met.
"""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloudia import ids
from cloudia.errors import UsageError
from cloudia.protocol import Message, QueuedJob, told_usage
from cloudia.settings import Layer, from_toml, resolve
from cloudia.sim.llm.corpus import corpus
from cloudia.stack import Stack
from cloudia.worker import Tool
from cloudia.worker.context import chat_messages
from cloudia.worker.cost import usage_of
from cloudia.worker.failures import Fail, Failure, Retry, decide, describe
from cloudia.worker.providers.base import Unsaid
from cloudia.worker.routes import make_llm
from tests.sim.llm.conftest import Server, started, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloudia.worker.llm import Llm, LlmCall
    from cloudia.worker.providers.base import Piece

JsonObject = dict[str, Any]

CASES = {case["name"]: case for case in corpus()}
OWN = {
    path.stem: json.loads(path.read_text("utf-8")) for path in sorted((Path(__file__).parent / "own").glob("*.json"))
}
WHOLE_WORKER = {"openai-proxy-variable-set"}
"""What only a whole stack can show."""
BASE = {
    "llm.model": "corpus-model",
    "llm.first_token_seconds": 3,
    "llm.gap_seconds": 3,
    "llm.breaker_errors": 10_000,
    "llm.breaker_window_seconds": 3600,
    "worker.max_attempts": 2,
    "openai.api_key": "sk-corpus",
    "anthropic.api_key": "sk-corpus",
}


@pytest.fixture(autouse=True)
def no_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare each client the 0.1 s that it takes to load certificates: nothing here is encrypted."""
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with started(tmp_path_factory.mktemp("provider") / "stderr.log") as server:
        yield server


class Nothing:
    """Parameters that hold nothing."""

    def get(self, _parameter: object) -> None:
        return None


async def add(a: int, b: int) -> str:
    return f"{a}+{b}={a + b}"


async def write(text: str) -> str:
    return f"{len(text.split())} words"


def tool(call: Any, **kinds: str) -> Tool:
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in kinds.items()},
        "required": [*kinds],
    }
    return Tool(call.__name__, call.__name__, schema, call)


TOOLS = (tool(add, a="integer", b="integer"), tool(write, text="string"))


@dataclass
class Outcome:
    """What came of a turn."""

    status: str
    reply: str
    call: LlmCall
    failure: Failure | None = None


def settings_of(case: JsonObject, url: str) -> tuple[Any, bool]:
    """Return the settings of a case, and whether its responder has tools."""
    with socket.create_server(("127.0.0.1", 0)) as closed:  # A port where nothing listens.
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}"
    values: dict[str, Any] = {**BASE, **case.get("settings", {})}
    values = {name: value for name, value in values.items() if value is not None}
    values = {
        name: value.replace("{root}", url).replace("{dead}", dead) if isinstance(value, str) else value
        for name, value in values.items()
    }
    api = case["api"]
    for each, path in (("openai", "/v1"), ("anthropic", "")):
        values.setdefault(f"{each}.base_url", url + path)
    chosen = values.pop("up.llm", None)
    values |= {"llm.provider": api} | ({"openai.base_url": chosen} if chosen else {})
    tools = values.pop("worker.responder", None) is not None
    document: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        table, _, key = name.partition(".")
        document.setdefault(table, {})[key] = value
    return resolve(from_toml("case", document), Layer("none", {})).settings, tools


async def answered(llm: Llm, settings: Any, job_id: str, messages: Sequence[Any], *, tools: bool) -> Outcome:
    """Return what comes of a message: attempts are made as a worker makes them, and waited for as it waits."""
    for attempt in range(1, settings.worker_max_attempts + 1):
        call = llm.call(job_id=job_id, attempt=attempt)
        said: list[str] = []

        def heard(piece: Piece, said: list[str] = said) -> None:
            if isinstance(piece, Unsaid):
                said[:] = ["".join(said).removesuffix(piece.text)]

        call.on_sign = heard
        try:
            async for text in call.stream(messages, TOOLS if tools else ()):
                said.append(text)  # noqa: PERF401 - what came counts also where the rest fails
        except Exception as error:  # noqa: BLE001 - as an attempt takes it
            failure = describe(error)
            decision = decide(
                failure,
                attempt=attempt,
                max_attempts=settings.worker_max_attempts,
                random=lambda: 0.0,
                max_wait=settings.llm_max_wait_seconds,
            )
            if isinstance(decision, Retry):
                await asyncio.sleep(decision.delay)
                continue
            return Outcome("failed" if isinstance(decision, Fail) else "dead_lettered", "", call, decision.failure)
        return Outcome("done", "".join(said), call)
    raise AssertionError


def turn_of(job: QueuedJob, outcome: Outcome) -> list[Message]:
    """Return the messages that are recorded of a turn."""
    own = Message(job.message_id, job.conversation_id, "user", job.content, "now", job.job_id)
    error = outcome.failure.to_json() if outcome.failure else None
    reply = replace(own, message_id=ids.reply_id(job.message_id), role="assistant", content=outcome.reply, error=error)
    return [own, replace(reply, status="done" if outcome.status == "done" else "failed")]


async def play(case: JsonObject, provider: Server) -> None:
    """Play a case, and check each of its turns."""
    settings, tools = settings_of(case, provider.url)
    provider.delete("cases")
    provider.post("cases", case=case)
    try:
        llm = make_llm(settings, Nothing(), Stack())  # type: ignore[arg-type]
    except UsageError:
        if not case.get("up_may_refuse"):
            raise
        return
    history: list[Message] = []
    previous: str | None = None
    conversation = ids.conversation_id()
    for turn in case["turns"]:
        job_id, previous = ids.turn_ids(previous)
        job = QueuedJob(job_id, conversation, previous, "user", turn["send"], 1.0)
        errors = sum(route.breaker.errors for route in llm.routes)
        async with asyncio.timeout((turn["expect"].get("within_seconds") or 20) + 5):
            outcome = await answered(llm, settings, job_id, chat_messages(history, job), tools=tools)
        counted = sum(route.breaker.errors for route in llm.routes) > errors
        check(turn["expect"], outcome, requests=requests(provider, job_id), counted=counted)
        history += turn_of(job, outcome)
    await llm.aclose()


def check(expect: JsonObject, outcome: Outcome, *, requests: int, counted: bool) -> None:
    """Check a turn against what a careful user expects of it."""
    call, failure = outcome.call, outcome.failure
    told = f"{failure.message} {failure.hint}" if failure else ""
    recorded = told_usage(usage_of(call.spent, None)) or {}  # As clients are shown it.
    usage = {name: recorded[name] for name in ("input_tokens", "output_tokens") if name in recorded}
    values = {
        "status": outcome.status,
        "reply": outcome.reply,
        "usage": usage or "unknown",
        "finish": call.finish,
        "error_code": failure.code if failure else None,
        "breaker_counts": counted,
    }
    never = expect.get("not") or {}
    for field, value in values.items():
        wanted = expect.get(field)
        if wanted is not None and not (field == "reply" and failure):
            assert value in wanted if isinstance(wanted, list) else value == wanted, (field, value, wanted, told)
        if field != "reply" or outcome.status == "done":
            assert value not in never.get(field, []), (field, value)
    limits = expect.get("requests") or {}
    assert (limits.get("min") or 0) <= requests <= (limits["max"] if limits.get("max") is not None else requests), (
        requests
    )
    if failure:
        for words in expect.get("error_names") or []:
            alternatives = words if isinstance(words, list) else [words]
            assert any(word.lower() in told.lower() for word in alternatives), (words, told)
        for word in never.get("error_names", []):
            assert word.lower() not in told.lower()


def requests(provider: Server, job_id: str) -> int:
    """Return how many requests the provider had of a job, once it has noticed that none is waited for."""
    wait_until(lambda: provider.get("requests")["in_flight"] == 0)
    return sum(record["job_id"] == job_id for record in provider.get("requests")["records"])


def seconds(case: JsonObject) -> float:
    """Return how long the pauses of a case take."""
    exchanges = [exchange for turn in case["turns"] for exchange in turn["exchanges"]]
    pauses = [piece.get("pause_ms", 0) for exchange in exchanges for piece in exchange.get("body", [])]
    return float(sum(pauses) + sum(exchange.get("wait_ms", 0) for exchange in exchanges)) / 1000


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in CASES if name not in WHOLE_WORKER])
async def test_a_case_of_the_corpus_holds(name: str, provider: Server) -> None:
    """Status, reply, usage, finish, requests, what the breaker counts, and what an error says, as the case has them."""
    await play(CASES[name], provider)


@pytest.mark.parametrize("name", OWN)
async def test_a_case_of_our_own_holds(name: str, provider: Server) -> None:
    """The same of what servers are seen to do that is not in the corpus."""
    await play(OWN[name], provider)


WHOLE = [
    name
    for name, case in (CASES | OWN).items()
    if seconds(case) == 0
    and not case.get("settings")
    and all(x.get("end", "chunked_end") == "chunked_end" for t in case["turns"] for x in t["exchanges"])
]


@pytest.mark.long
@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("name", WHOLE)
async def test_a_case_holds_however_its_bytes_are_cut(name: str, size: int, provider: Server) -> None:
    """The same comes of a stream whose bytes come a few at a time, also inside a character or between CR and LF."""
    case = (CASES | OWN)[name]
    turns = [{**turn, "exchanges": [{**each, "split": size} for each in turn["exchanges"]]} for turn in case["turns"]]
    await play({**case, "turns": turns}, provider)
