"""The definition of the cloud: complete, consistent, within AWS's limits for names."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re

import pytest

import cloudia.functions
from cloudia.stack import Function, Route, Service, Stack

STACK = Stack("chat")
PARTS: list[Function | Service] = [*STACK.functions, STACK.worker, STACK.gateway]
LONGEST = Stack("n" * 64)


def test_every_resource_bears_the_name_of_its_stack() -> None:
    """Two stacks share an account: no name of one is a name of the other."""
    names = [*(queue.name for queue in STACK.queues), *(table.name for table in STACK.tables)]
    assert all(name.startswith("chat-") for name in names)
    assert all(parameter.name.startswith("/chat/") for parameter in STACK.parameters)
    every = [*names, *(parameter.name for parameter in STACK.parameters)]
    assert len(set(every)) == len(every)
    assert not any(name.startswith(("chat2-", "/chat2/")) for name in every)


def test_names_fit_aws_for_the_longest_stack_name() -> None:
    """SQS takes 80 characters with `.fifo`, DynamoDB 3 to 255 of its own alphabet, SSM a path."""
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,75}\.fifo", queue.name) for queue in LONGEST.queues)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", table.name) for table in LONGEST.tables)
    assert all(re.fullmatch(r"(/[A-Za-z0-9_.-]+)+", parameter.name) for parameter in LONGEST.parameters)
    assert all(parameter.description for parameter in LONGEST.parameters)


def test_queues_are_fifo_and_ordered_by_conversation() -> None:
    """I3: high-throughput FIFO, deduplicated by our ids and never by content, which may repeat."""
    for queue in STACK.queues:
        attributes = queue.attributes(None)
        assert attributes["FifoQueue"] == "true"
        assert attributes["ContentBasedDeduplication"] == "false"
        assert attributes["DeduplicationScope"] == "messageGroup"
        assert attributes["FifoThroughputLimit"] == "perMessageGroupId"
        assert "RedrivePolicy" not in attributes
        assert 0 <= int(attributes["VisibilityTimeout"]) <= 43_200
        assert 60 <= int(attributes["MessageRetentionPeriod"]) <= 1_209_600
        assert all(isinstance(value, str) for value in attributes.values())


def test_dead_letters_are_kept_longer_than_jobs() -> None:
    """I1: what is moved to the dead letters keeps its age, so their queue must remember for longer."""
    assert STACK.queues == (STACK.dead_letters, STACK.jobs_queue)  # provisioned in this order: the ARN is needed
    assert STACK.jobs_queue.dead_letters == STACK.dead_letters.name
    assert STACK.dead_letters.dead_letters is None
    assert STACK.dead_letters.retention_seconds > STACK.jobs_queue.retention_seconds
    policy = json.loads(STACK.jobs_queue.attributes("arn:aws:sqs:eu:0:dlq")["RedrivePolicy"])
    assert policy["deadLetterTargetArn"] == "arn:aws:sqs:eu:0:dlq"
    assert 1 <= int(policy["maxReceiveCount"]) <= 1000


def test_what_expires_is_what_may_be_forgotten() -> None:
    """I1: conversations and messages are never dropped by a TTL; jobs, keys and signs of life are."""
    expiring = {table.name for table in STACK.tables if table.ttl_attribute}
    assert expiring == {STACK.jobs.name, STACK.idempotency.name, STACK.presence.name}


def test_routes_are_unique() -> None:
    """A method and a path lead to one function."""
    pairs = [(route.method, route.path) for route in STACK.routes]
    assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize("route", STACK.routes, ids=lambda route: route.function)
def test_every_route_has_a_function(route: Route) -> None:
    """The module it names exists and has a `handler`."""
    module = importlib.import_module(f"cloudia.functions.{route.function}")
    assert callable(module.handler)


def test_every_function_has_a_route() -> None:
    """No handler ships that nobody can reach."""
    names = [module.name for module in pkgutil.iter_modules(cloudia.functions.__path__)]
    handlers = {name for name in names if hasattr(importlib.import_module(f"cloudia.functions.{name}"), "handler")}
    assert handlers == {route.function for route in Stack("chat", operator=True).routes}


def test_the_functions_are_those_of_the_routes() -> None:
    """What a function may do is said for each that has a route, once."""
    names = [function.name for function in STACK.functions]
    assert sorted(names) == sorted({route.function for route in STACK.routes})


@pytest.mark.parametrize("function", STACK.functions, ids=lambda function: function.name)
def test_a_function_ends_before_the_api_gives_up(function: Function) -> None:
    """I7: an HTTP API waits for 30 s, and then its caller learns nothing; Lambda takes 128 MB to 10,240 MB."""
    assert 0 < function.timeout_seconds < 30
    assert 128 <= function.memory_mb <= 10_240


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_grant_is_narrow(part: Function | Service) -> None:
    """A grant names a resource of the stack and actions of its service, none with a wildcard; no two are for the same."""
    known = {*STACK.queues, *STACK.tables, *STACK.parameters}
    for grant in part.grants:
        assert grant.resource in known
        assert grant.actions
        assert all(action.startswith(f"{grant.resource.service}:") and "*" not in action for action in grant.actions)
    meant = [(grant.resource.name, grant.index) for grant in part.grants]
    assert len(set(meant)) == len(meant)


def test_cors_is_what_a_page_needs() -> None:
    """A page of another origin may use every route, send its token and trace, see when to try again, and what time it is."""
    configuration = STACK.cors.configuration(["http://there"])
    assert set(configuration["AllowMethods"]) == {route.method for route in STACK.routes}
    assert {"authorization", "content-type", "traceparent"} <= set(configuration["AllowHeaders"])
    assert configuration["ExposeHeaders"] == ["date", "retry-after"]
    assert configuration["AllowOrigins"] == ["http://there"]


def test_logs_are_kept_for_a_time_that_cloudwatch_knows() -> None:
    """CloudWatch takes some numbers of days only.

    https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
    """
    assert STACK.log_retention_days in {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365}
