"""`GET /conversations/{id}/messages`: a conversation's messages, oldest first unless asked otherwise."""

from __future__ import annotations

from cloudia.errors import InvalidRequestError
from cloudia.functions.http import Answer, Request, conversation_id_of, function


@function
def handler(request: Request) -> Answer:
    """Return one page. Query: `limit` (1 to 100), `cursor`, `order` (`asc` or `desc`)."""
    user = request.user_id
    conversation_id = conversation_id_of(request)
    limit, cursor = request.page("order")
    order = request.query.get("order", "asc")
    if order not in {"asc", "desc"}:
        raise InvalidRequestError("order is neither asc nor desc", code="bad_order")
    page = request.services.history.messages(
        user, conversation_id, limit=limit, cursor=cursor, newest_first=order == "desc"
    )
    return 200, page.to_json("messages")
