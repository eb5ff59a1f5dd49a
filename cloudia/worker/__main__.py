"""`python -m cloudia.worker`: one worker process, configured by its environment."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from cloudia import telemetry
from cloudia.errors import CloudiaError
from cloudia.settings import from_environment, secrets_in
from cloudia.stack import Stack
from cloudia.worker.services import make_services
from cloudia.worker.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.worker.services import Services

_THREADS = 8
"""More of them take the interpreter from the streams for longer than they save on AWS calls."""
_LISTENER_SECONDS = 2.0
"""How long a listener may take for the last events."""


async def _main(made: Callable[[Services], None]) -> None:
    gc.disable()  # While it starts, all that is made stays.
    settings = from_environment()
    telemetry.configure_logs(
        "worker", settings.log_level, tracebacks=settings.log_tracebacks, secrets=secrets_in(settings)
    )
    stack = Stack(settings.stack_name)
    metrics = telemetry.start_listening(
        "worker",
        listener=settings.telemetry_listener,
        stack=stack.name,
        queue=stack.jobs_queue.name,
        slow_seconds=settings.telemetry_slow_seconds,
        prometheus=settings.telemetry_prometheus,
    )
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="aws"))
    services = await make_services(settings)
    made(services)
    worker = Worker(services, metrics=metrics)
    gc.freeze()  # What a process starts with is most of its objects, and never garbage.
    gc.enable()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    await worker.run()


def main(made: Callable[[Services], None] = lambda _services: None) -> int:
    """Run until SIGTERM or SIGINT. Return the exit status. `made` is given the services, in the event loop."""
    try:
        asyncio.run(_main(made))
    except CloudiaError as error:
        telemetry.log("worker failed", level=logging.ERROR, code=error.code, reason=error.message, hint=error.hint)
        return 1
    finally:
        telemetry.stop_listening(_LISTENER_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
