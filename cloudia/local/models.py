"""The model of a stack whose settings name none: what the provider that `up.llm` names says that it has."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from cloudia.direct import opener
from cloudia.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudia.providers import ProviderSpec

__all__ = ["chat_models", "choose_model"]

_SECONDS = 5.0
_MOST_BYTES = 8 * 1024 * 1024
_SHOWN = 6
_NO_CHAT = ("embed", "rerank", "whisper", "tts", "moderation", "guard", "image", "bge-", "clip")
"""In the names of models that answer no chat."""


async def choose_model(spec: ProviderSpec, *, model: str, url: str, key: str, say: Callable[[str], None]) -> str:
    """Return `model` where it is one, else what the provider at `url` has; `say` is told what is chosen.

    A server of this machine is asked in any case: `UsageError` says how it is started where it does not answer, and that a
    model has to be named where there is none, or several of a vendor that wants money for each.
    """
    model = model or spec.default_model
    if model and not spec.start:
        return model
    try:
        found = await asyncio.to_thread(_asked, url, key)
    except urllib.error.HTTPError as error:  # It runs; whether it has a list is its own affair.
        if model:
            return model
        raise UsageError(
            f"{spec.title} answered {error.code} when it was asked for its models", hint=_hint(spec)
        ) from None
    except (OSError, ValueError, HTTPException):
        if model and not spec.start:
            return model
        raise UsageError(
            f"{spec.title} does not answer at {url}",
            hint=f"{spec.start} {spec.name}.base_url says where it is.".strip(),
            code="llm_unavailable",
        ) from None
    if model:
        return model
    models = chat_models(found)
    if not models:
        raise UsageError(f"{spec.title} has no model", hint=spec.start or _hint(spec))
    if len(models) > 1 and not spec.start:
        raise UsageError(f"{spec.title} has {len(models)} models, and none is chosen", hint=_hint(spec, models))
    say(f"model {models[0]}: {_others(models)}")
    return models[0]


def chat_models(document: object) -> list[str]:
    """Return the names of models that may answer a chat, of a list as `GET /models` answers it. No I/O."""
    data = document.get("data") if isinstance(document, dict) else document
    listed = data if isinstance(data, list) else []
    names = [entry["id"] for entry in listed if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
    return [name for name in names if name and not any(word in name.lower() for word in _NO_CHAT)]


def _asked(url: str, key: str) -> object:
    """Return the document of the models at a base URL. Blocks."""
    parts = urlsplit(url)
    asked = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/models"))
    headers = {"authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(asked, headers=headers)  # noqa: S310 - http or https, which `up` has checked
    with opener(asked).open(request, timeout=_SECONDS) as response:
        document: object = json.loads(response.read(_MOST_BYTES))
    return document


def _hint(spec: ProviderSpec, models: list[str] | None = None) -> str:
    names = f": {', '.join(models[:_SHOWN])}{', …' if len(models) > _SHOWN else ''}" if models else ""
    looks = f" ({spec.url_hint})" if spec.url_hint else ""
    return f"Choose one by --model or llm.model{names}{looks}."


def _others(models: list[str]) -> str:
    if len(models) == 1:
        return "there is no other"
    shown = ", ".join(models[1:_SHOWN])
    return f"--model names another, such as {shown}"
