"""Which case answers which request: cases wait in a queue, and each job takes a turn of the first that speaks its API."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudia.sim.llm import case as cases
from cloudia.sim.llm import fields
from cloudia.sim.llm.fields import FieldError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudia.sim.llm.case import Exchange
    from cloudia.sim.llm.prompts import Provider

__all__ = ["MAX_JOBS", "MAX_TURNS", "Plays", "Turn"]

MAX_TURNS = 1_000  # that wait
MAX_JOBS = 1_000  # whose turns are remembered


class Turn:
    """A turn that is being played: each API's answers in their order, of which the last one repeats."""

    def __init__(self, answers: Mapping[Provider, Sequence[Exchange]]) -> None:
        self._left = {api: deque(exchanges) for api, exchanges in answers.items()}
        self._last = {api: exchanges[-1] for api, exchanges in answers.items()}

    def over(self, api: Provider) -> bool:
        """Return whether every answer has been given, of those to requests of an API."""
        return not self._left[api]

    def speaks(self, api: Provider) -> bool:
        """Return whether it has answers to requests of an API."""
        return api in self._last

    def answer(self, api: Provider, body: Mapping[str, Any], path: str) -> Exchange:
        """Return what answers a request of an API that it speaks."""
        exchange = self._left[api][0] if self._left[api] else self._last[api]
        given = exchange.to(body, path)
        if given is exchange and self._left[api]:
            self._left[api].popleft()
        return given


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A turn of a case that no job has taken yet."""

    name: str
    answers: Mapping[Provider, Sequence[Exchange]]


class Plays:
    """The cases that are to be played.

    A job keeps the turn that it took, through all its attempts. A request that bears no job's id goes on in the turn that such
    requests are in, until its answers are used up.
    """

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()
        self._taken: OrderedDict[str | None, Turn] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many turns no job has taken yet."""
        return len(self._waiting)

    def add(self, data: dict[str, Any]) -> str:
        """Queue `{"case", "times"}`; `times` is 1 unless told. Return the case's name. Raises FieldError."""
        fields.known(data, {"case", "times"})
        times = fields.integer(data, "times", least=1, most=MAX_TURNS) or 1
        case = cases.parse(fields.obj(data, "case"))
        if len(self._waiting) + times * len(case.turns) > MAX_TURNS:
            raise FieldError("", f"more than {MAX_TURNS} turns would wait")
        self._waiting.extend(_Waiting(case.name, turn) for _ in range(times) for turn in case.turns)
        return case.name

    def take(self, api: Provider, job_id: str | None) -> Turn | None:
        """Return the turn that answers a request; None if no case does."""
        taken = self._taken.get(job_id)
        if taken and taken.speaks(api) and not (job_id is None and taken.over(api)):
            return taken
        for waiting in self._waiting:
            if api in waiting.answers:
                self._waiting.remove(waiting)
                turn = self._taken[job_id] = Turn(waiting.answers)
                while len(self._taken) > MAX_JOBS:
                    self._taken.popitem(last=False)
                return turn
        return None

    def entries(self) -> list[dict[str, Any]]:
        """Return which cases wait: `{"name", "turns"}`, with the turns that are left of each in a row."""
        found: list[dict[str, Any]] = []
        for waiting in self._waiting:
            if not found or found[-1]["name"] != waiting.name:
                found.append({"name": waiting.name, "turns": 0})
            found[-1]["turns"] += 1
        return found

    def clear(self) -> int:
        """Forget what waits and what is played, and return how many turns waited."""
        count = len(self._waiting)
        self._waiting.clear()
        self._taken.clear()
        return count
