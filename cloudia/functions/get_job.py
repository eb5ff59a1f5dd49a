"""`GET /jobs/{id}`: how a job stands and, once it has ended, its answer."""

from __future__ import annotations

from cloudia.functions.http import Answer, Request, function, job_id_of


@function
def handler(request: Request) -> Answer:
    """Return the job, with `reply`: the answer's message, or null."""
    user, to = request.user_id, request.services
    job = to.jobs.get(job_id_of(request), user)
    reply = to.history.message(job.conversation_id, job.reply_message_id) if job.reply_message_id else None
    return 200, {**job.to_json(), "reply": reply.to_json() if reply else None}
