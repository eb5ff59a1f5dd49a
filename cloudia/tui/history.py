"""The last samples of a running stack, and what is computed from them. No I/O."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudia.operate.samples import EndedJob, Sample

__all__ = ["History", "percentile"]

KEPT = 120
"""Samples that the plots show."""
_JOBS = 500


@dataclass(slots=True)
class History:
    """The last samples and the last jobs."""

    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=KEPT))
    jobs: deque[EndedJob] = field(default_factory=lambda: deque(maxlen=_JOBS))

    def add(self, sample: Sample) -> None:
        """Take the next sample. A job that ended again, as a redriven one does, is there once, with its last end."""
        self.samples.append(sample)
        for job in sample.jobs:
            for before in [known for known in self.jobs if known.job_id == job.job_id]:
                self.jobs.remove(before)
            self.jobs.append(job)

    def depths(self) -> list[float]:
        """Return how many jobs waited in the queue, sample by sample."""
        return [float(sample.visible or 0) for sample in self.samples]

    def in_flight(self) -> list[float]:
        """Return how many jobs were in work."""
        return [float(sample.in_flight or 0) for sample in self.samples]

    def throughput(self) -> list[float]:
        """Return how many jobs ended a second, between each sample and the one before."""
        rates = []
        for before, after in zip(self.samples, list(self.samples)[1:], strict=False):
            rates.append(len(after.jobs) / max(0.001, after.at - before.at))
        return rates

    def first_token(self, share: float) -> float | None:
        """Return a percentile of the time to the first token (ms) over the jobs that are kept."""
        return percentile([job.first_token_ms for job in self.jobs if job.first_token_ms is not None], share)

    def total(self, share: float) -> float | None:
        """Return a percentile of the time from the 202 to the end (ms)."""
        return percentile([job.total_ms for job in self.jobs], share)


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return a percentile such as 0.95; None of nothing."""
    if len(values) < 2:  # noqa: PLR2004 - quantiles need two
        return values[0] if values else None
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]
