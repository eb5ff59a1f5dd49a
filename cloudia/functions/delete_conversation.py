"""`DELETE /conversations/{id}`: forget a conversation and its messages."""

from __future__ import annotations

from cloudia import telemetry
from cloudia.functions.http import Answer, Request, conversation_id_of, function


@function
def handler(request: Request) -> Answer:
    """Delete it. What is still being answered is stopped."""
    user = request.user_id
    conversation_id = conversation_id_of(request)
    history, jobs = request.services.history, request.services.jobs
    for job_id in history.unanswered(user, conversation_id):
        jobs.request_cancel(job_id, user)
    history.delete(user, conversation_id)
    telemetry.log("conversation deleted", conversation_id=conversation_id)
    return 200, {"conversation_id": conversation_id}
