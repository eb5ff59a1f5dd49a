"""`POST /messages`: accept a message, answer 202 with its job."""

from __future__ import annotations

import time

from cloudia import telemetry
from cloudia.functions.http import Answer, Request, function
from cloudia.protocol import Accepted, PostMessage
from cloudia.telemetry.events import JobAccepted, JobIds


@function
def handler(request: Request) -> Answer:
    """Record the message and its job, then enqueue it. 202 only after both."""
    user, to = request.user_id, request.services
    began = time.perf_counter()
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
    recorded = time.perf_counter()
    if unsent:
        to.queue.send(job)
    done = time.perf_counter()
    telemetry.notify(
        JobAccepted(
            job=JobIds.of(job),
            at=time.time(),
            seconds=done - began,
            send_seconds=done - recorded if unsent else None,
            content_bytes=len(message.content.encode()),
            again=not unsent,
            parent=request.traceparent,
        )
    )
    return 202, Accepted(job.job_id, job.conversation_id, job.message_id).to_json()
