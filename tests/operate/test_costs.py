"""What a stack has cost: each paid attempt once, by what is asked for, also of jobs that end meanwhile."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from cloudia.cloud.job_records import Lease
from cloudia.cloud.jobs import Jobs
from cloudia.operate.costs import By, costs, jobs_since, total
from cloudia.prices.llm import LlmPrices, own_prices
from cloudia.protocol import AttemptRecord, Job
from tests.support import cli, elsewhere, make_cloud

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support import Cloud, RunningStack

DAY = 86_400.0
NOTHING = LlmPrices({})


def attempt(at: float, usage: dict[str, float] | None, **known: Any) -> AttemptRecord:
    fields = {"ended_at": at + 1, "outcome": "done", "provider": "openai", "model": "gpt-5-mini", "usage": usage}
    return AttemptRecord(1, 1, "wrk", at, **{**fields, **known})


def job(*attempts: AttemptRecord, user: str = "alice", status: str = "done", number: int = 1) -> Job:
    return Job(f"job{number}", "cnv", "msg", user, status, "now", attempt_history=attempts)  # type: ignore[arg-type]


def paid(dollars: float, **more: float) -> dict[str, float]:
    return {"input_tokens": 10, "output_tokens": 5, "cost_usd": dollars, **more}


JOBS = [
    job(
        attempt(10 * DAY, paid(0.25, estimated_requests=1), outcome="retried"),
        attempt(11 * DAY, paid(0.5, cache_read_tokens=4)),
    ),
    job(attempt(11 * DAY, paid(2), model="dear"), user="bob", number=2),
    job(attempt(11 * DAY, None, outcome="failed"), number=3),  # Nothing was asked, or nothing came.
    job(
        attempt(11 * DAY, None, ended_at=None, outcome=None, model=None), status="failed", number=4
    ),  # Its worker died.
    job(attempt(11 * DAY, None, ended_at=None, outcome=None), status="running", number=5),  # It is under way.
    job(attempt(11 * DAY, {"input_tokens": 1_000_000, "output_tokens": 0}, model="mine"), number=6),
]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (
            "model",
            {
                "openai dear": ("2", 1),
                "openai gpt-5-mini": ("0.75", 1),
                "(nobody knows)": ("0", 1),
                "openai mine": ("0", 1),
            },
        ),
        ("user", {"bob": ("2", 1), "alice": ("0.75", 3)}),
        ("conversation", {"cnv": ("2.75", 4)}),
        ("day", {"1970-01-11": ("0.25", 1), "1970-01-12": ("2.5", 4)}),
    ],
)
def test_attempts_are_summed(by: By, expected: dict[str, tuple[str, int]]) -> None:
    """Dollars and messages of each row; what failed and was retried counts, what was never asked does not."""
    found = costs(JOBS, by, since=0, prices=NOTHING)
    assert {each.name: (str(each.dollars.normalize()), len(each.jobs)) for each in found} == expected
    assert [each.name for each in found] == sorted(
        expected, key=lambda name: name if by == "day" else (-Decimal(expected[name][0]), name)
    )
    whole = total(found)
    assert (whole.dollars, len(whole.jobs), whole.attempts) == (Decimal("2.75"), 4, 5)
    assert (whole.unknown, whole.estimated, whole.cached_tokens) == (2, 1, 4)


def test_only_what_is_asked_for_counts() -> None:
    """Attempts before the time are left out; prices of one's own price what had none."""
    found = total(costs(JOBS, "user", since=10.5 * DAY, prices=NOTHING))
    assert (found.dollars, found.attempts) == (Decimal("2.5"), 4)
    prices = LlmPrices(own_prices('{"openai:mine": {"input": 3, "output": 0}}'))
    found = total(costs(JOBS, "user", since=10.5 * DAY, prices=prices))
    assert (found.dollars, found.unknown) == (Decimal("5.5"), 1)


def end(cloud: Cloud, job_id: str) -> None:
    lease = cloud.jobs.lease(job_id, "wrk", 30)
    assert isinstance(lease, Lease)
    usage = paid(0.5)
    cloud.jobs.finish(lease, "done", content="x", provider="openai", model="m", usage=usage, llm_calls=1)


def test_jobs_are_found_by_their_states_and_each_once(stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a page of the index, open ones too; one that ends while they are listed is whole, and there once."""
    cloud = make_cloud(stack)
    accepted = [cloud.accept(f"message {number}") for number in range(7)]
    for each in accepted[:4]:
        end(cloud, each.job_id)
    monkeypatch.setattr(cloud.aws.dynamodb, "scan", None)
    each_in_state = Jobs.each_in_state

    def meanwhile(self: Jobs, state: Any, **given: Any) -> Iterator[tuple[str, str]]:
        if state == "done":
            end(cloud, accepted[4].job_id)
        return each_in_state(self, state, **{**given, "page": 2})

    monkeypatch.setattr(Jobs, "each_in_state", meanwhile)
    found = list(jobs_since(cloud.jobs, 0.0))
    assert sorted(each.job_id for each in found) == sorted(each.job_id for each in accepted)
    assert [each.status for each in found].count("done") == 5
    assert total(costs(found, "user", since=0, prices=NOTHING)).dollars == Decimal("2.5")


def test_the_verb_prints_a_table_and_a_document(stack: RunningStack, tmp_path: Path) -> None:
    """`cloudia cost` by user, as JSON, with what is not known said; a bad time is a sentence."""
    cloud = make_cloud(stack)
    for user in ("alice", "bob\x1b[2J"):
        end(cloud, cloud.accept(user=user).job_id)
    lease = cloud.jobs.lease(cloud.accept().job_id, "wrk", 30)
    assert isinstance(lease, Lease)
    usage = {"input_tokens": 1.0, "output_tokens": 1.0}
    cloud.jobs.finish(lease, "cancelled", content="", provider="openai", model="own", usage=usage)
    there = {**elsewhere(cloud.settings), "CLOUDIA_STACK_NAME": cloud.stack.name}
    asked = cli("cost", "--by", "user", "--json", folder=tmp_path, environment=there)
    assert asked.returncode == 0, asked.stderr
    told = json.loads(asked.stdout)
    assert {row["name"]: (row["cost_usd"], row["messages"]) for row in told["rows"]} == {
        "alice": (0.5, 2),
        "bob\x1b[2J": (0.5, 1),
    }
    assert (told["total"]["cost_usd"], told["total"]["unknown_attempts"]) == (1.0, 1)
    assert told["prices"]["date"].startswith("20")
    shown = cli("cost", "--since", "1h", folder=tmp_path, environment=there)
    assert "openai own" in shown.stdout
    assert "unknown" in shown.stdout
    assert "nobody knows the cost" in shown.stderr
    wrong = cli("cost", "--since", "yesterday", folder=tmp_path, environment=there)
    assert (wrong.returncode, "is no time" in wrong.stderr) == (2, True)
    nonsense = cli("cost", folder=tmp_path, environment={**there, "CLOUDIA_LLM_PRICES": "nonsense"})
    assert (nonsense.returncode, nonsense.stderr.count("llm.prices is not")) == (2, 1)
