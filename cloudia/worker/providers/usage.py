"""What providers tell of the tokens that they counted, brought into one form. Odd or missing numbers never cost the answer.

OpenAI's input includes what was read from the cache, Anthropic's excludes what was read from and written to it; both tell the
usage so far wherever they tell it several times, so the last one counts.
https://platform.openai.com/docs/api-reference/chat-streaming, https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudia.worker.providers.base import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AnthropicUsage", "openai_usage"]

_MOST = 10**12
"""No answer has so many; beyond it a number is an error, and would be one of DynamoDB's, too."""
_INPUT = ("prompt_tokens", "input_tokens", "promptTokenCount", "prompt_token_count")
_OUTPUT = ("completion_tokens", "output_tokens", "candidatesTokenCount", "candidates_token_count")
_TOTAL = ("total_tokens", "totalTokenCount", "total_token_count")
_READ = ("cached_tokens", "prompt_cache_hit_tokens", "cachedContentTokenCount", "cached_content_token_count")
_REASONING = ("reasoning_tokens", "thoughtsTokenCount", "thoughts_token_count")
"""As OpenAI has them in its two APIs, DeepSeek, xAI and Gemini."""


def openai_usage(told: Any) -> Usage | None:
    """Return the usage that a chunk tells; None where it tells none that makes sense, or no tokens at all.

    Output is all output: Gemini and xAI leave reasoning out of theirs, and have it in the total.
    """
    if not isinstance(told, dict):
        return None
    taken, given, total = (_first(told, names) for names in (_INPUT, _OUTPUT, _TOTAL))
    if total is not None:
        taken = _rest(total, given) if taken is None else taken
        beyond = _rest(total, taken)
        given = beyond if given is None else max(given, beyond or 0)
    if taken is None or given is None or not taken + given:
        return None
    read = _first(_parts(told, "prompt_tokens_details", "input_tokens_details"), _READ)
    reasoning = _first(_parts(told, "completion_tokens_details", "output_tokens_details"), _REASONING)
    return Usage(taken, given, min(read or 0, taken), 0, min(reasoning or 0, given))


class AnthropicUsage:
    """The usage of one answer: told at its beginning, and so far with each `message_delta`."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def take(self, told: Any) -> None:
        """Take what an event tells. A server that knows the input at the end tells 0 at the beginning, or the other way."""
        if isinstance(told, dict):
            for name, value in told.items():
                count = _count(value)
                if count is not None:
                    self._counts[name] = max(count, self._counts.get(name, 0))

    @property
    def usage(self) -> Usage | None:
        """What is known so far; None where one of the two numbers was not told. An input of 0 is not: no request has none."""
        counts = self._counts
        read, written = counts.get("cache_read_input_tokens", 0), counts.get("cache_creation_input_tokens", 0)
        taken = counts.get("input_tokens", 0) + read + written
        if not taken or "output_tokens" not in counts:
            return None
        return Usage(taken, counts["output_tokens"], read, written)


def _count(value: Any) -> int | None:
    """Return a number of tokens, None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= _MOST else None


def _first(told: dict[str, Any], names: Iterable[str]) -> int | None:
    """Return the first of these numbers that is told."""
    return next((count for name in names if (count := _count(told.get(name))) is not None), None)


def _parts(told: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return what is told of the parts of input or output: in an object of these names, or beside the whole."""
    return told | {name: value for each in names for name, value in _inner(told, each).items()}


def _rest(total: int, part: int | None) -> int | None:
    return total - part if part is not None and total >= part else None


def _inner(told: dict[str, Any], name: str) -> dict[str, Any]:
    inner = told.get(name)
    return inner if isinstance(inner, dict) else {}
