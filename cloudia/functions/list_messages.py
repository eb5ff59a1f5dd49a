"""`GET /conversations/{id}/messages`: a conversation's messages, oldest first unless asked otherwise."""

from __future__ import annotations

from cloudia import ids
from cloudia.errors import InvalidRequestError
from cloudia.functions.http import Answer, Request, function


@function
def handler(request: Request) -> Answer:
    """Return one page. Query: `limit` (1 to 100), `cursor`, `order` (`asc` or `desc`)."""
    user = request.user_id
    conversation_id = request.path_parameter("id")
    if not ids.is_id(conversation_id, "cnv"):
        raise InvalidRequestError("that is not the id of a conversation", code="bad_conversation_id")
    limit, cursor = request.page("order")
    order = request.query.get("order", "asc")
    if order not in {"asc", "desc"}:
        raise InvalidRequestError("order is neither asc nor desc", code="bad_order")
    page = request.services.history.messages(
        user, conversation_id, limit=limit, cursor=cursor, newest_first=order == "desc"
    )
    return 200, page.to_json("messages")
