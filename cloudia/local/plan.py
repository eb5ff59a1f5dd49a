"""The plan of a local stack: which parts, with what command and environment, at which URLs. Starts nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudia.deploy.http_api import http_api_url
from cloudia.hosts import page_origins
from cloudia.local.collector import collector_part, has_collector, sending_to
from cloudia.local.credentials import engine_credentials, own_redis, provider_keys
from cloudia.local.environments import of_reader, with_account
from cloudia.local.llm import check_budgets, plan_llm
from cloudia.local.models import choose_model
from cloudia.local.run_file import Urls
from cloudia.providers import PROVIDERS
from cloudia.sim.engines import ENGINES, check_zips
from cloudia.sim.engines.engine import Folders
from cloudia.sim.ports import LOOPBACK, Ports
from cloudia.sim.probes import gateway_says_ready, http_answers, http_json, redis_answers
from cloudia.sim.redis_server import check_redis, get_redis, write_access
from cloudia.sim.spec import PartSpec, environment_of_others, python_module

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cloudia.local.project import Project
    from cloudia.local.secrets import Secrets
    from cloudia.settings import Reader, Resolved, Settings

__all__ = ["Plan", "make_plan"]

_LOCAL_POLL_SECONDS = 1
"""A long poll holds up the stop of a worker for as long as it waits, and costs nothing on a laptop."""
_LOCAL_GRACE_SECONDS = 5.0
_TOKEN_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Command:
    """A process that does its work and ends."""

    command: list[str]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the supervisor needs to run a stack."""

    settings: Settings
    """As the parts get them: every URL filled in."""
    urls: Urls
    """As they are noted: that of the stack's own Redis is without its password."""
    foundations: tuple[PartSpec, ...]
    """What the others stand on: the engine, Redis, the simulated LLM; and what they tell of it all, the collector."""
    services: tuple[PartSpec, ...]
    """cloudia's own parts; they can answer once the engine is provisioned."""
    provision: Command
    """Run once the engine is ready."""
    container: str
    """The container that the engine runs in; empty where it needs none."""
    temporary: Path


async def make_plan(project: Project, resolved: Resolved, *, temporary: Path, say: Callable[[str], None]) -> Plan:
    """Choose ports and put the parts together; what is not ours is asked whether it answers.

    `say` is told of what takes long. Where this is cancelled, that ends.
    `UsageError` and `PartError` say what is missing, before anything starts.
    """
    secrets = project.secrets()
    ports = Ports(project.state)
    chosen = resolved.settings.changed(
        api_port=ports.choose("api", resolved.settings.api_port),
        **engine_credentials(resolved.settings.up_engine, secrets),
    )
    project.require_own_code(chosen)
    if chosen.up_functions == "zip":
        check_zips(chosen)
    data = project.data if chosen.up_persist else None
    specs: list[PartSpec] = []

    engine = await ENGINES[chosen.up_engine](chosen).prepare(
        Folders(project.root, temporary, data), lambda: ports.choose("engine"), say
    )
    if engine.part:
        specs.append(engine.part)

    redis_url = chosen.redis_url
    if redis_url:
        await check_redis(redis_url)
    else:
        port, server, access = ports.choose("redis"), await get_redis(say), temporary / "redis.conf"
        redis_url = f"redis://{LOOPBACK}:{port}/0"
        write_access(access, secrets.redis)
        chosen = chosen.changed(redis_url=own_redis(redis_url, secrets))
        specs.append(
            PartSpec(
                "redis",
                server.command(port, access, _inside(data, "redis")),
                environment_of_others(),
                lambda _pid: redis_answers(LOOPBACK, port, secrets.redis),
                server.name,
            )
        )

    llm, llm_url, llm_spec = plan_llm(chosen, secrets, lambda: ports.choose("llm"))
    if llm_spec:
        specs.append(llm_spec)
    elif chosen.up_llm in PROVIDERS:
        key = chosen.accounts[chosen.up_llm].api_key
        spec = PROVIDERS[chosen.up_llm]
        llm["llm_model"] = await choose_model(spec, model=chosen.llm_model, url=llm_url, key=key, say=say)

    collector_url = ""
    if has_collector(chosen):
        collector_port = ports.choose("collector")
        collector_url = f"http://{LOOPBACK}:{collector_port}"
        store = project.state / "spans.sqlite"
        specs.append(collector_part(chosen, store, port=collector_port, token=secrets.collector))

    gateway_port = ports.choose("gateway", resolved.settings.gateway_port if "gateway_port" in resolved.sources else 0)
    if ports.missed:
        missed = ", ".join(f"{number} ({kind})" for kind, number in ports.missed.items())
        say(f"others have ports of this stack, which takes free ones this time: {missed}")
    edge_url, websocket_url = f"http://{LOOPBACK}:{chosen.api_port}", f"ws://{LOOPBACK}:{gateway_port}"
    api_url = http_api_url(engine.url, chosen.stack_name) if chosen.up_functions == "zip" else edge_url
    settings = chosen.changed(
        **llm,
        aws_endpoint_url=engine.url,
        api_url=api_url,
        websocket_url=websocket_url,
        gateway_host=LOOPBACK,
        gateway_port=gateway_port,
        gateway_origins=chosen.gateway_origins or ",".join(page_origins(chosen.api_port)),
        worker_poll_seconds=_unless_set(resolved, "worker_poll_seconds", _LOCAL_POLL_SECONDS),
        worker_grace_seconds=_unless_set(resolved, "worker_grace_seconds", _LOCAL_GRACE_SECONDS),
    )
    check_budgets(settings)
    services = _own_parts(settings, secrets, project.page_code_path, collector_url)
    urls = Urls(
        api_url=api_url,
        websocket_url=websocket_url,
        web_url=f"{edge_url}/",
        aws_endpoint_url=engine.url,
        redis_url=redis_url,
        llm_url=llm_url,
        collector_url=collector_url,
    )
    own = {"token": secrets.token, "session": secrets.session}
    # A real key of a provider never lies in an engine: the worker has it in its environment.
    no_keys = {f"{name}_api_key": "" for name in PROVIDERS} | provider_keys(chosen.up_llm, secrets)
    environment = _environment(settings.changed(**no_keys), "deploy", "functions")
    provision = Command(
        python_module("cloudia.deploy.provision"), {**environment, "CLOUDIA_OWN_SECRETS": json.dumps(own)}
    )
    return Plan(settings, urls, tuple(specs), tuple(services), provision, engine.container, temporary)


