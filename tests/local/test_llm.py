"""What `up.llm` makes of a stack's settings: the simulated provider, a provider of the registry, or any URL."""

from __future__ import annotations

import pytest

from cloudia.errors import UsageError
from cloudia.local.llm import check_budgets, plan_llm
from cloudia.local.secrets import Secrets
from cloudia.providers import ANY_URL, LLM_WORDS, PROVIDERS, ProviderSpec
from cloudia.settings import Settings
from cloudia.sim.ports import choose_port

SECRETS = Secrets()
SPECS = pytest.mark.parametrize("spec", PROVIDERS.values(), ids=lambda spec: spec.name)


@SPECS
def test_the_simulated_provider_stands_in_for_each(spec: ProviderSpec) -> None:
    """Whatever provider the worker speaks to, it finds the simulated one, with a key of its own instead of the user's."""
    chosen = Settings().changed(llm_provider=spec.name, **{f"{spec.name}_api_key": "mine"})
    changes, url, part = plan_llm(chosen, SECRETS, choose_port)
    settings = chosen.changed(**changes)
    assert part is not None
    assert (settings.llm_provider, settings.llm_model) == (spec.name, "sim-1")
    assert settings.accounts[spec.name].base_url == url + spec.stand_in_path
    assert settings.accounts[spec.name].api_key == SECRETS.provider


@SPECS
def test_a_provider_by_its_name(spec: ProviderSpec) -> None:
    """The worker speaks to it, with the user's key and at the user's URL, else the vendor's; no part stands in for it."""
    chosen = Settings().changed(up_llm=spec.name, **{f"{spec.name}_api_key": "mine"})
    if spec.vendor_url:
        changes, url, part = plan_llm(chosen, SECRETS, choose_port)
        assert (chosen.changed(**changes), part) == (chosen.changed(llm_provider=spec.name), None)
        assert url == spec.vendor_url.format(region=chosen.aws_region)
    else:
        with pytest.raises(UsageError, match=f"no base URL of {spec.name}"):
            plan_llm(chosen, SECRETS, choose_port)
    elsewhere = chosen.changed(**{f"{spec.name}_base_url": "http://here"})
    assert plan_llm(elsewhere, SECRETS, choose_port)[1] == "http://here"


@pytest.mark.parametrize("spec", [spec for spec in PROVIDERS.values() if spec.needs_key], ids=lambda spec: spec.name)
def test_a_provider_without_its_key(spec: ProviderSpec) -> None:
    """It is refused before anything starts, with the variable that is missing."""
    with pytest.raises(UsageError, match=f"no API key of {spec.name}") as refused:
        plan_llm(Settings(up_llm=spec.name), SECRETS, choose_port)
    assert refused.value.hint.startswith(f"Set {spec.key_variable},")


def test_any_url() -> None:
    """A URL is spoken to as most servers are, with the user's key if there is one: an SDK does not do without."""
    url = "http://127.0.0.1:11434/v1"
    for key, sent in (("", "none"), ("mine", "mine")):
        chosen = Settings().changed(up_llm=url, **{f"{ANY_URL.name}_api_key": key})
        changes, shown, part = plan_llm(chosen, SECRETS, choose_port)
        account = chosen.changed(**changes).accounts[ANY_URL.name]
        assert (account.api_key, account.base_url, shown, part) == (sent, url, url, None)
        assert changes["llm_provider"] == ANY_URL.name


@pytest.mark.parametrize("name", ["gpt", "ftp://here", "SIM"])
def test_what_is_no_llm(name: str) -> None:
    """Anything else is refused with all that it could have been."""
    with pytest.raises(UsageError, match="is no LLM") as refused:
        plan_llm(Settings(up_llm=name), SECRETS, choose_port)
    assert refused.value.hint == f"It is {LLM_WORDS}."


def test_a_budget_wants_to_know_what_the_llm_costs() -> None:
    """`up` says so before anything starts; also of a model at another URL, and of one that is fallen back to."""
    known = Settings().changed(limits_user_dollars_per_day=1)
    check_budgets(known)
    check_budgets(Settings().changed(llm_model="nobody-knows"))
    for changes in (
        {"llm_model": "nobody-knows"},
        {"openai_base_url": "http://127.0.0.1:9000/v1"},
        {"llm_fallback": "ollama:llama3.2"},
    ):
        with pytest.raises(UsageError, match="is not known") as refused:
            check_budgets(known.changed(**changes))
        assert "llm.prices" in refused.value.hint
    check_budgets(known.changed(llm_model="mine", llm_prices='{"mine": {"input": 1, "output": 1}}'))
