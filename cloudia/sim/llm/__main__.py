"""`python -m cloudia.sim.llm`: run the simulated provider until SIGTERM or SIGINT, exit 0.

`CLOUDIA_CONTROL_TOKEN` opens its control; where that is not set, one is made, and printed as `control_token`.
`CLOUDIA_PROVIDER_KEY` is the API key that it takes; where that is not set, any.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys

from cloudia.errors import CloudiaError
from cloudia.sim.llm.app import build
from cloudia.sim.llm.fields import FieldError
from cloudia.sim.llm.server import Server, listen
from cloudia.sim.llm.settings import Settings, changed
from cloudia.telemetry import configure_logs

_PORTS = range(65_536)
_TOKEN = "CLOUDIA_CONTROL_TOKEN"  # noqa: S105 - the variable's name
_KEY = "CLOUDIA_PROVIDER_KEY"
_TOKEN_BYTES = 32


def main() -> int:
    """Parse the options, serve, return the exit code: 0 stopped, 1 cannot listen, 2 usage."""
    defaults = Settings()
    parser = argparse.ArgumentParser(prog="python -m cloudia.sim.llm", description="The simulated LLM provider.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one (%(default)s)")
    parser.add_argument("--ttft", type=float, default=defaults.ttft, help="seconds to the first token (%(default)s)")
    parser.add_argument("--tps", type=float, default=defaults.tps, help="tokens per second; 0: no pacing (%(default)s)")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of answers and faults (%(default)s)")
    options = parser.parse_args()
    if options.port not in _PORTS:
        parser.error("--port must be between 0 and 65535")
    # uvicorn raises the signal once more when it has stopped; without a handler that would be no clean exit.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        settings = changed(defaults, {name: getattr(options, name) for name in ("ttft", "tps", "seed")})
        listener = listen(options.host, options.port)
    except FieldError as error:
        parser.error(f"--{error}")
    except CloudiaError as error:
        sys.stderr.write(json.dumps(error.to_json()) + "\n")
        return 1
    configure_logs("llm")
    token = os.environ.get(_TOKEN)
    made = {} if token else {"control_token": secrets.token_urlsafe(_TOKEN_BYTES)}
    app = build(settings, _log, token=token or made["control_token"], key=os.environ.get(_KEY, ""), bound=options.host)
    server = Server(app, listener, lambda said: print(json.dumps({**said, **made}), flush=True))  # noqa: T201 - the data
    asyncio.run(server.serve(sockets=[listener]))
    return 0


def _log(line: str) -> None:
    # Whoever reads the log may have gone; that is no reason to fail requests.
    with contextlib.suppress(OSError):
        sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