def _own_parts(settings: Settings, secrets: Secrets, page_code_path: Path, collector_url: str) -> list[PartSpec]:
    """Return the parts that are cloudia's own: the edge, the gateway and the workers.

    They send spans to the collector, where there is one.
    """
    edge_url = f"http://{LOOPBACK}:{settings.api_port}"
    asked = f"{edge_url}/openapi.json" if settings.up_functions == "zip" else f"{edge_url}/health"

    def environment(*readers: Reader) -> dict[str, str]:
        own = _environment(settings, *readers)
        return sending_to(own, collector_url, secrets.collector) if collector_url else own

    def own_token() -> str:
        from cloudia.cloud.identity import issue_token  # noqa: PLC0415 - imported when it is needed

        return issue_token(
            secrets.token, settings.auth_user, seconds=60, issuer=settings.auth_issuer, audience=settings.auth_audience
        )

    async def edge_ready(_pid: int) -> bool:
        return await http_answers(asked)

    async def gateway_ready(_pid: int) -> bool:
        if settings.auth_jwks_url:  # Nobody here can sign a token that it would take.
            return await http_answers(f"http://{LOOPBACK}:{settings.gateway_port}/health")
        return await gateway_says_ready(settings.websocket_url, own_token())

    async def worker_ready(pid: int) -> bool:
        told = await http_json(f"{settings.api_url}/health", token=own_token())
        if "workers" not in told:  # Others sign the tokens, and whoever has none of theirs is a stranger.
            return bool(told["status"] == "ok")
        return any(worker.get("pid") == pid for worker in told["workers"])

    return [
        PartSpec(
            "api",
            python_module("cloudia.sim.edge"),
            {
                **environment("edge", "functions"),
                "CLOUDIA_TOKEN_SECRET": secrets.token,
                "CLOUDIA_PAGE_SECRET": secrets.page,
                "CLOUDIA_PAGE_CODE_FILE": str(page_code_path),
            },
            edge_ready,
            edge_url,
        ),
        PartSpec(
            "gateway",
            python_module("cloudia.gateway"),
            environment("gateway"),
            gateway_ready,
            settings.websocket_url,
        ),
        *(
            PartSpec(
                "worker",
                python_module("cloudia.worker"),
                environment("worker"),
                worker_ready,
                f"{settings.llm_provider} {settings.llm_model}".strip(),
                number=None if settings.up_workers == 1 else number,
                grace_seconds=settings.worker_grace_seconds + 5,
            )
            for number in range(1, settings.up_workers + 1)
        ),
    ]


def _environment(settings: Settings, *readers: Reader) -> dict[str, str]:
    """Return the environment of a part: what these readers read, and the account of the stack."""
    return {**with_account(of_reader(settings, *readers), settings), "PYTHONUNBUFFERED": "1"}


def _unless_set(resolved: Resolved, name: str, value: float) -> Any:
    return getattr(resolved.settings, name) if name in resolved.sources else value


def _inside(folder: Path | None, name: str) -> Path | None:
    if folder is None:
        return None
    inner = folder / name
    inner.mkdir(exist_ok=True)
    return inner
