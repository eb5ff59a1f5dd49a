"""What `up.llm` makes of a stack's settings: the simulated provider, one of the registry, or whatever answers at a URL."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cloudia.errors import UsageError
from cloudia.local.credentials import provider_keys
from cloudia.providers import ANY_URL, LLM_WORDS, PROVIDERS, SIMULATED, base_url
from cloudia.sim.ports import LOOPBACK
from cloudia.sim.probes import http_answers
from cloudia.sim.spec import PartSpec, environment_of_others, python_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.local.secrets import Secrets
    from cloudia.settings import Settings

__all__ = ["check_budgets", "plan_llm", "real_llm"]

_NO_KEY = "none"
"""What is said to a server that may not ask for a key: an SDK does without none."""
_SIMULATED_MODEL = "sim-1"


def real_llm(chosen: Settings) -> tuple[Settings, str]:
    """Return the settings that a worker would have, and the URL of the provider that it would ask.

    Where `up.llm` is the simulated one, that is the one of `llm.provider`. `UsageError` where there is none, or no key.
    """
    named = chosen.changed(up_llm=chosen.llm_provider) if chosen.up_llm == SIMULATED else chosen
    values, url = _named_llm(named)
    return named.changed(**values), url


def plan_llm(
    chosen: Settings, secrets: Secrets, port: Callable[[], int]
) -> tuple[dict[str, Any], str, PartSpec | None]:
    """Return the settings, the URL and, for the simulated one, whose port `port` chooses, the part of what `up.llm` names."""
    if chosen.up_llm == SIMULATED:
        return _simulated_llm(chosen, secrets, port())
    return *_named_llm(chosen), None


def _named_llm(chosen: Settings) -> tuple[dict[str, Any], str]:
    """Return the settings and the URL of a provider that `up.llm` names."""
    if chosen.up_llm in PROVIDERS:
        spec = PROVIDERS[chosen.up_llm]
        account = chosen.accounts[spec.name]
        if not account.api_key and (spec.needs_key or (spec.signs and chosen.aws_access_key_id)):
            raise UsageError(
                f"there is no API key of {spec.name}",
                hint=f"Set {spec.key_variable}, in the environment or in .env.",
                code="no_api_key",
            )
        return {"llm_provider": spec.name}, base_url(spec, account.base_url, region=chosen.aws_region)
    if urlsplit(chosen.up_llm).scheme in {"http", "https"}:
        name = ANY_URL.name
        settings = {
            "llm_provider": name,
            f"{name}_base_url": chosen.up_llm,
            f"{name}_api_key": chosen.accounts[name].api_key or _NO_KEY,
        }
        return settings, chosen.up_llm
    raise UsageError(f"{chosen.up_llm!r} is no LLM", hint=f"It is {LLM_WORDS}.")


def _simulated_llm(chosen: Settings, secrets: Secrets, port: int) -> tuple[dict[str, Any], str, PartSpec]:
    """Return the same of the simulated provider, which stands in for all the others."""
    url = f"http://{LOOPBACK}:{port}"
    settings = {"llm_model": chosen.llm_model or _SIMULATED_MODEL, **provider_keys(chosen.up_llm, secrets)}
    settings |= {f"{spec.name}_base_url": f"{url}{spec.stand_in_path}" for spec in PROVIDERS.values()}
    command = python_module("cloudia.sim.llm", "--host", LOOPBACK, "--port", str(port))
    part = PartSpec(
        "llm",
        command,
        {
            **environment_of_others(),
            "CLOUDIA_CONTROL_TOKEN": secrets.control,
            "CLOUDIA_PROVIDER_KEY": secrets.provider,
        },
        lambda _pid: http_answers(f"{url}/_cloudia/health"),
        "simulated provider",
    )
    return settings, url, part


def check_budgets(settings: Settings) -> None:
    """Raise `UsageError` where there is a budget, and the price of an LLM that may answer is not known."""
    if not (settings.limits_user_dollars_per_day or settings.limits_stack_dollars_per_day):
        return
    from cloudia.cloud.reserve import no_price  # noqa: PLC0415 - boto3 comes with it
    from cloudia.cloud.routes import named_routes  # noqa: PLC0415
    from cloudia.prices.llm import LlmPrices, own_prices  # noqa: PLC0415

    prices = LlmPrices(own_prices(settings.llm_prices))
    for name, model in named_routes(settings):
        asked = model or PROVIDERS[name].default_model
        if prices.price(name, asked, url=settings.accounts[name].base_url, at=time.time()) is None:
            raise no_price(name, asked)
