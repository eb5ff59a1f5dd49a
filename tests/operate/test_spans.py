"""Spans of a collector among the parts of a record: which are told already, where the others stand, and what is no span."""

from __future__ import annotations

from typing import Any

from cloudia.operate.otlp import otlp
from cloudia.operate.spans import among, read
from cloudia.operate.waterfall import Waterfall, waterfall
from tests.operate.records import T, attempt, failed, job

TRACE = "0af7651916cd43dd8448eb211c80319c"
REQUEST = "00000000000000aa"


def record() -> Waterfall:
    """Two attempts, the second from 2.5 to 6.8 s."""
    answered = attempt(2, 2.5, 6.8, first=3, outcome="done", finish="stop")
    return waterfall(job("done", failed(1, 0.1, 0.4, delay=2), answered, ended=6.8, trace_id=TRACE), now=T + 9)


def span(name: str, number: int, began: float, ended: float, **more: Any) -> dict[str, Any]:
    """Return OTLP's JSON of a span; the times are seconds after the acceptance."""
    attributes = [{"key": key, "value": value} for key, value in more.pop("attributes", {}).items()]
    return {
        "traceId": TRACE,
        "spanId": f"{number:016x}",
        "parentSpanId": REQUEST,
        "name": name,
        "startTimeUnixNano": str(round((T + began) * 1000) * 10**6),
        "endTimeUnixNano": str(round((T + ended) * 1000) * 10**6),
        "attributes": attributes,
        **more,
    }


def document(own: list[dict[str, Any]], users: list[dict[str, Any]] = []) -> dict[str, Any]:  # noqa: B006 - not changed
    scopes = [{"scope": {"name": "cloudia"}, "spans": own}, {"scope": {"name": "bot"}, "spans": users}]
    return {"resourceSpans": [{"resource": {}, "scopeSpans": scopes}]}


OWN = [
    span("POST /messages", 0xAA, 0, 0.02, parentSpanId=""),
    span("send jobs.fifo", 2, 0.01, 0.02),
    span("queue", 3, 0, 0.1),
    span("process jobs.fifo", 4, 0.1, 0.4, attributes={"cloudia.attempt": {"intValue": "1"}}),
    span("process jobs.fifo", 5, 2.5, 6.8, attributes={"cloudia.attempt": {"intValue": "2"}}),
    span(
        "chat m", 6, 2.6, 6.7, parentSpanId=f"{5:016x}", attributes={"gen_ai.operation.name": {"stringValue": "chat"}}
    ),
    span("deliver", 7, 2.6, 7.0),
]


def drawn(collected: Any) -> list[tuple[int, str]]:
    return [(part.depth, part.name) for part in among(record(), read(collected)).parts]


def test_the_record_is_told_once_and_spans_stand_where_they_belong() -> None:
    """The wait and the attempts are the record's; the request comes first, the LLM below its attempt, the delivery last."""
    users = [span("look it up", 8, 3.0, 4.0), span("query", 9, 3.1, 3.2, parentSpanId=f"{8:016x}")]
    assert drawn(document(OWN, users)) == [
        (0, "POST /messages"),
        (1, "send jobs.fifo"),
        (0, "queue"),
        (0, "attempt 1"),
        (0, "back-off 2 s"),
        (0, "queue"),
        (0, "attempt 2"),
        (0, "first text"),
        (0, "streaming"),
        (1, "chat m"),
        (1, "look it up"),
        (2, "query"),
        (0, "deliver"),
    ]


def test_nothing_is_there_twice_in_json() -> None:
    """What the collector has of the wait, the attempts and the LLM is left out of the record's; the rest is not."""
    spans = read(document(OWN))
    (resource,) = otlp(record(), queue="jobs.fifo", stack="mine", spans=spans)["resourceSpans"]
    names = [each["name"] for each in resource["scopeSpans"][0]["spans"]]
    assert names == [
        "message",
        "chat sim-1",
        "back off",
        "queue",
    ]  # Of the first attempt's LLM the collector has nothing.


def test_users_spans_that_are_called_like_ours_are_theirs() -> None:
    """Only spans of our own scope stand for a part of the record."""
    users = [span("queue", 8, 0, 0.1), span("mine", 9, 0.1, 0.2, attributes={"cloudia.attempt": {"intValue": "1"}})]
    names = [name for _, name in drawn(document([], users))]
    assert names.count("queue") == 3
    assert "mine" in names


def test_a_span_that_failed_says_why() -> None:
    """By its error's type, else by its status."""
    broken = span("call", 8, 3, 4, status={"code": 2, "message": "went wrong"})
    (part,) = (each for each in among(record(), read(document([], [broken]))).parts if each.name == "call")
    assert part.failed
    assert part.remarks == ["failed  went wrong"]


def test_times_that_cannot_be_count_as_0() -> None:
    """One that ends before it begins, one of another age, one of no number at all: each is marked, and harms no other."""
    users = [
        span("backwards", 8, 4, 3),
        span("ancient", 9, 0, 0) | {"startTimeUnixNano": "1", "endTimeUnixNano": "2"},
        span("huge", 10, 3, 4) | {"endTimeUnixNano": "18446744073709551615"},
        span("negative", 11, 3, 4) | {"startTimeUnixNano": "-5"},
        span("none", 12, 3, 4) | {"startTimeUnixNano": "soon", "endTimeUnixNano": None},
        span("endless", 13, 3, 4) | {"startTimeUnixNano": "9" * 5000},
    ]
    parts = {part.name: part for part in among(record(), read(document([], users))).parts}
    for name in ("backwards", "ancient", "huge", "negative", "none", "endless"):
        assert parts[name].seconds == 0, name
        assert "its times cannot be" in " ".join(parts[name].remarks), name
    assert parts["attempt 2"].seconds > 4


def test_what_is_no_span_is_passed_over() -> None:
    """Whatever answers: nothing is drawn of it, and nothing breaks; parents in a circle are none."""
    broken: list[Any] = [[], 3, {"resourceSpans": 3}, {"resourceSpans": [None, {"scopeSpans": [{"spans": [1, {}]}]}]}]
    for garbage in broken:
        assert drawn(garbage) == drawn(None)
    odd = span("odd", 8, 3, 4, attributes={"a": None, "b": {}}) | {"status": 3, "attributes": [{"key": 3}, 4]}
    circle = [span("a", 9, 3, 4, parentSpanId=f"{10:016x}"), span("b", 10, 3, 4, parentSpanId=f"{9:016x}")]
    assert {"odd", "a", "b"} <= {name for _, name in drawn(document([], [odd, *circle]))}


def test_hundreds_of_spans_are_cut() -> None:
    """100 are drawn, and the last says how many more there are."""
    users = [span(f"step {number}", number, 3, 4) for number in range(100, 350)]
    shown = among(record(), read(document([], users)))
    assert sum(part.kind == "span" for part in shown.parts) == 100
    assert "150 more spans" in shown.parts[-1].told
