"""The prices of LLMs: those of one's own, and those that come with cloudia, of a day that they name.

The file beside this module is made by docs/make_prices.py. It is read when a price is first asked for that is not one's own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudia.errors import CloudiaError, UsageError
from cloudia.prices.price import Price
from cloudia.providers import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudia.providers import ProviderSpec

__all__ = ["Book", "LlmPrices", "built_in", "own_prices"]

FILE = Path(__file__).with_suffix(".json")
_OLD_DAYS = 90
_COMPACT_DAY = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=[-:]|$)")
"""A day in the name of a model as routers write it, `gpt-5-20260811`; vendors write `gpt-5-2026-08-11`."""
_EXAMPLE = 'Write it as {"model": {"input": 0.25, "output": 2}}, US dollars for a million tokens.'


@dataclass(frozen=True, slots=True)
class Book:
    """The prices of many providers' models."""

    source: str
    day: date
    """Of the newest price in it."""
    providers: Mapping[str, Any]

    @classmethod
    def read(cls, file: Path) -> Book:
        """Read a book. `CloudiaError` where it is none."""
        try:
            told = json.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
            return cls(told["source"], date.fromisoformat(told["date"]), dict(told["providers"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise CloudiaError(
                f"the prices in {file.name} cannot be read: {type(error).__name__}",
                hint="Install cloudia anew; until then the costs of its models are unknown.",
                code="bad_prices",
            ) from error

    def is_old(self, today: date) -> bool:
        """Tell whether the prices are of so long ago that some will have changed."""
        return (today - self.day).days > _OLD_DAYS

    def price(self, provider: str, model: str, *, url: str, at: float) -> Price | None:
        """Return the price at a time (epoch seconds) of a model of one of our providers; None where it is not known.

        `url` is where the provider was asked, if not at its own URL: who answers there has prices of their own.
        """
        spec, model = PROVIDERS[provider], model.lower()
        name = self._at(url) if url and not _is_own(spec, url) else spec.priced_as
        if spec.routes_by_name and not name:
            name, _, model = model.partition("/")
        if name not in self.providers:
            return None
        found = self._found(name, model) or self._found(name, _COMPACT_DAY.sub(r"-\1-\2-\3", model))
        return Price.decode(_valid(found, datetime.fromtimestamp(at, UTC))) if found else None

    def _at(self, url: str) -> str:
        return next((name for name, told in self.providers.items() if re.match(told["url"], url)), "")

    def _found(self, name: str, model: str) -> list[Any] | None:
        for provider in (name, *self.providers[name]["else"]):
            for clause, history in self.providers.get(provider, {"models": ()})["models"]:
                if _matches(clause, model):
                    found: list[Any] = history
                    return found
        return None


@cache
def built_in() -> Book:
    """Return the book that comes with cloudia. `CloudiaError` where it cannot be read."""
    return Book.read(FILE)


class LlmPrices:
    """The prices of a stack's LLMs: the own ones first, then the built-in."""

    def __init__(self, own: Mapping[str, Price]) -> None:
        self._own = own
        self._found: dict[tuple[str, str, str, int], Price | None] = {}

    def own(self, provider: str, model: str) -> Price | None:
        """Return the price of one's own for a model, None where there is none."""
        return self._own.get(f"{provider}:{model}") or self._own.get(model)

    def price(self, provider: str, model: str, *, url: str = "", at: float) -> Price | None:
        """Return the price of a model at a time; None where it is not known. `CloudiaError` where the file cannot be read."""
        own = self.own(provider, model)
        if own:
            return own
        key = (provider, model, url, int(at) // 1800)  # Prices change at half past, too.
        if key not in self._found:
            if len(self._found) > 1000:  # noqa: PLR2004 - a redrive may name any model
                self._found.clear()
            self._found[key] = built_in().price(provider, model, url=url, at=at)
        return self._found[key]


def own_prices(text: str) -> dict[str, Price]:
    """Return the prices that `llm.prices` says, by `model` or `provider:model`. `UsageError` where it is nonsense."""
    try:
        told = json.loads(text or "{}", parse_float=Decimal)
        found = {name: Price.decode(value) for name, value in told.items()}
    except (ValueError, AttributeError, RecursionError) as error:
        why = f": {error}" if type(error) is ValueError else ""
        raise UsageError(f"llm.prices is not a JSON object of prices{why}", hint=_EXAMPLE) from error
    lacking = next((name for name, price in found.items() if price is None), None)
    if lacking is not None:
        raise UsageError(f"llm.prices has no input or no output of {lacking[:100]!r}", hint=_EXAMPLE)
    return {name: price for name, price in found.items() if price}


def _is_own(spec: ProviderSpec, url: str) -> bool:
    """Tell whether this is a URL of the provider's own, in whatever region."""
    own = [
        re.escape(each).replace(re.escape("{region}"), "[a-z0-9-]+") for each in (spec.vendor_url, spec.also_at) if each
    ]
    return any(re.fullmatch(f"{pattern}/?", url) for pattern in own)


def _matches(clause: Any, model: str) -> bool:
    kind, *inner = clause
    if kind in {"or", "and"}:
        return (any if kind == "or" else all)(_matches(each, model) for each in inner)
    return _TESTS[kind](model, inner[0])


_TESTS: dict[str, Callable[[str, str], bool]] = {
    "=": str.__eq__,
    "^": str.startswith,
    "$": str.endswith,
    "~": str.__contains__,
    "re": lambda model, pattern: bool(re.search(pattern, model)),
}


def _valid(history: list[Any], at: datetime) -> Any:
    """Return the last of the prices that count at a time, else the first."""
    for since, told in reversed(history):
        match since:
            case None:
                return told
            case [start, end]:
                now = at.strftime("%H:%M:%S")
                if (start <= now < end) if start <= end else (now >= start or now < end):
                    return told
            case _:
                if at.date() >= date.fromisoformat(since):
                    return told
    return history[0][1]
