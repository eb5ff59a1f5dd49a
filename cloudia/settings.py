"""The settings: one name each, which parts read it, where a value came from, and what it may be.

A setting `worker.concurrency` is the key `concurrency` in the table `[worker]` of `cloudia.toml` and the environment
variable `CLOUDIA_WORKER_CONCURRENCY`. Layers are plain mappings, read by whoever owns the files: this module does no I/O
but for `os.environ`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias

from cloudia.errors import UsageError
from cloudia.passwords import MASK, passwords_in, without_password
from cloudia.providers import DEFAULT_PROVIDER, LLM_WORDS, PROVIDERS, SIMULATED, ProviderSpec

__all__ = [
    "SETTINGS",
    "Account",
    "Layer",
    "Reader",
    "Resolved",
    "Setting",
    "Settings",
    "dotted",
    "environment",
    "from_environment",
    "from_toml",
    "public_environment",
    "resolve",
    "secrets_in",
    "to_environment",
]

Reader: TypeAlias = Literal["functions", "worker", "gateway", "edge", "deploy", "up", "cli"]
"""A part that reads settings: what ships, with what it uses of `cloudia.cloud`; the others by themselves.

The edge runs the functions, so what they read it needs too.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is known of one setting beside its value."""

    name: str = ""
    """Such as `worker_concurrency`."""
    kind: type
    default: Any
    doc: str
    readers: tuple[str, ...]
    """Each a `Reader`."""
    env: tuple[str, ...] = ()
    """The variables in which it is usual elsewhere."""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    blank: bool = False
    """Whether empty text is a value of its own. Other text with a default cannot be emptied."""
    secret: bool = False

    @property
    def variables(self) -> tuple[str, ...]:
        """Its environment variables, ours first."""
        return (f"CLOUDIA_{self.name.upper()}", *self.env)


def _setting(default: Any, doc: str, readers: str, *, kind: type | None = None, **known: Any) -> Any:
    """Return a field. `readers` are words; `kind` is the type of what has no default: None until it is set."""
    setting = Setting(default=default, doc=doc, readers=tuple(readers.split()), kind=kind or type(default), **known)
    return field(default=default, metadata={"setting": setting})


@dataclass(frozen=True, slots=True)
class Account:
    """How a provider is reached: its settings `{provider}.api_key` and `{provider}.base_url`."""

    api_key: str = ""
    base_url: str = ""


def _account_settings(spec: ProviderSpec) -> Iterator[Setting]:
    """Yield what is known of the settings of a provider's account."""
    yield Setting(
        name=f"{spec.name}_api_key",
        kind=str,
        default="",
        doc=f"API key of {spec.title}; empty reads SSM",
        readers=("worker", "deploy", "up", "cli"),
        env=(spec.key_variable,),
        secret=True,
    )
    elsewhere = f"{spec.title} or what speaks like it" if spec.spoken_elsewhere else f"base URL of {spec.title}"
    yield Setting(
        name=f"{spec.name}_base_url",
        kind=str,
        default="",
        doc=f"{elsewhere}; {f'empty is {spec.vendor_url}' if spec.vendor_url else spec.url_hint}",
        readers=("worker", "up", "cli"),
        env=(spec.base_url_variable,) if spec.base_url_variable else (),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of every part. Times are seconds, sizes bytes, unless the name says otherwise."""

    stack_name: str = _setting(
        "cloudia",
        "prefix of every resource's name",
        "functions worker gateway edge deploy up cli",
        pattern="[A-Za-z0-9_-]{1,64}",
    )

    up_engine: str = _setting(
        "ministack",
        "what stands in for AWS: ministack, localstack, or endpoint (any URL)",
        "deploy up",
        choices=("ministack", "localstack", "endpoint"),
    )
    up_llm: str = _setting(SIMULATED, f"the LLM: {LLM_WORDS}", "up")
    up_functions: str = _setting(
        "edge",
        "the functions: edge (in-process), or zip (in the engine's Lambda)",
        "edge deploy up cli",
        choices=("edge", "zip"),
    )
    up_workers: int = _setting(1, "worker processes", "up", low=0, high=64)
    up_reload: bool = _setting(default=False, doc="restart the workers when the responder's file changes", readers="up")
    up_restart_seconds: float = _setting(
        10.0, "longest pause before a part that ended is started again", "up", low=0.2, high=600
    )
    up_persist: bool = _setting(default=False, doc="keep the stack's data across down and up", readers="deploy up")

    up_otel: str = _setting(
        "auto",
        "the collector of spans: on, off, or auto (on where OpenTelemetry's packages are installed)",
        "up",
        choices=("auto", "on", "off"),
    )
    collector_bytes: int = _setting(
        67_108_864, "spans that the collector keeps, in all", "up", low=1_048_576, high=10_737_418_240
    )
    collector_seconds: float = _setting(259_200.0, "how long the collector keeps a span", "up", low=60, high=31_536_000)

    target_name: str = _setting(
        "local",
        "where an operator's verbs work: local (this folder's stack, or an engine at aws.endpoint_url), or aws",
        "cli",
        choices=("local", "aws"),
    )

    aws_region: str = _setting(
        "us-east-1", "AWS region", "functions worker gateway up cli", env=("AWS_REGION", "AWS_DEFAULT_REGION")
    )
    aws_endpoint_url: str = _setting(
        "",
        "endpoint of every AWS service; empty is AWS itself",
        "functions worker gateway up cli",
        env=("AWS_ENDPOINT_URL",),
    )
    aws_access_key_id: str = _setting(
        "",
        "key of the endpoint; empty takes AWS's own credentials, and those of a stack of this folder are made for it",
        "functions worker gateway up cli",
        secret=True,
    )
    aws_secret_access_key: str = _setting(
        "", "what signs with that key", "functions worker gateway up cli", secret=True
    )
    localstack_image: str = _setting(
        "localstack/localstack:4.14.0",
        "image of LocalStack's container, where none runs",
        "up",
        pattern="[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,511}",
    )
    localstack_auth_token: str = _setting(
        "", "token of LocalStack, for images from 2026.03 on", "up", env=("LOCALSTACK_AUTH_TOKEN",), secret=True
    )
    redis_url: str = _setting(
        "", "Redis; empty starts one of our own", "functions worker gateway up cli", env=("REDIS_URL",)
    )

    api_url: str = _setting("", "where clients find the HTTP API", "edge up cli")
    api_port: int = _setting(
        0, "port of the local HTTP API; 0 takes the folder's own, else a free one", "edge deploy up", low=0, high=65535
    )
    websocket_url: str = _setting("", "where clients find the gateway", "edge up cli")

    auth_token: str = _setting("", "bearer token of the command line", "cli", env=("CLOUDIA_TOKEN",), secret=True)
    auth_user: str = _setting("local", "user of the tokens that the local stack makes", "edge up cli")
    auth_jwks_url: str = _setting(
        "", "JWKS that signs the tokens, instead of the secret in SSM", "functions gateway edge deploy up cli"
    )
    auth_issuer: str = _setting("", "required issuer of a token", "functions gateway edge up cli")
    auth_audience: str = _setting("", "required audience of a token", "functions gateway edge up cli")

    operator_api: bool = _setting(
        default=False,
        doc="deploy /operator, with a function of its own, for tokens with the role of an operator; locally it is there",
        readers="deploy cli",
    )

    limits_content_bytes: int = _setting(32_768, "largest message, UTF-8", "functions edge cli", low=1, high=170_000)
    limits_context_messages: int = _setting(
        40, "messages of a conversation that the LLM sees", "functions worker", low=1, high=1000
    )
    limits_context_tokens: int = _setting(
        0,
        "most tokens of a conversation that the LLM sees, by estimate; 0 is what its window leaves",
        "worker",
        low=0,
        high=10_000_000,
    )

    limits_jobs_per_user: int = _setting(
        0, "jobs of a user in flight; one more is a 429; 0 is no limit", "functions", low=0, high=100
    )
    limits_messages_per_minute: int = _setting(
        0, "messages of a user in a minute; one more is a 429; 0 is no limit", "functions", low=0, high=100_000
    )
    limits_user_dollars_per_day: float = _setting(
        0.0,
        "US dollars that a user's messages may cost on a day (UTC); one more is a 402; 0 is no limit",
        "functions worker up",
        low=0,
        high=1_000_000,
    )
    limits_stack_dollars_per_day: float = _setting(
        0.0, "the same of all users together; 0 is no limit", "functions worker up", low=0, high=1_000_000
    )
    limits_connections_per_user: int = _setting(
        0,
        "connections of a user, over all gateways; one more is refused; 0 is no limit",
        "gateway",
        low=0,
        high=100_000,
    )

    llm_provider: str = _setting(
        DEFAULT_PROVIDER, "API that the worker speaks", "functions worker up", choices=tuple(PROVIDERS)
    )
    llm_model: str = _setting(
        "", "model; empty is the provider's default here, or with `up` what a local server has", "functions worker up"
    )
    llm_api: str = _setting(
        "chat",
        "API of llm.provider: chat (Chat Completions or Messages), or responses (the newer one, where it has it)",
        "worker",
        choices=("chat", "responses"),
    )
    llm_fallback: str = _setting(
        "",
        "who answers while llm.provider cannot, in this order: `provider:model`, comma-separated; no model is its default here",
        "functions worker",
    )
    llm_fallback_provider: str = _setting(
        "",
        "the one of a fallback that is one, where llm.fallback is empty",
        "functions worker",
        choices=("", *PROVIDERS),
    )
    llm_fallback_model: str = _setting("", "its model; empty is its default here", "functions worker")
    llm_system_prompt: str = _setting(
        "You are a helpful assistant. Answer in Markdown.",
        "system prompt; empty is none",
        "functions worker",
        blank=True,
    )
    llm_max_tokens: int = _setting(2048, "most tokens of an answer", "functions worker", low=1, high=1_000_000)
    llm_prices: str = _setting(
        "",
        "prices of your own, before the built-in ones: a JSON object by model or provider:model, "
        "US dollars per million tokens",
        "functions worker up cli",
    )
    llm_connect_seconds: float = _setting(5.0, "deadline for the connection", "worker", low=0.05, high=120)
    llm_first_token_seconds: float = _setting(
        60.0, "deadline for the first sign of life, as while a model is loaded", "worker up", low=0.05, high=3600
    )
    llm_gap_seconds: float = _setting(
        30.0, "deadline between two signs of life: text, reasoning, pings", "worker", low=0.05, high=600
    )
    llm_first_text_seconds: float = _setting(
        300.0, "deadline for the first text, however long a model reasons before it", "worker", low=0.05, high=3600
    )
    llm_answer_seconds: float = _setting(
        300.0, "deadline for the rest of an answer, once it does no longer reason", "worker", low=0.1, high=3600
    )
    llm_tool_seconds: float = _setting(
        60.0, "deadline for the result of a tool that the LLM called", "worker", low=0.05, high=3600
    )
    llm_tool_rounds: int = _setting(
        8, "rounds of calls of tools before an answer is given up", "worker", low=1, high=100
    )
    llm_max_wait_seconds: float = _setting(
        60.0, "a pause that the provider asks for and that is longer ends a job at once", "worker", low=0, high=600
    )
    llm_show_reasoning: bool = _setting(default=False, doc="send clients what a model reasons", readers="worker")
    llm_extra_body: str = _setting("", "more fields of each request to llm.provider, a JSON object", "worker")
    llm_extra_headers: str = _setting("", "more headers of each request, a JSON object of texts", "worker")
    llm_extra_query: str = _setting("", "more of each request's query, a JSON object of texts", "worker")
    llm_ca_bundle: str = _setting(
        "",
        "certificates of authorities to trust beside the machine's: a file, or a folder; empty: REQUESTS_CA_BUNDLE",
        "worker cli",
    )
    llm_quick_retry_seconds: float = _setting(
        3.0, "time in which a blip is tried again at once; 0 is never", "worker", low=0, high=30
    )
    llm_breaker_errors: int = _setting(
        5, "the breaker opens at more errors than this in its window", "worker", low=0, high=10_000
    )
    llm_breaker_share: float = _setting(
        0.5, "and at no less than this share of the calls in its window", "worker", low=0, high=1
    )
    llm_breaker_window_seconds: float = _setting(10.0, "window of the breaker", "worker", low=0.1, high=3600)
    llm_breaker_open_seconds: float = _setting(30.0, "how long the breaker stays open", "worker", low=0.1, high=3600)

    accounts: Mapping[str, Account] = field(
        default_factory=lambda: dict.fromkeys(PROVIDERS, Account()),
        hash=False,
        metadata={"settings": tuple(setting for spec in PROVIDERS.values() for setting in _account_settings(spec))},
    )
    """By provider, one each; `value` and `changed` know their settings by the names `openai_api_key` and so on."""

    worker_responder: str = _setting("", "module:function that answers; empty is the configured LLM", "worker up")
    worker_concurrency: int = _setting(
        256, "jobs that a worker has in work at once, fewer while its process lags", "worker", low=1, high=2000
    )
    worker_waiting: int = _setting(
        256, "jobs that it holds beside those while one user has most of its places", "worker", low=0, high=2000
    )
    worker_poll_seconds: int = _setting(20, "long poll of the queue", "functions worker gateway", low=0, high=20)
    worker_cancel_poll_seconds: float = _setting(
        2.0, "how often the worker asks for stops that Redis did not tell it of", "worker", low=0.05, high=60
    )
    worker_visibility_seconds: int = _setting(
        60, "visibility of a job in work, renewed at a third", "worker", low=3, high=43_200
    )
    worker_lease_seconds: int = _setting(60, "lease on a job in work, renewed at a third", "worker", low=3, high=43_200)
    worker_max_attempts: int = _setting(5, "attempts before a job is a dead letter", "worker", low=1, high=20)
    worker_probe_host: str = _setting("127.0.0.1", "address of the worker's probes; 0.0.0.0 in a container", "worker")
    worker_probe_port: int = _setting(
        0, "port of the worker's /live and /ready; 0 is none", "worker", low=0, high=65535
    )
    worker_grace_seconds: float = _setting(25.0, "time to finish jobs after SIGTERM", "worker up", low=0, high=900)

    reconcile_after_seconds: float = _setting(
        300.0, "a job that nobody has had to do with for so long is sent again", "worker cli", low=1, high=86_400
    )

    events_frame_ms: int = _setting(50, "at most one frame of text per job in this time", "worker", low=0, high=1000)
    events_ttl_seconds: int = _setting(
        3600, "how long a session's events can be replayed", "worker gateway", low=1, high=604_800
    )
    events_max_length: int = _setting(10_000, "events kept per session", "worker gateway", low=10, high=1_000_000)

    gateway_host: str = _setting("127.0.0.1", "address that the gateway listens on", "gateway")
    gateway_port: int = _setting(
        8765, "port that the gateway listens on; 0 takes a free one", "gateway up", low=0, high=65535
    )
    gateway_probe_host: str = _setting(
        "127.0.0.1", "address of the gateway's /live, /ready and /metrics; 0.0.0.0 in a container", "gateway"
    )
    gateway_probe_port: int = _setting(
        0, "port of these, apart from that of its clients; 0 is none", "gateway", low=0, high=65535
    )
    gateway_hello_seconds: float = _setting(5.0, "time for a client to say hello", "gateway", low=0.05, high=60)
    gateway_ping_seconds: float = _setting(
        20.0, "interval of pings, and the time for the pong", "gateway", low=0.05, high=300
    )
    gateway_heartbeat_seconds: float = _setting(
        5.0,
        "interval of heartbeats; a client that hears nothing for two of them reconnects",
        "gateway",
        low=0.05,
        high=300,
    )
    gateway_send_bytes: int = _setting(
        262_144, "unsent bytes before a slow reader is dropped", "gateway", low=1024, high=67_108_864
    )
    gateway_connections: int = _setting(10_000, "most connections of a gateway", "gateway", low=1, high=1_000_000)
    gateway_origins: str = _setting(
        "",
        "web origins whose pages may connect, comma-separated; empty is the host that is asked, and locally the web page",
        "gateway up",
    )

    telemetry_listener: str = _setting(
        "", "module:function that is told what happens; empty is none", "functions worker gateway up"
    )
    telemetry_slow_seconds: float = _setting(
        10.0,
        "a message that took longer is kept as spans though it was not sampled",
        "functions worker gateway",
        low=0,
        high=86_400,
    )
    telemetry_prometheus: bool = _setting(
        default=False,
        doc="serve /metrics beside the probes, for Prometheus; it wants the extra `prometheus`",
        readers="worker gateway",
    )
    log_level: str = _setting(
        "info",
        "least level that is logged",
        "functions worker gateway edge",
        choices=("debug", "info", "warning", "error"),
    )
    log_tracebacks: bool = _setting(
        default=False,
        doc="log exceptions whole, and libraries' texts: they may quote messages",
        readers="functions worker gateway edge",
    )

    def value(self, name: str) -> Any:
        """Return the setting of this name."""
        table, _, key = name.partition("_")
        return getattr(self.accounts[table], key) if table in self.accounts else getattr(self, name)

    def changed(self, **values: Any) -> Settings:
        """Return these settings with other values for some."""
        accounts, own = dict(self.accounts), {}
        for name, value in values.items():
            table, _, key = name.partition("_")
            if table in accounts:
                accounts[table] = replace(accounts[table], **{key: value})
            else:
                own[name] = value
        return replace(self, accounts=accounts, **own)


def _known() -> Iterator[Setting]:
    """Yield what is known of every setting, in the order in which they are listed."""
    for item in fields(Settings):
        if "settings" in item.metadata:
            yield from item.metadata["settings"]
        else:
            yield replace(item.metadata["setting"], name=item.name)


SETTINGS: Mapping[str, Setting] = {setting.name: setting for setting in _known()}
"""Every setting by its name, in the order in which they are listed."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Values by setting name (`worker_concurrency`), and what to call their source."""

    source: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings and, for each, the source it came from."""

    settings: Settings
    sources: Mapping[str, str]

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a setting: `name`, `value` (a secret or a URL's password masked), `source`, `env`, `doc`."""
        rows = []
        for setting in SETTINGS.values():
            value = self.settings.value(setting.name)
            if setting.secret and value:
                value = MASK + value[-4:] if len(value) > 12 else MASK  # noqa: PLR2004
            elif isinstance(value, str):
                value = without_password(value)
            rows.append(
                {
                    "name": dotted(setting.name),
                    "value": value,
                    "source": self.sources.get(setting.name, "default"),
                    "env": setting.variables[0],
                    "doc": setting.doc,
                }
            )
        return rows


def dotted(name: str) -> str:
    """Return `worker.concurrency` for `worker_concurrency`."""
    return name.replace("_", ".", 1)


def environment(source: str, variables: Mapping[str, str]) -> Layer:
    """Make a layer of environment variables. An empty variable counts as absent, unless empty is a value of its own."""
    values = {}
    for name, setting in SETTINGS.items():
        for variable in setting.variables:
            if variables.get(variable) or (setting.blank and variable in variables):
                values[name] = variables[variable]
                break
    return Layer(source, values)


def from_toml(source: str, document: Mapping[str, Any]) -> Layer:
    """Make a layer of a parsed `cloudia.toml`. `UsageError` names a table or key that is not a setting."""
    values = {}
    for table, entries in document.items():
        if not isinstance(entries, Mapping):
            raise UsageError(
                f"{source}: {table!r} stands outside a table", hint="Put it under a table, such as [worker]."
            )
        for key, value in entries.items():
            name = f"{table}_{key}"
            if name not in SETTINGS or dotted(name) != f"{table}.{key}":
                raise UsageError(
                    f"{source}: unknown setting {table}.{key}", hint="`cloudia config` lists every setting."
                )
            values[name] = value
    return Layer(source, values)


def resolve(*layers: Layer) -> Resolved:
    """Merge layers, the first that names a setting wins. `UsageError` names the setting and the source of a bad value."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for layer in layers:
        for name, raw in layer.values.items():
            if raw is not None and name not in values:
                values[name] = _convert(name, raw, layer.source)
                sources[name] = layer.source
    return Resolved(Settings().changed(**values), sources)


def from_environment(variables: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of a part that runs in a container or a function: the environment is all it has."""
    return resolve(environment("environment", os.environ if variables is None else variables)).settings


def to_environment(settings: Settings, *readers: Reader) -> dict[str, str]:
    """Return the variables that give a child process these settings; where readers are named, those that they read.

    Defaults are left out.
    """
    return {
        setting.variables[0]: str(value).lower() if isinstance(value, bool) else str(value)
        for name, setting in SETTINGS.items()
        if (value := settings.value(name)) != setting.default
        and (not readers or not set(readers).isdisjoint(setting.readers))
    }


def public_environment(settings: Settings) -> dict[str, str]:
    """Return `to_environment` without the secrets."""
    public = {setting.variables[0] for setting in SETTINGS.values() if not setting.secret}
    return {name: value for name, value in to_environment(settings).items() if name in public}


def secrets_in(settings: Settings) -> Iterator[str]:
    """Yield the secrets that settings hold, and the passwords of their URLs."""
    for name, setting in SETTINGS.items():
        value = settings.value(name)
        if setting.secret and value:
            yield value
        elif setting.kind is str:
            yield from passwords_in(value)


_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


def _convert(name: str, raw: Any, source: str) -> Any:
    setting = SETTINGS[name]
    kind, choices, low, high = setting.kind, setting.choices, setting.low, setting.high
    value = _parse(kind, raw)
    where, hint = f"{dotted(name)} (from {source})", f"It is: {setting.doc}."
    if value is None:
        raise UsageError(f"{where} is not a {_KINDS[kind]}", hint=hint)
    if choices and value not in choices:
        raise UsageError(f"{where} is not one of {', '.join(choices)}", hint=hint)
    if not value and setting.default and kind is str and not setting.blank:
        raise UsageError(f"{where} is empty", hint=hint)
    if setting.pattern and not re.fullmatch(setting.pattern, value):
        raise UsageError(f"{where} is not of the form {setting.pattern}", hint=hint)
    if low is not None and high is not None and not low <= value <= high:
        raise UsageError(f"{where} is not between {low:g} and {high:g}", hint=hint)
    return value


_KINDS = {bool: "true or false", int: "whole number", float: "number", str: "text"}


def _parse(kind: type, raw: Any) -> Any:
    """Return `raw` as `kind`, or None where it is not one. Text is parsed, as an environment knows nothing else."""
    if kind is bool and isinstance(raw, str):
        word = raw.lower()
        return True if word in _TRUE else False if word in _FALSE else None
    if kind is str:  # An environment cannot carry a NUL.
        return raw if isinstance(raw, str) and "\0" not in raw else None
    if kind is bool or isinstance(raw, bool):
        return raw if kind is bool and isinstance(raw, bool) else None
    if kind is int and not isinstance(raw, int | str):
        return None
    try:
        number = kind(raw)
        return number if math.isfinite(number) else None
    except (TypeError, ValueError, OverflowError):  # An integer may be too large for a float.
        return None
