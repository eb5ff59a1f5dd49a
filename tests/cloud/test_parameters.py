"""Parameters: read once in five minutes, missing ones seen as soon as they are there."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.retries.standard import ExponentialBackoff

from cloudia.cloud import parameters
from cloudia.cloud.aws import Aws
from cloudia.cloud.parameters import Parameters
from cloudia.errors import UnavailableError
from cloudia.settings import Settings
from cloudia.stack import Parameter
from tests.support import Cloud


class Clock:
    """A clock that stands still until it is moved, in place of the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(parameters, "time", clock)
    return clock


def put(cloud: Cloud, parameter: Parameter, value: str) -> None:
    cloud.aws.ssm.put_parameter(Name=parameter.name, Value=value, Type="SecureString", Overwrite=True)


def test_a_parameter_is_decrypted(cloud: Cloud) -> None:
    """`get` and `require` return the plain value."""
    known = Parameters(cloud.aws.ssm)
    assert known.get(cloud.stack.token_secret) == cloud.secrets["token"]
    assert known.require(cloud.stack.session_secret) == cloud.secrets["session"]


def test_a_value_is_kept_for_five_minutes(cloud: Cloud, clock: Clock) -> None:
    """A rotated secret is taken up within five minutes, without a restart, and not by a request for every message."""
    known, parameter = Parameters(cloud.aws.ssm), cloud.stack.token_secret
    before = known.get(parameter)
    put(cloud, parameter, "rotated")
    clock.now += 299
    assert known.get(parameter) == before
    clock.now += 2
    assert known.get(parameter) == "rotated"


def test_a_missing_parameter_is_none_and_asked_for_again(cloud: Cloud, clock: Clock) -> None:
    """A key that is put later is seen at once: that there was none is not remembered."""
    known, parameter = Parameters(cloud.aws.ssm), Parameter("/nowhere/key", "never made")
    assert known.get(parameter) is None
    put(cloud, parameter, "now")
    assert known.get(parameter) == "now"


def test_a_required_parameter_must_exist(cloud: Cloud) -> None:
    """The error names the parameter and says what to do."""
    with pytest.raises(UnavailableError) as missing:
        Parameters(cloud.aws.ssm).require(Parameter("/nowhere/secret", "never made"))
    assert missing.value.code == "not_provisioned"
    assert "/nowhere/secret" in missing.value.message
    assert "cloudia provision" in missing.value.hint


@pytest.mark.parametrize("age", [0.0, 301.0, 86_400.0])
def test_a_known_value_needs_no_ssm(cloud: Cloud, clock: Clock, monkeypatch: pytest.MonkeyPatch, age: float) -> None:
    """While SSM is away, what was read is used however old it is; what was not read is `UnavailableError`."""
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        away: Any = Aws(Settings(aws_endpoint_url=f"http://127.0.0.1:{nobody.getsockname()[1]}")).ssm
        known = Parameters(cloud.aws.ssm)
        value = known.get(cloud.stack.token_secret)
        known._ssm = away
        clock.now += age
        assert known.get(cloud.stack.token_secret) == value
        with pytest.raises(UnavailableError) as unreachable:
            known.get(cloud.stack.session_secret)
    assert unreachable.value.code == "aws_unavailable"
    away.close()


def test_a_ssm_that_is_away_is_not_asked_for_every_message(cloud: Cloud, clock: Clock) -> None:
    """An old value costs one try in ten seconds, and is read again once SSM is back."""

    class Away:
        asked = 0

        def get_parameter(self, **_: Any) -> Any:
            self.asked += 1
            raise EndpointConnectionError(endpoint_url="http://nowhere")

    away: Any = Away()
    known, parameter, there = Parameters(cloud.aws.ssm), cloud.stack.token_secret, cloud.aws.ssm
    value = known.get(parameter)
    known._ssm = away
    clock.now += 301
    assert [known.get(parameter) for _ in range(50)] == [value] * 50
    assert away.asked == 1
    clock.now += 11
    assert known.get(parameter) == value
    assert away.asked == 2
    put(cloud, parameter, "rotated")
    known._ssm = there
    clock.now += 11
    assert known.get(parameter) == "rotated"
