"""`python -m cloudia.gateway`: one gateway process, configured by its environment."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from cloudia import telemetry
from cloudia.errors import CloudiaError
from cloudia.gateway.gateway import Gateway
from cloudia.gateway.services import make_services
from cloudia.settings import from_environment, secrets_in
from cloudia.stack import Stack

_LISTENER_SECONDS = 2.0
"""How long a listener may take for the last events."""


async def _main() -> None:
    settings = from_environment()
    telemetry.configure_logs(
        "gateway", settings.log_level, tracebacks=settings.log_tracebacks, secrets=secrets_in(settings)
    )
    stack = Stack(settings.stack_name)
    metrics = telemetry.start_listening(
        "gateway",
        listener=settings.telemetry_listener,
        stack=stack.name,
        queue=stack.jobs_queue.name,
        slow_seconds=settings.telemetry_slow_seconds,
        prometheus=settings.telemetry_prometheus,
    )
    gateway = Gateway(make_services(settings), metrics=metrics)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.stop)
    await gateway.run()


def main() -> int:
    """Run until SIGTERM or SIGINT. Return the exit status."""
    try:
        asyncio.run(_main())
    except CloudiaError as error:
        telemetry.log("gateway failed", level=logging.ERROR, code=error.code, reason=error.message, hint=error.hint)
    except OSError as error:
        telemetry.log("gateway failed", level=logging.ERROR, code="port_taken", reason=error.strerror or str(error))
    else:
        return 0
    finally:
        telemetry.stop_listening(_LISTENER_SECONDS)
    return 1


if __name__ == "__main__":
    sys.exit(main())
