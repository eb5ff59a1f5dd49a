"""The storm: what happens when, decided beforehand. Same numbers, same storm. No I/O."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Blow", "Message", "Storm", "StormSize", "make_storm"]

Target: TypeAlias = Literal["worker", "gateway", "redis", "client"]

_DUPLICATES = 0.1
"""Share of the messages that are sent twice."""
_WORDS = (5, 60)
_FAULTS = (("500", 0.12), ("cut", 0.10), ("429", 0.04), ("garbage", 0.04))
"""The provider's faults and their shares, for a storm in which 30 % of the calls fail."""
_FAILING = sum(share for _, share in _FAULTS)


@dataclass(frozen=True, slots=True)
class StormSize:
    """How much happens. Times in seconds; an interval of 0 is never."""

    jobs: int = 200
    conversations: int = 20
    seed: int = 1
    failures: float = 0.3
    """Share of the provider's calls that fail."""
    worker_kills: float = 4.0
    """Mean interval of kills of a worker; likewise of the others."""
    gateway_kills: float = 9.0
    redis_restarts: float = 15.0
    client_cuts: float = 0.5
    pace: float = 0.2
    """Mean time between two messages of a conversation."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message, `after` seconds behind the one before in its conversation; `twice` is the same request again."""

    after: float
    content: str
    twice: bool


@dataclass(frozen=True, slots=True)
class Blow:
    """Something that breaks, `at` seconds into the storm; `number` picks which one."""

    at: float
    target: Target
    number: int


@dataclass(frozen=True, slots=True)
class Storm:
    """All of it: messages by conversation, blows in the order of their times, faults of the provider with their rates."""

    conversations: tuple[tuple[Message, ...], ...]
    blows: tuple[Blow, ...]
    faults: tuple[tuple[str, float], ...]


def make_storm(size: StormSize, *, horizon: float = 600.0) -> Storm:
    """Return the storm of a size; its blows reach `horizon` seconds, and end with the last job."""
    dice = random.Random(size.seed)  # noqa: S311 - a storm must come again
    counts = [size.jobs // size.conversations + (n < size.jobs % size.conversations) for n in range(size.conversations)]
    conversations = tuple(
        tuple(_message(dice, size, number, turn) for turn in range(count)) for number, count in enumerate(counts)
    )
    blows: list[Blow] = []
    for target, interval in _intervals(size):
        at = 0.0
        while interval and (at := at + dice.uniform(0.5, 1.5) * interval) < horizon:
            blows.append(Blow(at, target, dice.randrange(1_000_000)))
    faults = tuple((fault, share / _FAILING * size.failures) for fault, share in _FAULTS if size.failures)
    return Storm(conversations, tuple(sorted(blows, key=lambda blow: blow.at)), faults)


def _intervals(size: StormSize) -> tuple[tuple[Target, float], ...]:
    return (
        ("worker", size.worker_kills),
        ("gateway", size.gateway_kills),
        ("redis", size.redis_restarts),
        ("client", size.client_cuts),
    )


def _message(dice: random.Random, size: StormSize, number: int, turn: int) -> Message:
    words = dice.randint(*_WORDS)
    return Message(
        after=dice.expovariate(1 / size.pace),
        content=f"conversation {number}, message {turn} [[words:{words}]]",
        twice=dice.random() < _DUPLICATES,
    )
