"""Probes for a container's orchestrator: `/live` while polls finish, `/ready` from the first one until the worker stops.

Neither while AWS refuses the worker something.

https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudia.telemetry.probes import serve_probes as serve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

__all__ = ["serve_probes"]


def serve_probes(
    host: str,
    port: int,
    *,
    poll_age: Callable[[], float | None],
    refused: Callable[[], Mapping[str, str]],
    stale: float,
    metrics: Callable[[], bytes] | None = None,
) -> AbstractAsyncContextManager[None]:
    """Answer probes while the block runs; not at all where `port` is 0. `OSError` where the port is taken.

    Where `host` is loopback they are asked by its names. `poll_age` returns the seconds since the last finished poll, None
    before the first and while the worker stops; `/live` fails once it is over `stale`, and while `refused` returns reasons, by
    what the worker was doing: they are in the answer. `metrics` makes the text of `/metrics`.
    """

    def told(status: int, state: str) -> tuple[int, dict[str, Any]]:
        reasons = dict(refused())
        if reasons:
            status, state = 503, "refused"
        return status, {"status": state, "poll_age": poll_age(), "refused": reasons}

    def hangs() -> bool:
        age = poll_age()
        return age is not None and age > stale

    states = {
        "/live": lambda: told(503, "stale") if hangs() else told(200, "live"),
        "/ready": lambda: told(503, "not ready") if hangs() or poll_age() is None else told(200, "ready"),
    }
    return serve(host, port, states, metrics=metrics)
