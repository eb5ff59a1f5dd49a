"""`python -m cloudia.sim.edge`: the edge of a local stack, configured by its environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import uvicorn

from cloudia import telemetry
from cloudia.settings import from_environment, secrets_in
from cloudia.sim.edge.app import make_app
from cloudia.sim.edge.page_code import PageCode
from cloudia.sim.edge.server import BoundedProtocol
from cloudia.sim.ports import LOOPBACK


def main() -> None:
    """Serve until SIGTERM."""
    # Bytecode is matched to its source by whole seconds and size, and two edits may share both.
    sys.dont_write_bytecode = True
    settings = from_environment()
    telemetry.configure_logs(
        "api", settings.log_level, tracebacks=settings.log_tracebacks, secrets=secrets_in(settings)
    )
    page_code = Path(os.environ["CLOUDIA_PAGE_CODE_FILE"])
    uvicorn.run(
        make_app(
            settings,
            os.environ["CLOUDIA_TOKEN_SECRET"],
            page_secret=os.environ["CLOUDIA_PAGE_SECRET"],
            page_code=PageCode(page_code),
            run_file=page_code.with_name("run.json"),
        ),
        host=LOOPBACK,
        port=settings.api_port,
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
        server_header=False,
    )


if __name__ == "__main__":
    main()
