"""`POST /jobs/{id}/cancel`: ask for a job to stop."""

from __future__ import annotations

from cloudia import telemetry
from cloudia.functions.http import Answer, Request, function, job_id_of


@function
def handler(request: Request) -> Answer:
    """Set the flag that the worker watches. A job that has ended stays as it is: 200 instead of 202."""
    user = request.user_id
    job = request.services.jobs.request_cancel(job_id_of(request), user)
    telemetry.log("cancel requested", job_id=job.job_id)
    return 200 if job.ended else 202, {"job_id": job.job_id, "status": job.status}
