"""`GET /conversations`: the caller's conversations, the one last written to first."""

from __future__ import annotations

from cloudia.errors import InvalidRequestError
from cloudia.functions.http import Answer, Request, function

_MAX_SEARCH = 200


@function
def handler(request: Request) -> Answer:
    """Return one page. Query: `limit` (1 to 100), `cursor`, `search` (words that are all in a title or its messages)."""
    user, history = request.user_id, request.services.history
    limit, cursor = request.page("search")
    search = request.query.get("search", "")
    if len(search) > _MAX_SEARCH:
        raise InvalidRequestError(f"search has more than {_MAX_SEARCH} characters", code="bad_search")
    words = search.casefold().split()
    if words:
        page = history.search(user, words, limit=limit, cursor=cursor)
    else:
        page = history.conversations(user, limit=limit, cursor=cursor)
    return 200, page.to_json("conversations")
