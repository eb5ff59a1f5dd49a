"""What opens that which a stack of a folder stands on, as settings of its parts: the engine's key, and the provider's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudia.providers import PROVIDERS, SIMULATED
from cloudia.sim.engines import ENGINES

if TYPE_CHECKING:
    from cloudia.local.secrets import Secrets

__all__ = ["engine_credentials", "own_redis", "provider_keys"]


def engine_credentials(engine: str, secrets: Secrets) -> dict[str, str]:
    """Return the credentials of an engine by the name that `up.engine` gives it; none where its account is the user's.

    MiniStack's guard asks for them; a LocalStack takes any, and those of the user have no business there.
    """
    if not ENGINES[engine].own_account:
        return {}
    return {"aws_access_key_id": secrets.access_key_id, "aws_secret_access_key": secrets.secret_access_key}


def provider_keys(llm: str, secrets: Secrets) -> dict[str, str]:
    """Return the keys of the LLM that `up.llm` names where they are the stack's own: those of the simulated one."""
    return {f"{name}_api_key": secrets.provider for name in PROVIDERS} if llm == SIMULATED else {}


def own_redis(url: str, secrets: Secrets) -> str:
    """Return the URL of a stack's own Redis with its password, and its user, which redis-cli wants named beside it."""
    return url.replace("://", f"://default:{secrets.redis}@", 1)
