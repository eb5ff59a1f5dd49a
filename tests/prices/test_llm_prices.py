"""The prices of LLMs: the same as those of the library that they come from, and what is nonsense is told."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Any

import genai_prices
import pytest
from genai_prices.data import providers

from cloudia.errors import CloudiaError, UsageError
from cloudia.prices.llm import FILE, Book, LlmPrices, built_in, own_prices
from cloudia.prices.price import Price, nanodollars
from cloudia.providers import PROVIDERS
from tests.patience import HANGS
from tests.support import clean_environment

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
CLAUDE = "eu.anthropic.claude-haiku-4-5-20251001-v1:0"
TIMES = (NOW, datetime(2026, 11, 28, 2, 30, tzinfo=UTC), datetime(2027, 3, 1, 23, 45, tzinfo=UTC))
USAGES: tuple[dict[str, int], ...] = (
    {"input_tokens": 1000, "output_tokens": 300},
    {"input_tokens": 260_000, "output_tokens": 4000, "cache_read_tokens": 200_000},
    {"input_tokens": 150_000, "output_tokens": 1, "cache_read_tokens": 90_000, "cache_write_tokens": 50_000},
    {"input_tokens": 200_000, "output_tokens": 2048},
    {"input_tokens": 200_001, "output_tokens": 2048, "cache_write_tokens": 7},
    {"input_tokens": 600_000, "output_tokens": 0},
)
CASES = tuple(product(TIMES, USAGES))


def names(clause: Any) -> list[str]:
    """Return names that a clause of the library's may mean."""
    inner = getattr(clause, "or_", None) or getattr(clause, "and_", None)
    if inner:
        return [name for each in inner for name in names(each)]
    ((kind, text),) = vars(clause).items()
    return [] if kind == "regex" else [text, f"{text}-20260811", f"x-{text}"] if kind != "equals" else [text]


