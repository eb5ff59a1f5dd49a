"""Ask one question: python ask.py "hello".

CLOUDIA_API_URL, CLOUDIA_WEBSOCKET_URL and CLOUDIA_TOKEN say where, and as whom.
"""

from __future__ import annotations

import asyncio
import os
import sys

from client import Client, ClientError


async def main(content: str) -> int:
    """Print the answer as it comes. Return the exit status."""
    where = (os.environ[f"CLOUDIA_{name}"] for name in ("API_URL", "WEBSOCKET_URL", "TOKEN"))
    written = False
    async with Client(*where, on_state=lambda state: print(state, file=sys.stderr)) as client:
        async for event in client.ask(content):
            if event["type"] == "delta":
                print(event["text"], end="", flush=True)
                written = True
            elif event["type"] == "reset" and written:
                print("\n\n", end="")  # What was printed is void, and stays on the terminal.
            elif event["type"] == "error":
                print(event["error"]["message"], file=sys.stderr)
    print()
    return int(event["type"] != "done")


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(sys.argv[1])))
    except ClientError as refused:
        sys.exit(f"error: {refused}")
