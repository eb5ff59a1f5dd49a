"""The storm: what happens when, decided beforehand. Same numbers, same storm. No I/O."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["ALONE", "Alone", "Blow", "Message", "Storm", "StormSize", "Trouble", "Way", "make_storm"]

Target: TypeAlias = Literal["worker", "gateway", "redis", "client"]
Way: TypeAlias = Literal["api", "late", "dies", "later"]
"""Who accepts a message: the HTTP API; a function that is slow to send it; one that dies before; one of a later version."""
Alone: TypeAlias = Literal["order", "orphans", "skew", "stopped", "refused", "clock"]
"""What can be drilled alone: messages posted at once, functions that die between their writes, versions that differ, workers
that stand still for longer than their leases, actions that AWS refuses the workers, a worker's clock that is set."""
ALONE: tuple[Alone, ...] = get_args(Alone)

_DUPLICATES = 0.1
"""Share of the messages that are sent twice."""
_WORDS = (5, 60)
_BURST = (2, 5)
_LATE = 0.3
"""Share of the messages of a burst that are sent after the others of it: the queue has them in another order."""
_CONNECTIONS = 2
_SHARE_ALONE = 0.5
"""Share of the messages that what is drilled alone strikes."""
_STOPS_ALONE = 6.0
_STOP_SECONDS = 6.0
"""Longer than a drill's lease and visibility, so that another worker has the job when this one goes on."""
_SLOW = 40.0
"""Tokens per second where workers are stopped or refused: most of the time they are in the middle of an answer."""
_REFUSED_ALONE = 0.5
_REFUSED_SECONDS = 1.5
_ACTIONS = (
    *("ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"),
    *("UpdateItem", "TransactWriteItems", "Query", "PutItem"),
)
"""What a worker asks of AWS, one by one."""
_SETTINGS_ALONE = 1.0
_SET_SECONDS = 3.0
_SET_BY = (60.0, 300.0)
"""By how much a clock is set, forwards or back."""
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
    worker_stops: float = 0.0
    refusals: float = 0.0
    """Mean time between the end of a refusal and the next one."""
    pace: float = 0.2
    """Mean time between two messages of a conversation."""
    clock_settings: float = 0.0
    """Mean time in which the first worker's clock is right, before it is set again."""
    bursts: float = 0.2
    """Share of the messages that begin a burst: 2 to 5 of one conversation at once, on one connection and several."""
    orphans: float = 0.02
    """Share of the messages whose function dies before it sends them; likewise of those of a later version."""
    skew: float = 0.05
    tokens_per_second: float = 300.0
    """Of the provider."""

    def only(self, names: Collection[Alone]) -> StormSize:
        """Return the size of a storm of these alone: nothing is killed, and the provider does not fail."""
        stopped, refused, clock = "stopped" in names, "refused" in names, "clock" in names
        shares = {name: _SHARE_ALONE if name in names else 0.0 for name in ALONE}
        calm = replace(self, failures=0.0, worker_kills=0.0, gateway_kills=0.0, redis_restarts=0.0, client_cuts=0.0)
        return replace(
            calm,
            bursts=shares["order"],
            orphans=shares["orphans"],
            skew=shares["skew"],
            worker_stops=_STOPS_ALONE if stopped else 0.0,
            refusals=_REFUSED_ALONE if refused else 0.0,
            clock_settings=_SETTINGS_ALONE if clock else 0.0,
            tokens_per_second=_SLOW if stopped or refused or clock else self.tokens_per_second,
        )


@dataclass(frozen=True, slots=True)
class Message:
    """A message, `after` seconds behind the one before in its conversation; `twice` is the same request again."""

    after: float
    content: str
    twice: bool
    at_once: bool = False
    """Whether it is posted at the same moment as the one before."""
    connection: int = 0
    """On which of its user's two connections its events are awaited."""
    way: Way = "api"


