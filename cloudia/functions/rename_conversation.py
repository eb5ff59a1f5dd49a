"""`PATCH /conversations/{id}`: give a conversation another title."""

from __future__ import annotations

from cloudia.functions.http import Answer, Request, conversation_id_of, function
from cloudia.protocol import RenameConversation


@function
def handler(request: Request) -> Answer:
    """Set the title. When the conversation was last written to stays as it is, so its place in the list does too."""
    user = request.user_id
    conversation_id = conversation_id_of(request)
    title = RenameConversation.decode(request.body).title
    return 200, request.services.history.rename(user, conversation_id, title).to_json()