@pytest.mark.parametrize("provider", [spec.name for spec in PROVIDERS.values() if spec.priced_as])
def test_costs_are_those_of_the_library(provider: str) -> None:
    """Each model of a provider of ours, by each name, with tiers, caches and times: the same sum, or it is not known here."""
    library = PROVIDERS[provider].priced_as
    (told,) = [each for each in providers if each.id == library]
    asked = {name.lower() for model in told.models for name in [model.id, *names(model.match)]}
    assert len(asked) > 5
    known = unknown = 0
    for number, name in enumerate(sorted(asked)[:: 1 + len(asked) // 300]):  # A router has thousands.
        for at, usage in CASES[number % 3 :: 3]:
            price = built_in().price(provider, name, url="", at=at.timestamp())
            try:
                theirs = genai_prices.calc_price(
                    genai_prices.Usage(**usage), name, provider_id=library, genai_request_timestamp=at
                )
            except LookupError:
                assert price is None, name
                continue
            if price is None:
                unknown += 1
                continue
            known += 1
            assert price.cost(**usage) == theirs.total_price, (name, usage)
            assert price.most(usage["input_tokens"], usage["output_tokens"]) >= theirs.total_price
    assert known > 30
    assert unknown < known  # What is no chat: it has no price of a token of input, or of output.


def test_who_answers_at_another_url_has_prices_of_their_own() -> None:
    """A URL that speaks like OpenAI is priced as whoever it is; a model on a machine of one's own is not known."""
    book, at = built_in(), NOW.timestamp()
    assert book.price("openai", "gpt-5-mini", url="", at=at) is not None
    groq = book.price("openai", "openai/gpt-oss-120b", url="https://api.groq.com/openai/v1", at=at)
    assert groq is not None
    assert groq == book.price("groq", "openai/gpt-oss-120b", url="", at=at)
    for spec in PROVIDERS.values():
        if spec.priced_as and spec.vendor_url:
            own = spec.vendor_url.format(region="eu-west-1")
            prices = [book.price(spec.name, "gpt-5-mini", url=url, at=at) for url in ("", own, f"{own}/")]
            assert prices == [prices[0]] * 3
    assert (
        book.price("bedrockclaude", CLAUDE, url="https://bedrock-mantle.eu-west-1.api.aws/anthropic", at=at) is not None
    )
    assert book.price("openai", "gpt-5-mini", url="http://127.0.0.1:4000/v1", at=at) is None
    assert book.price("ollama", "gpt-5-mini", url="", at=at) is None
    assert book.price("litellm", "openai/gpt-5-mini", url="", at=at) == book.price(
        "openai", "gpt-5-mini", url="", at=at
    )
    assert book.price("openai", "sim-1", url="", at=at) is None


def test_prices_of_ones_own_come_first() -> None:
    """By model, and before that by provider and model; with tiers and the parts that they name."""
    prices = LlmPrices(
        own_prices(
            '{"gpt-5-mini": {"input": 1, "output": 2}, "azure:gpt-5-mini": {"input": [3, [10, 4]], "output": 0}}'
        )
    )
    at = NOW.timestamp()
    openai, azure = (prices.price(name, "gpt-5-mini", at=at) for name in ("openai", "azure"))
    assert openai is not None
    assert openai.cost(1_000_000, 1_000_000) == 3
    assert azure is not None
    assert (azure.cost(10, 9), azure.cost(20, 9)) == (Decimal("0.00003"), Decimal("0.00008"))
    assert prices.price("openai", "gpt-5", at=at) == built_in().price("openai", "gpt-5", url="", at=at)
    assert prices.price("vllm", "nobody-knows", at=at) is None


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[1]",
        "1",
        "[" * 5000,
        '{"m": 1}',
        '{"m": {"input": 1}}',
        '{"m": {"input": 1, "output": -1}}',
        '{"m": {"input": 1, "output": NaN}}',
        '{"m": {"input": 1, "output": "2"}}',
        '{"m": {"input": 1, "output": true}}',
        '{"m": {"input": 1, "output": 1e300}}',
        '{"m": {"input": [], "output": 1}}',
        '{"m": {"input": [1, 2], "output": 1}}',
        '{"m": {"input": [1, ["2", 3]], "output": 1}}',
        '{"m": {"input": 1, "output": 1, "more": 1}}',
    ],
)
def test_nonsense_is_no_price(text: str) -> None:
    """One sentence that names the setting, and an example."""
    with pytest.raises(UsageError, match=r"llm\.prices") as refused:
        own_prices(text)
    assert '{"model": {"input"' in refused.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"source": 1, "date": "soon", "providers": {}}', "[" * 100_000])
def test_a_file_that_is_no_book_is_told(tmp_path: Path, text: str) -> None:
    """A broken file of prices is one error that says so."""
    file = tmp_path / "llm.json"
    file.write_text(text)
    with pytest.raises(CloudiaError, match="cannot be read") as refused:
        Book.read(file)
    assert refused.value.code == "bad_prices"


def test_the_book_says_where_it_is_from_and_of_when() -> None:
    """Source, licence and day are in the file; 90 days later it is old."""
    book = built_in()
    told = json.loads(FILE.read_text())
    assert book.source.startswith("genai-prices 0.")
    assert "MIT" in told["license"]
    assert not book.is_old(book.day)
    day = book.day.toordinal()
    assert [book.is_old(date.fromordinal(day + days)) for days in (90, 91)] == [False, True]


def test_nanodollars_are_rounded_up() -> None:
    """What is spent is never counted as less."""
    price = Price.decode({"input": Decimal("0.0001"), "output": 1})
    assert price is not None
    assert [nanodollars(price.cost(count, 0)) for count in (0, 1, 10, 11)] == [0, 1, 1, 2]


def test_the_worker_starts_without_prices() -> None:
    """Neither a worker nor a function reads the file when it starts; the module that could is small."""
    code = (
        "import sys, cloudia.worker.__main__, cloudia.functions.post_message;"
        "book = sys.modules.get('cloudia.prices.llm');"
        "print(book.built_in.cache_info().currsize if book else 0)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), check=True, timeout=HANGS)
    assert done.stdout.strip() == "0"
