"""The LLM APIs that a worker can speak, as data: a new one is an adapter in `cloudia.worker.providers` and an entry here.

The settings of its account, the parameter of its key, what `up --llm` takes and what `doctor` looks at follow from the entry.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ANY_URL", "DEFAULT_PROVIDER", "LLM_WORDS", "PROVIDERS", "SIMULATED", "UNKNOWN_WINDOW", "ProviderSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """One LLM API."""

    name: str
    """As `llm.provider` and `up.llm` have it, and the table of its settings: letters and digits."""
    title: str
    """As sentences have it."""
    default_model: str
    adapter: str
    """`module:class`, loaded when a worker needs it; takes a `Reach`."""
    vendor_url: str
    key_variable: str
    """The environment variable in which its users have their key already; likewise `base_url_variable`."""
    base_url_variable: str
    needs_key: bool = True
    stand_in_path: str = ""
    """Where the simulated provider speaks this API, below its own URL."""
    spoken_elsewhere: bool = False
    """Whether other servers speak it too, so that its base URL may be another vendor's."""
    windows: tuple[tuple[str, int], ...] = ()
    """What the vendor's models take, in tokens, question and answer together, by how their names begin."""

    def window(self, model: str) -> int:
        """Return the window of a model in tokens; of one that is not known, what most models have by now."""
        known = [(len(start), tokens) for start, tokens in self.windows if model.startswith(start)]
        return max(known)[1] if known else UNKNOWN_WINDOW


UNKNOWN_WINDOW = 32_000


_SPECS = (
    ProviderSpec(
        name="openai",
        title="OpenAI",
        default_model="gpt-5-mini",
        adapter="cloudia.worker.providers.openai:OpenAIProvider",
        vendor_url="https://api.openai.com/v1",
        key_variable="OPENAI_API_KEY",
        base_url_variable="OPENAI_BASE_URL",
        stand_in_path="/v1",
        # https://platform.openai.com/docs/models
        windows=(
            ("gpt-3.5-turbo", 16_385),
            ("gpt-4", 8_192),
            ("gpt-4-turbo", 128_000),
            ("gpt-4.1", 1_000_000),
            ("gpt-4o", 128_000),
            ("gpt-5", 400_000),
            ("o1", 200_000),
            ("o3", 200_000),
            ("o4-mini", 200_000),
        ),
        spoken_elsewhere=True,
    ),
    ProviderSpec(
        name="anthropic",
        title="Anthropic",
        default_model="claude-haiku-4-5",
        adapter="cloudia.worker.providers.anthropic:AnthropicProvider",
        vendor_url="https://api.anthropic.com",
        key_variable="ANTHROPIC_API_KEY",
        base_url_variable="ANTHROPIC_BASE_URL",
        # https://docs.claude.com/en/docs/about-claude/models/overview
        windows=(("claude-", 200_000),),
    ),
)

PROVIDERS = {spec.name: spec for spec in _SPECS}
"""By name, in the order in which they are listed."""
DEFAULT_PROVIDER = "openai"
ANY_URL = PROVIDERS["openai"]
"""What is spoken to a URL of which no more is known."""
SIMULATED = "sim"
"""What `up.llm` calls the simulated provider."""
LLM_WORDS = f"{', '.join([SIMULATED, *PROVIDERS])}, or the URL of an {ANY_URL.title}-compatible API"
"""What `up.llm` may be, as a sentence has it."""
