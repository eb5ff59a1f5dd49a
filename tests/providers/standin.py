"""A stand-in for a provider in the test's own process: it answers as a case of the corpus says."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
import time
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

JsonObject = dict[str, Any]


class Standin:
    """Answers requests by the exchanges of a turn, each API's in their order; the last one repeats."""

    def __init__(self, *, patience: float = 1.0, recut: int | None = None) -> None:
        self.url = ""
        self.seen = 0
        """Requests of this turn."""
        self._patience = patience
        self._recut = recut
        self._exchanges: dict[str, list[JsonObject]] = {}
        self._serving: set[asyncio.Task[None]] = set()

    def begin(self, turn: JsonObject, api: str) -> None:
        """Play this turn from now on."""
        self.seen = 0
        self._exchanges = {"openai": [], "anthropic": []}
        for exchange in turn["exchanges"]:
            self._exchanges[exchange.get("api", api)].append(exchange)

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def close(self) -> None:
        """Break off whatever is open still."""
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                path, body = await _request(reader)
                self.seen += 1
                if not await self._answer(writer, self._exchange(path, body)):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _exchange(self, path: str, body: JsonObject) -> JsonObject:
        exchanges = self._exchanges["anthropic" if "/messages" in path else "openai"]
        for refusal in exchanges[0].get("refuse_if", []):
            if holds(refusal["rule"], body, path):
                return {"status": 400, **refusal}
        return exchanges.pop(0) if len(exchanges) > 1 else exchanges[0]

    async def _answer(self, writer: asyncio.StreamWriter, exchange: JsonObject) -> bool:
        """Write an answer. Return whether the connection stays."""
        status, end = exchange.get("status", 200), exchange.get("end", "chunked_end")
        framing = exchange.get("framing", "chunked" if status == 200 else "length")
        await asyncio.sleep(exchange.get("wait_ms", 0) / 1000 * self._patience)
        if status:
            pieces = list(_pieces(exchange, self._recut))
            writer.write(
                _head(exchange, status, framing, sum(len(piece) for piece in pieces if isinstance(piece, bytes)))
            )
            for piece in pieces:
                if isinstance(piece, float):
                    await writer.drain()
                    await asyncio.sleep(piece * self._patience)
                else:
                    writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if framing == "chunked" else piece)
                    await writer.drain()
                    await asyncio.sleep(0)
            if end == "chunked_end" and framing == "chunked":
                writer.write(b"0\r\n\r\n")
        if end == "reset":
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return bool(end == "chunked_end")


def _head(exchange: JsonObject, status: int, framing: str, length: int) -> bytes:
    headers: dict[str, Any] = {"content-type": "text/event-stream" if status == 200 else "application/json"}
    headers |= exchange.get("headers", {})
    for name, value in headers.items():
        if isinstance(value, dict):
            headers[name] = formatdate(time.time() + value["http_date_in_seconds"], usegmt=True)
    headers |= {"content-length": length} if framing == "length" else {}
    headers |= {"transfer-encoding": "chunked"} if framing == "chunked" else {}
    lines = [f"HTTP/{exchange.get('http', '1.1')} {status} Corpus", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _pieces(exchange: JsonObject, recut: int | None) -> Iterator[bytes | float]:
    """Yield the bytes to write, and pauses in seconds."""
    for piece in exchange.get("body", []):
        if "pause_ms" in piece:
            yield piece["pause_ms"] / 1000
            continue
        raw = base64.b64decode(piece["base64"]) if "base64" in piece else piece["text"].encode() * piece.get("times", 1)
        size = recut or exchange.get("split") or len(raw)
        yield from (raw[at : at + size] for at in range(0, len(raw), size))


def holds(rule: Mapping[str, Any], body: JsonObject, path: str) -> bool:
    """Tell whether any clause of a refusal's rule holds for a request."""
    messages = body.get("messages", [])
    chat = [message for message in messages if message["role"] in {"user", "assistant"}]
    blocks = [block for message in messages if isinstance(message["content"], list) for block in message["content"]]
    results = ["".join(_texts(message["content"])) for message in messages if message["role"] == "tool"]
    results += ["".join(_texts(block["content"])) for block in blocks if block["type"] == "tool_result"]

    def blank(message: JsonObject) -> bool:
        says = any(text.strip() for text in _texts(message["content"]))
        calls = message.get("tool_calls") or not isinstance(message["content"], str)
        return message["role"] == "assistant" and not calls and not says

    clauses: dict[str, Callable[[Any], bool]] = {
        "has_field": lambda name: name in body,
        "has_role": lambda role: any(message["role"] == role for message in messages),
        "has_text": lambda text: any(text in said for message in messages for said in _texts(message["content"])),
        "roles_do_not_alternate": lambda _: any(
            message["role"] != ("user", "assistant")[place % 2] for place, message in enumerate(chat)
        ),
        "blank_assistant": lambda _: any(map(blank, chat)),
        "context_over_bytes": lambda most: sum(len(t.encode()) for m in messages for t in _texts(m["content"])) > most,
        "lacks_tool_results": lambda _: not results,
        "tool_results_are_not": lambda wanted: results != wanted,
        "path_is_not": lambda wanted: path != wanted,
    }
    return any(clauses[name](value) for name, value in rule.items())


def _texts(content: Any) -> list[str]:
    if isinstance(content, list):
        return [block["text"] for block in content if block["type"] == "text"]
    return [content or ""]


async def _request(reader: asyncio.StreamReader) -> tuple[str, JsonObject]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.strip().split("\r\n")
    lengths = [field.partition(":")[2] for field in fields if field.lower().startswith("content-length:")]
    body: JsonObject = json.loads(await reader.readexactly(int(lengths[0])))
    return line.split(" ")[1], body


@asynccontextmanager
async def playing(standin: Standin) -> AsyncIterator[Standin]:
    """Serve on loopback until the block ends."""
    listener = await asyncio.start_server(standin.connected, "127.0.0.1", 0)
    standin.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield standin
    finally:
        listener.close()
        await standin.close()
        await listener.wait_closed()
