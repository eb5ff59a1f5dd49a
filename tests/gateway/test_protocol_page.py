"""`docs/protocol.md` and `docs/asyncapi.json` say what goes over the WebSocket."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import jsonschema
import pytest
from websockets.asyncio.client import connect

from cloudia.codes import ErrorCode
from cloudia.frames import CLOSES, EVENTS, HELLO
from cloudia.protocol import TERMINAL_EVENTS, Hello, PostMessage
from tests.doc_scripts import doc_script
from tests.gateway.nodes import greet, next_frame, said_no

if TYPE_CHECKING:
    from tests.support import RunningStack

_HERE = Path(__file__).parent


_made = doc_script("make_protocol")
_DOCUMENT: dict[str, Any] = _made.document()


def check(frame: dict[str, Any]) -> None:
    """Hold a frame to what the document says of its type; it has no field that is not in there."""
    payload = _DOCUMENT["components"]["messages"][frame["type"]]["payload"]
    jsonschema.validate(frame, {**payload, "additionalProperties": False, "components": _DOCUMENT["components"]})


def test_the_pages_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python docs/make_protocol.py` would change nothing."""
    for path, text in _made.texts().items():
        assert path.read_text() == text, "run `python docs/make_protocol.py`"
    monkeypatch.setattr("sys.argv", ["make_protocol.py", "--check"])
    assert _made.main() == 0


def test_a_stale_page_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--check` fails where one of the files is another, or is not there."""
    monkeypatch.setattr("sys.argv", ["make_protocol.py", "--check"])
    for name in ("PAGE", "DOCUMENT"):
        with monkeypatch.context() as other:
            other.setattr(_made, name, tmp_path / "none")
            assert _made.main() == 1


def test_the_document_is_asyncapi() -> None:
    """It is valid by AsyncAPI's own schema, and so is each schema in it; one that is not is found out."""
    schema = json.loads(gzip.decompress((_HERE / "asyncapi" / "3.0.0.json.gz").read_bytes()))
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(_DOCUMENT)] == []
    assert list(validator.iter_errors({**_DOCUMENT, "channels": {"session": {"address": 1}}}))
    for message in _DOCUMENT["components"]["messages"].values():
        jsonschema.Draft7Validator.check_schema(message["payload"])


def test_codes_are_those_that_there_are() -> None:
    """The page names no code of an error that nobody can have."""
    assert {code for close in CLOSES.values() for code in close.codes} <= set(get_args(ErrorCode))


def test_a_hello_is_as_documented() -> None:
    """What the client says is what the document says of a hello."""
    check(json.loads(Hello("token", "ses_1", "1-0").encode()))
    check(json.loads(Hello("token").encode()))
    assert [field.name for field in HELLO] == ["type", *Hello.__dataclass_fields__]


async def test_frames_are_as_documented(stack: RunningStack) -> None:
    """Of an answer whose attempt broke off once, one that was stopped, and one that failed; and a close has its error."""
    seen: dict[str, list[dict[str, Any]]] = {name: [] for name in EVENTS}
    async with (
        stack.client() as client,
        connect(stack.run["websocket_url"], proxy=None, compression=None) as socket,
    ):
        ready = await greet(socket, stack.token())
        seen["ready"].append(ready)

        async def ask(content: str, *, stop: bool = False) -> None:
            accepted = await client.api.post_message(PostMessage(content, session_id=ready["session_id"]))
            while True:
                frame = await next_frame(socket)
                seen[frame["type"]].append(frame)
                if frame["type"] in TERMINAL_EVENTS:
                    return
                if stop and frame["type"] == "delta":
                    stop = False
                    await client.api.cancel(accepted.job_id)

        async def fault(*arguments: str) -> None:
            await asyncio.to_thread(stack.json, "chaos", "llm", *arguments)

        await fault("cut", "--count", "1")
        await ask("broken off once [[words:10]]")
        await ask("stopped [[words:2000]]", stop=True)
        await fault("400", "--count", "1")
        await ask("refused [[words:10]]")
        while (beat := json.loads(await socket.recv()))["type"] != "heartbeat":
            pass
        seen["heartbeat"].append(beat)
        await socket.send("{}")
        code, error = await said_no(socket)
    assert [name for name, frames in seen.items() if not frames] == ["thinking"]
    for frames in seen.values():
        for frame in frames:
            check(frame)
    events = sorted(
        (frame for frames in seen.values() for frame in frames if "id" in frame), key=lambda frame: frame["id"]
    )
    assert [frame["after"] for frame in events] == ["0-0", *(frame["id"] for frame in events)][:-1]
    assert error
    assert error["code"] in CLOSES[code or 0].codes
    check({"type": "error", "error": error})
