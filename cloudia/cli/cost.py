"""`cloudia cost`: what the LLM has cost, and what a stack on AWS would."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cloudia.cli.cloud_target import TargetName  # noqa: TC001 - typer reads it
from cloudia.cli.output import STATE, note, print_json, table, table_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudia.operate.costs import Cost

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class By(StrEnum):
    """What is summed."""

    model = "model"
    user = "user"
    conversation = "conversation"
    day = "day"


@app.callback()
def cost(
    context: typer.Context,
    *,
    since: Annotated[str, typer.Option(help="How far back: 30s, 5m, 2h, 7d; records are kept for 30 days.")] = "30d",
    by: Annotated[By, typer.Option(help="What is summed.")] = By.model,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="Most rows of the table.")] = 50,
    target: TargetName = None,
    json: Json = False,
) -> None:
    """Sum up what the LLM has cost, of every attempt that was paid: answered, failed, retried, stopped."""
    if context.invoked_subcommand:
        return
    from cloudia.cli.durations import parse_seconds  # noqa: PLC0415 - lazy
    from cloudia.cli.services import open_services  # noqa: PLC0415 - lazy
    from cloudia.operate import costs as work  # noqa: PLC0415 - lazy
    from cloudia.prices.llm import LlmPrices, own_prices  # noqa: PLC0415 - lazy

    STATE.json = json
    start = time.time() - parse_seconds(since)
    services = open_services(target)
    settings = services.target.settings
    prices = LlmPrices(own_prices(settings.llm_prices))
    found = work.costs(work.jobs_since(services.cloud.jobs, start), by.value, since=start, prices=prices)
    whole = work.total(found)
    if json:
        from cloudia import ids  # noqa: PLC0415 - lazy

        rows = [each.to_json() for each in found]
        print_json({"since": ids.iso(start), "by": by.value, "rows": rows, "total": whole.to_json(), "prices": _book()})
        return
    _print(found[:limit], whole, by.value)
    if len(found) > limit:
        note(f"{len(found) - limit} more; show them with --limit")
    if whole.unknown:
        note(f"of {whole.unknown} attempts nobody knows the cost: no price of their model, or their worker died")
    if whole.estimated:
        note(f"{whole.estimated} attempts broke off before their tokens were told: these are estimates")
    book = _book()
    if book["old"]:
        note(f"the built-in prices are of {book['date']}: install a newer cloudia, or set llm.prices")


def _book() -> dict[str, str | bool]:
    """Return where the built-in prices are from."""
    from datetime import UTC, datetime  # noqa: PLC0415 - lazy

    from cloudia.prices.llm import built_in  # noqa: PLC0415 - lazy

    book = built_in()
    return {"source": book.source, "date": book.day.isoformat(), "old": book.is_old(datetime.now(UTC).date())}


def _print(found: Sequence[Cost], whole: Cost, by: str) -> None:
    from rich.text import Text  # noqa: PLC0415 - lazy

    counted = ("MESSAGES", "ATTEMPTS", "INPUT", "CACHED", "OUTPUT", "COST")
    shown = table(by.upper(), *counted, right=counted)
    for each in (*found, whole):
        counts = (len(each.jobs), each.attempts, each.input_tokens, each.cached_tokens, each.output_tokens)
        shown.add_row(Text(each.name), *(f"{count:,}" for count in counts), _dollars(each))
    table_console().print(shown)


def _dollars(cost: Cost) -> str:
    if cost.unknown == cost.attempts and cost.attempts:
        return "unknown"
    return f"${cost.dollars:,.4f}" + (" + unknown" if cost.unknown else "")


@app.command()
def estimate(
    *,
    messages_per_month: Annotated[int, typer.Option(min=0, max=10**12, help="Messages of all users in a month.")],
    input_tokens: Annotated[
        int, typer.Option(min=0, max=10_000_000, help="Tokens that a message has the LLM read: its conversation too.")
    ] = 1500,
    output_tokens: Annotated[int, typer.Option(min=0, max=1_000_000, help="Tokens of an answer.")] = 400,
    workers: Annotated[int, typer.Option(min=0, max=10_000, help="Workers that run all the time.")] = 1,
    gateways: Annotated[int, typer.Option(min=0, max=10_000, help="Gateways that run all the time.")] = 1,
    json: Json = False,
) -> None:
    """Estimate what a stack would cost on AWS in a month, part by part, beside the configured LLM. Nothing is asked of AWS.

    Free tiers, discounts and taxes are left out.
    """
    from cloudia.cloud.routes import named_routes  # noqa: PLC0415 - lazy
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy
    from cloudia.prices.aws import Load, tables  # noqa: PLC0415 - lazy
    from cloudia.prices.aws import estimate as parts_of  # noqa: PLC0415 - lazy
    from cloudia.prices.llm import LlmPrices, own_prices  # noqa: PLC0415 - lazy
    from cloudia.providers import PROVIDERS  # noqa: PLC0415 - lazy

    STATE.json = json
    settings = find_project().settings({}).settings
    provider, model = next(named_routes(settings))
    model = model or PROVIDERS[provider].default_model
    price = LlmPrices(own_prices(settings.llm_prices)).price(provider, model, at=time.time())
    llm = messages_per_month * price.cost(input_tokens, output_tokens) if price else None
    known = tables()
    parts = parts_of(Load(messages_per_month, workers, gateways), known)
    aws = sum((part.dollars for part in parts), start=type(parts[0].price)(0))
    if json:
        print_json(
            {
                "messages_per_month": messages_per_month,
                "aws": {
                    "cost_usd": float(round(aws, 6)),
                    "region": known.region,
                    "prices": known.day,
                    "parts": [
                        {
                            "name": part.name,
                            "quantity": float(part.quantity),
                            "price_usd": float(part.price),
                            "cost_usd": float(round(part.dollars, 6)),
                            "because": part.because,
                        }
                        for part in parts
                    ],
                    "sources": sorted({source for _, source in known.prices.values()}),
                },
                "llm": {
                    "provider": provider,
                    "model": model,
                    "input_tokens": input_tokens,
                    "output_tokens": output_tokens,
                    "cost_usd": None if llm is None else float(round(llm, 6)),
                },
                "prices": _book(),
            }
        )
        return

    shown = table("PART", "QUANTITY", "COST", "BECAUSE", right=("QUANTITY", "COST"))
    for part in parts:
        quantity = f"{part.quantity:,.0f}" if part.quantity >= 100 or not part.quantity else f"{part.quantity:,.2f}"  # noqa: PLR2004
        shown.add_row(part.name, quantity, f"${part.dollars:,.2f}", part.because)
    shown.add_row(
        f"AWS, {known.region}", "", f"${aws:,.2f}", f"prices of {known.day}, without free tiers and discounts"
    )
    tokens = f"{input_tokens:,} tokens in, {output_tokens:,} out a message (assumed)"
    shown.add_row(f"LLM, {provider} {model}", "", "unknown" if llm is None else f"${llm:,.2f}", tokens)
    table_console().print(shown)
    if llm is None:
        note(f"the price of {provider} {model} is not known: set llm.prices")
