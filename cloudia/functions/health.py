"""`GET /health`: whether a message that is accepted now would be answered. Without a token it says no more than that."""

from __future__ import annotations

from cloudia import __version__
from cloudia.errors import UnauthorizedError
from cloudia.functions.http import Answer, Request, function


@function
def handler(request: Request) -> Answer:
    """Return the status, and who is alive. `ok` takes a worker that has polled, and a queue; 503 where AWS is away."""
    presence = request.services.presence
    workers = presence.alive("worker")
    told = {"status": "ok" if workers and request.services.queue.url else "degraded"}
    if _is_stranger(request):
        return 200, told
    return 200, {**told, "version": __version__, "workers": workers, "gateways": presence.alive("gateway")}


def _is_stranger(request: Request) -> bool:
    """Tell whether someone without a token asks, who is not the edge's own user either."""
    try:
        return not (request.is_own or request.user_id)
    except UnauthorizedError:
        return True
