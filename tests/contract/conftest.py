"""The engines that the contract is held against: MiniStack, a real LocalStack, or whatever `CONTRACT_ENDPOINT` names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from cloudia.deploy.provision import destroy
from tests.contract import localstack
from tests.support import Cloud, RunningStack, make_cloud

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDPOINT = os.environ.get("CONTRACT_ENDPOINT", "")


_ENGINES = ["endpoint"] if ENDPOINT else ["ministack", pytest.param("localstack", marks=pytest.mark.long)]


@pytest.fixture(scope="session", params=_ENGINES)
def engine(request: pytest.FixtureRequest, stack: RunningStack) -> Iterator[str]:
    """Where an engine listens."""
    if request.param == "endpoint":
        yield ENDPOINT
    elif request.param == "ministack":
        yield stack.run["aws_endpoint_url"]
    else:
        try:
            with localstack.running() as url:
                yield url
        except localstack.MissingError as error:
            pytest.skip(str(error))


@pytest.fixture(scope="module")
def cloud(engine: str, stack: RunningStack) -> Iterator[Cloud]:
    """A cloud on that engine, for all tests of a file: every test has conversations of its own."""
    made = make_cloud(stack, aws_endpoint_url=engine)
    yield made
    list(destroy(made.aws, made.stack))