@dataclass(frozen=True, slots=True)
class Blow:
    """Something that breaks, `at` seconds into the storm; `number` picks which one. It is killed, or stopped for `seconds`."""

    at: float
    target: Target
    number: int
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happens to a worker, from `at` seconds after its start, for `seconds`."""

    at: float
    seconds: float
    refused: str = ""
    """An action that AWS refuses it for good, as it seems."""
    clock: float = 0.0
    """By how many seconds its clock is wrong."""


@dataclass(frozen=True, slots=True)
class Storm:
    """All of it: messages by conversation, blows in the order of their times, the provider's faults, each worker's troubles."""

    conversations: tuple[tuple[Message, ...], ...]
    blows: tuple[Blow, ...]
    faults: tuple[tuple[str, float], ...]
    troubles: tuple[Trouble, ...]


def make_storm(size: StormSize, *, horizon: float = 600.0) -> Storm:
    """Return the storm of a size; its blows reach `horizon` seconds, and end with the last job."""
    dice = random.Random(size.seed)  # noqa: S311 - a storm must come again
    counts = [size.jobs // size.conversations + (n < size.jobs % size.conversations) for n in range(size.conversations)]
    conversations = tuple(tuple(_messages(dice, size, number, count)) for number, count in enumerate(counts))
    blows: list[Blow] = []
    for target, interval, seconds in _intervals(size):
        at = 0.0
        while interval and (at := at + dice.uniform(0.5, 1.5) * interval) < horizon:
            blows.append(Blow(at, target, dice.randrange(1_000_000), seconds))
    faults = tuple((fault, share / _FAILING * size.failures) for fault, share in _FAULTS if size.failures)
    troubles = tuple(_troubles(dice, size, horizon))
    return Storm(conversations, tuple(sorted(blows, key=lambda blow: blow.at)), faults, troubles)


def _troubles(dice: random.Random, size: StormSize, horizon: float) -> Iterator[Trouble]:
    """Yield the refusals, one after the other, each action before any comes again; and the times at which a clock is wrong."""
    at, actions = 0.0, itertools.cycle(dice.sample(_ACTIONS, len(_ACTIONS)))
    while size.refusals and (at := at + dice.uniform(0.5, 1.5) * size.refusals) < horizon:
        yield Trouble(at, _REFUSED_SECONDS, refused=next(actions))
        at += _REFUSED_SECONDS
    at = 0.0
    while size.clock_settings and (at := at + dice.uniform(0.5, 1.5) * size.clock_settings) < horizon:
        yield Trouble(at, _SET_SECONDS, clock=dice.choice((-1, 1)) * dice.uniform(*_SET_BY))
        at += _SET_SECONDS


def _intervals(size: StormSize) -> tuple[tuple[Target, float, float], ...]:
    """Return what breaks, the mean interval, and for how long it is stopped."""
    return (
        ("worker", size.worker_kills, 0.0),
        ("gateway", size.gateway_kills, 0.0),
        ("redis", size.redis_restarts, 0.0),
        ("client", size.client_cuts, 0.0),
        ("worker", size.worker_stops, _STOP_SECONDS),
    )


def _messages(dice: random.Random, size: StormSize, number: int, count: int) -> Iterator[Message]:
    """Yield the messages of a conversation. The first is posted alone: there is no conversation before it."""
    left = 0
    for turn in range(count):
        at_once = left > 0
        left = left - 1 if at_once else _burst(dice, size) if turn else 0
        late = _LATE if at_once or left else 0.0
        yield _message(dice, size, f"conversation {number}, message {turn}", at_once=at_once, late=late)


def _burst(dice: random.Random, size: StormSize) -> int:
    """Return how many messages are posted together with another one."""
    return dice.randint(*_BURST) - 1 if dice.random() < size.bursts else 0


def _way(dice: random.Random, shares: dict[Way, float]) -> Way:
    kind = dice.random()
    for way, share in shares.items():
        if kind < share:
            return way
        kind -= share
    return "api"


def _message(dice: random.Random, size: StormSize, name: str, *, at_once: bool, late: float) -> Message:
    way = _way(dice, {"dies": size.orphans, "later": size.skew, "late": late})
    return Message(
        after=0.0 if at_once else dice.expovariate(1 / size.pace),
        content=f"{name} [[words:{dice.randint(*_WORDS)}]]",
        twice=dice.random() < _DUPLICATES and way == "api",
        at_once=at_once,
        connection=dice.randrange(_CONNECTIONS) if size.bursts else 0,
        way=way,
    )
