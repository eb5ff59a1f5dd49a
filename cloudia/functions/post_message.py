"""`POST /messages`: accept a message, answer 202 with its job."""

from __future__ import annotations

from cloudia import telemetry
from cloudia.functions.http import Answer, Request, function
from cloudia.protocol import Accepted, PostMessage


@function
def handler(request: Request) -> Answer:
    """Record the message and its job, then enqueue it. 202 only after both."""
    user, to = request.user_id, request.services
    message = PostMessage.decode(request.body, max_content_bytes=to.settings.limits_content_bytes)
    if message.session_id is not None:
        to.identity.check_session(message.session_id, user)
    job, unsent = to.intake.accept(
        user_id=user,
        content=message.content,
        conversation_id=message.conversation_id,
        session_id=message.session_id,
        idempotency_key=message.idempotency_key,
        traceparent=telemetry.new_traceparent(request.traceparent),
    )
    if unsent:
        to.queue.send(job)
    telemetry.log(
        "job accepted",
        job_id=job.job_id,
        conversation_id=job.conversation_id,
        trace_id=telemetry.trace_id(job.traceparent),
        again=None if unsent else True,
    )
    return 202, Accepted(job.job_id, job.conversation_id, job.message_id).to_json()
