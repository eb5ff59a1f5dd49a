"""The dashboard and the alert rules ask for metrics and labels that there are, in PromQL that is PromQL."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from promql_parser import AggregateExpr, Expr, VectorSelector

from tests.telemetry.exposed import exposed

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
RULES: list[dict[str, Any]] = [
    rule for group in json.loads((FOLDER / "alerts.json").read_text())["groups"] for rule in group["rules"]
]
TARGETS = [(panel["title"], target) for panel in DASHBOARD["panels"] for target in panel["targets"]]
PROMETHEUS_OWN = {"job", "instance"}


def asked(expression: str) -> tuple[set[str], set[str]]:
    """Return the metrics and labels that an expression names. Raises where it is none."""
    metrics: set[str] = set()
    labels: set[str] = set()

    def visit(node: Expr) -> None:
        if isinstance(node, VectorSelector):
            metrics.add(str(node.name))
            labels.update(matcher.name for matcher in node.matchers.matchers)
        elif isinstance(node, AggregateExpr) and node.modifier:
            labels.update(node.modifier.labels)

    promql_parser.walk(promql_parser.parse(expression.replace("$__rate_interval", "5m")), visit)
    return metrics, labels


def check(expression: str, template: str = "") -> None:
    """Hold an expression, and the labels that a text shows of it, to the table."""
    metrics, labels = asked(expression)
    known = exposed()
    assert metrics
    assert metrics <= known.keys()
    has = PROMETHEUS_OWN.union(*(known[name] for name in metrics))
    assert labels <= has
    assert set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", template)) <= labels


@pytest.mark.parametrize(("title", "target"), TARGETS, ids=[f"{title} {each['refId']}" for title, each in TARGETS])
def test_a_panel_asks_for_what_there_is(title: str, target: dict[str, str]) -> None:
    """Each expression is parsed; its metrics and labels are those of the table."""
    check(target["expr"], target["legendFormat"])


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_a_rule_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    """So does each alert, which says in a sentence what is wrong, and what to do."""
    check(rule["expr"], " ".join(rule["annotations"].values()))
    assert set(rule["annotations"]) == {"summary", "description"}
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert promql_parser.parse_duration(rule["for"]) is not None


def test_every_metric_is_on_the_dashboard_or_left_out_with_a_reason() -> None:
    """What is counted is drawn, but for what the alerts alone look at, and what a number beside it says already."""
    drawn = set[str]().union(*(asked(target["expr"])[0] for _, target in TARGETS))
    stems = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in drawn}
    left_out = {
        "cloudia_breaker_changes",  # The state is drawn.
        "cloudia_breaker_errors",  # So is what it comes to.
        "cloudia_frames_logged",  # What is delivered is.
        "cloudia_telemetry_dropped",  # An alert.
    }
    assert {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in exposed()} - stems == left_out


def test_panels_do_not_overlap() -> None:
    """Each has a place, an id and a title of its own."""
    places = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len({panel["title"] for panel in DASHBOARD["panels"]})
