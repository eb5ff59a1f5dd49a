"""`GET /conversations`: the caller's conversations, the one last written to first."""

from __future__ import annotations

from cloudia.functions.http import Answer, Request, function


@function
def handler(request: Request) -> Answer:
    """Return one page. Query: `limit` (1 to 100), `cursor`."""
    user = request.user_id
    limit, cursor = request.page()
    page = request.services.history.conversations(user, limit=limit, cursor=cursor)
    return 200, page.to_json("conversations")
