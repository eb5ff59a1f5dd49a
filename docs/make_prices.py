"""Make cloudia/prices/llm.json from the prices that genai-prices holds (MIT), with its version and the day of its newest price.

pip install --upgrade genai-prices; python docs/make_prices.py
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genai_prices import types
from genai_prices.data import providers

KEPT = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "output_reasoning_mtok": "reasoning",
    "requests_kcount": "requests",
}
"""What a worker counts of a chat, and what its price is called here."""
FILE = Path(__file__).parent.parent / "cloudia" / "prices" / "llm.json"
_CLAUSES = {"equals": "=", "starts_with": "^", "ends_with": "$", "contains": "~", "regex": "re"}


def match(clause: Any) -> list[Any]:
    """Return a clause about a model's name, such as `["or", ["=", "o3"], ["^", "o3-2025"]]`."""
    for name in ("or_", "and_"):
        if hasattr(clause, name):
            return [name.rstrip("_"), *(match(inner) for inner in getattr(clause, name))]
    ((name, text),) = vars(clause).items()
    return [_CLAUSES[name], text if name == "regex" else text.lower()]


def number(price: Any) -> Any:
    """Return a price: a number, or the number below the first tier and then `[more tokens than, number]` of each."""
    if isinstance(price, types.TieredPrices):
        return [number(price.base), *([tier.start, number(tier.price)] for tier in price.tiers)]
    return int(price) if price == price.to_integral_value() else float(price)


def prices(found: Any) -> dict[str, Any]:
    """Return the prices of a model that are kept; none at all is what a free one has."""
    known = {name: price for name, price in vars(found).items() if price is not None}
    return (
        {KEPT[name]: number(price) for name, price in known.items() if name in KEPT}
        if known
        else {"input": 0, "output": 0}
    )


def history(model: Any, newest: date) -> list[Any]:
    """Return a model's prices as `[from, prices]`, the one that counts last: from a day, or in hours of each day (UTC).

    What was over long before the newest price is left out: a job's record is kept for 30 days.
    """
    if isinstance(model.prices, types.ModelPrice):
        return [[None, prices(model.prices)]]
    found: list[Any] = []
    for entry in model.prices:
        match entry.constraint:
            case None:
                found.append([None, prices(entry.prices)])
            case types.StartDateConstraint(start):
                if (newest - start).days > 90:  # It counts for all that anybody asks about.
                    found.clear()
                found.append([start.isoformat(), prices(entry.prices)])
            case types.TimeOfDateConstraint(start, end):
                found.append([[f"{start:%H:%M:%S}", f"{end:%H:%M:%S}"], prices(entry.prices)])
    return found


def main() -> None:
    """Write the file."""
    starts = {
        entry.constraint.start_date
        for provider in providers
        for model in provider.models
        if isinstance(model.prices, list)
        for entry in model.prices
        if isinstance(entry.constraint, types.StartDateConstraint)
    }
    newest = max(start for start in starts if start <= datetime.now(UTC).date())
    book = {
        "source": f"genai-prices {version('genai-prices')}, https://github.com/pydantic/genai-prices",
        "license": "MIT, Copyright (c) Pydantic Services Inc. 2025 to present",
        "date": newest.isoformat(),
        "unit": "US dollars per million tokens; requests: per thousand",
        "providers": {
            provider.id: {
                "url": provider.api_pattern,
                "else": provider.fallback_model_providers or [],
                "models": [[match(model.match), history(model, newest)] for model in provider.models],
            }
            for provider in providers
        },
    }
    lines = (
        json.dumps(book, separators=(",", ":")).replace('"models":[[', '"models":[\n[').replace("]]],[[", "]]],\n[[")
    )
    FILE.write_text(lines + "\n")


if __name__ == "__main__":
    main()
