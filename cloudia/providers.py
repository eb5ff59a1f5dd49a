"""The LLM providers that a worker can ask, as data: a new one is an entry here, and an adapter where it has an API of its own.

The settings of its account, the parameter of its key, what `up --llm` takes and what `doctor` looks at follow from the entry.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloudia.errors import UsageError

__all__ = [
    "ANY_URL",
    "DEFAULT_PROVIDER",
    "LLM_WORDS",
    "PROVIDERS",
    "SIMULATED",
    "UNKNOWN_WINDOW",
    "ProviderSpec",
    "base_url",
]

_CHAT_COMPLETIONS = "cloudia.worker.providers.openai:OpenAIProvider"
_MESSAGES = "cloudia.worker.providers.anthropic:AnthropicProvider"
_RESPONSES = "cloudia.worker.providers.responses:ResponsesProvider"
_BEDROCK_KEY = "AWS_BEARER_TOKEN_BEDROCK"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """One provider of an LLM API: a vendor's service, or a server that people run themselves."""

    name: str
    """As `llm.provider` and `up.llm` have it, and the table of its settings: letters and digits."""
    title: str
    """As sentences have it."""
    adapter: str = _CHAT_COMPLETIONS
    """`module:class`, loaded when a worker needs it; takes a `Reach`."""
    responses_adapter: str = _RESPONSES
    """The adapter for OpenAI's Responses API, where it may have that; empty where it has not."""
    vendor_url: str = ""
    """Its base URL, `{region}` in place of AWS's; empty where each account has its own."""
    default_model: str = ""
    """Empty where there is none that everybody has: `up` asks the provider what it has."""
    key_variable: str
    """The environment variable in which its users have their key already; likewise `base_url_variable`, where there is one."""
    base_url_variable: str = ""
    needs_key: bool = True
    signs: bool = False
    """Whether, without a key, requests are signed by AWS's own credentials."""
    start: str = ""
    """How its server is started, of one that runs on this machine."""
    url_hint: str = ""
    """What its base URL looks like, where each account has its own."""
    stand_in_path: str = "/v1"
    """Where the simulated provider speaks this API, below its own URL."""
    spoken_elsewhere: bool = False
    """Whether other servers speak it too, so that its base URL may be another vendor's."""
    also_at: str = ""
    """Another base URL of the vendor's own, for the same models at the same prices."""
    priced_as: str = ""
    """What the built-in prices call it; empty where its models have none, as on a machine of one's own."""
    routes_by_name: bool = False
    """Whether the names of its models begin with whose they are, such as `openai/gpt-5-mini`; these have the price."""
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
        priced_as="openai",
        default_model="gpt-5-mini",
        vendor_url="https://api.openai.com/v1",
        key_variable="OPENAI_API_KEY",
        base_url_variable="OPENAI_BASE_URL",
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
        priced_as="anthropic",
        default_model="claude-haiku-4-5",
        adapter=_MESSAGES,
        responses_adapter="",
        vendor_url="https://api.anthropic.com",
        key_variable="ANTHROPIC_API_KEY",
        base_url_variable="ANTHROPIC_BASE_URL",
        # https://docs.claude.com/en/docs/about-claude/models/overview
        windows=(("claude-", 200_000),),
        stand_in_path="",
    ),
    ProviderSpec(
        name="ollama",
        title="Ollama",
        vendor_url="http://127.0.0.1:11434/v1",
        key_variable="OLLAMA_API_KEY",
        needs_key=False,
        start="Start it by `ollama serve`, and get a model by `ollama pull`.",
    ),
    ProviderSpec(
        name="lmstudio",
        title="LM Studio",
        vendor_url="http://127.0.0.1:1234/v1",
        key_variable="LM_API_TOKEN",
        needs_key=False,
        start="Start its server by `lms server start`, and load a model.",
    ),
    ProviderSpec(
        name="vllm",
        title="vLLM",
        vendor_url="http://127.0.0.1:8000/v1",
        key_variable="VLLM_API_KEY",
        needs_key=False,
        start="Start it by `vllm serve MODEL`; tools want --enable-auto-tool-choice and a --tool-call-parser.",
    ),
    ProviderSpec(
        name="llamacpp",
        title="llama.cpp",
        vendor_url="http://127.0.0.1:8080/v1",
        key_variable="LLAMA_API_KEY",
        needs_key=False,
        start="Start it by `llama-server -m MODEL.gguf --jinja`.",
    ),
    ProviderSpec(
        name="litellm",
        title="LiteLLM",
        routes_by_name=True,
        vendor_url="http://127.0.0.1:4000/v1",
        key_variable="LITELLM_API_KEY",
        needs_key=False,
        start="Start its proxy by `litellm --config config.yaml`.",
    ),
    ProviderSpec(
        name="openrouter",
        title="OpenRouter",
        priced_as="openrouter",
        default_model="openrouter/auto",
        vendor_url="https://openrouter.ai/api/v1",
        key_variable="OPENROUTER_API_KEY",
    ),
    ProviderSpec(
        name="groq",
        title="Groq",
        priced_as="groq",
        vendor_url="https://api.groq.com/openai/v1",
        key_variable="GROQ_API_KEY",
    ),
    ProviderSpec(
        name="gemini",
        title="Gemini",
        priced_as="google",
        default_model="gemini-flash-latest",
        vendor_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key_variable="GEMINI_API_KEY",
    ),
    ProviderSpec(
        name="mistral",
        title="Mistral",
        priced_as="mistral",
        default_model="mistral-small-latest",
        vendor_url="https://api.mistral.ai/v1",
        key_variable="MISTRAL_API_KEY",
    ),
    ProviderSpec(
        name="deepseek",
        title="DeepSeek",
        priced_as="deepseek",
        default_model="deepseek-chat",
        vendor_url="https://api.deepseek.com/v1",
        key_variable="DEEPSEEK_API_KEY",
    ),
    ProviderSpec(
        name="azure",
        title="Azure OpenAI",
        priced_as="azure",
        key_variable="AZURE_OPENAI_API_KEY",
        url_hint="https://RESOURCE.openai.azure.com/openai/v1; the model is the name of a deployment",
    ),
    ProviderSpec(
        name="bedrock",
        title="Amazon Bedrock",
        priced_as="aws",
        vendor_url="https://bedrock-runtime.{region}.amazonaws.com/openai/v1",
        also_at="https://bedrock-mantle.{region}.api.aws/v1",
        key_variable=_BEDROCK_KEY,
        needs_key=False,
        signs=True,
    ),
    ProviderSpec(
        name="bedrockclaude",
        title="Claude in Amazon Bedrock",
        priced_as="aws",
        adapter=_MESSAGES,
        responses_adapter="",
        vendor_url="https://bedrock-runtime.{region}.amazonaws.com/anthropic",
        also_at="https://bedrock-mantle.{region}.api.aws/anthropic",
        key_variable=_BEDROCK_KEY,
        needs_key=False,
        signs=True,
        stand_in_path="",
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


def base_url(spec: ProviderSpec, given: str, *, region: str) -> str:
    """Return a provider's base URL: the one that is given, else its own. `UsageError` where it has none of its own."""
    url = given or spec.vendor_url.format(region=region)
    if not url:
        raise UsageError(f"there is no base URL of {spec.name}", hint=f"Set {spec.name}.base_url, as {spec.url_hint}.")
    return url
