"""`GET /health`: whether a message that is accepted now would be answered. Needs no token."""

from __future__ import annotations

from cloudia import __version__
from cloudia.functions.http import Answer, Request, function


@function
def handler(request: Request) -> Answer:
    """Return who is alive. `ok` takes a worker that has polled, and a queue; 503 where AWS is away."""
    presence = request.services.presence
    workers, gateways = presence.alive("worker"), presence.alive("gateway")
    return 200, {
        "status": "ok" if workers and request.services.queue.url else "degraded",
        "version": __version__,
        "workers": workers,
        "gateways": gateways,
    }
