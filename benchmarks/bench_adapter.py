"""What a chunk of an answer costs the adapter of a provider: CPU, from the socket to the piece that it is.

    python benchmarks/bench_adapter.py [ROUNDS]

A server in another process sends answers of 200 chunks by OpenAI's Chat Completions: 50 of them side by side, each chunk by
itself every 20 ms, as a worker with many streams meets them; and one after another, each as fast as it goes. Prints the least
and the median CPU time of this process per chunk over the rounds, 7 where none is given: CPU that others take moves it little.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import statistics
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx2

from cloudia.worker.providers.base import ChatMessage, ChatRequest
from cloudia.worker.providers.openai import OpenAIProvider
from cloudia.worker.providers.reach import Reach

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

CHUNKS = 200
SIDE_BY_SIDE = 50
PAUSE = 0.02
ROUNDS = 7
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(delta: dict[str, str], finish: str | None = None) -> bytes:
    """Return a chunk of an answer, as a chunk of HTTP."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    data = f"data: {json.dumps(chunk)}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


async def serve(pipe: Connection) -> None:
    """Answer until the process is ended; the model's name says in which manner. Send the port first."""
    end = event({}, "stop") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # The end of a connection.
            await answer(reader, writer)
        writer.close()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = json.loads(await reader.readexactly(int(size.partition(b":")[2])))
            writer.write(HEAD)
            for number in range(CHUNKS):
                writer.write(event({"content": f" word{number}"}))
                if body["model"] == "paced":
                    await asyncio.sleep(PAUSE)
            writer.write(end)
            await writer.drain()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    pipe.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def run_server(pipe: Connection) -> None:
    """Serve in a process of its own."""
    asyncio.run(serve(pipe))


def adapter(url: str) -> OpenAIProvider:
    """Return the adapter that asks a server."""
    return OpenAIProvider(
        Reach(name="openai", url=url, api_key="k", key_setting="openai.api_key", timeout=httpx2.Timeout(30))
    )


async def spent(provider: OpenAIProvider, model: str, answers: int, at_once: int) -> float:
    """Return the CPU per chunk of so many answers, so many at once, in microseconds."""
    request = ChatRequest(model, "", (ChatMessage("user", "well?"),), 1000, (), {})
    gate = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with gate:
            said = [piece async for piece in provider.stream(request) if isinstance(piece, str)]
        assert len(said) == CHUNKS

    began = time.process_time()
    await asyncio.gather(*(one() for _ in range(answers)))
    return (time.process_time() - began) / (answers * CHUNKS) * 1e6


async def measure(url: str, rounds: int) -> None:
    """Print a row for each manner."""
    provider = adapter(url)
    for name, model, at_once in (("each chunk by itself", "paced", SIDE_BY_SIDE), ("as fast as it goes", "fast", 1)):
        await spent(provider, model, at_once, at_once)  # Connections, and what is made once.
        seen = [await spent(provider, model, SIDE_BY_SIDE, at_once) for _ in range(rounds)]
        print(f"{name:<22} least {min(seen):5.1f} µs   median {statistics.median(seen):5.1f} µs a chunk")
    await provider.aclose()


def main() -> None:
    """Start the server, measure, stop it."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=run_server, args=(there,), daemon=True)
    server.start()
    try:
        asyncio.run(measure(f"http://127.0.0.1:{here.recv()}/v1", int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
