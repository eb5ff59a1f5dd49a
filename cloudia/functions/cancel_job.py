"""`POST /jobs/{id}/cancel`: ask for a job to stop."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cloudia import telemetry
from cloudia.errors import CloudiaError
from cloudia.functions.http import Answer, Request, function, job_id_of

if TYPE_CHECKING:
    from cloudia.settings import Settings


@function
def handler(request: Request) -> Answer:
    """Set the flag that the worker looks at. A job that has ended stays as it is: 200 instead of 202."""
    user = request.user_id
    job = request.services.jobs.request_cancel(job_id_of(request), user)
    telemetry.log("cancel requested", job_id=job.job_id)
    if not job.ended:
        _publish(request.services.settings, job.job_id)
    return 200 if job.ended else 202, {"job_id": job.job_id, "status": job.status}


def _publish(settings: Settings, job_id: str) -> None:
    """Tell the workers to look at the flag now, where there is Redis. They see it without that, at their next poll."""
    if not settings.redis_url:
        return
    from cloudia.cloud.stops import publish_stop  # noqa: PLC0415 - of the functions this one alone has Redis' library

    try:
        publish_stop(settings.redis_url, settings.stack_name, job_id)
    except CloudiaError as error:
        telemetry.log("stop not published", level=logging.WARNING, job_id=job_id, code=error.code, reason=error.message)
