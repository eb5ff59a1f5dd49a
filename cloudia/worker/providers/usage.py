"""What providers tell of the tokens that they counted, brought into one form. Odd or missing numbers never cost the answer.

OpenAI's input includes what was read from the cache, Anthropic's excludes what was read from and written to it; both tell the
usage so far wherever they tell it several times, so the last one counts.
https://platform.openai.com/docs/api-reference/chat-streaming, https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

from typing import Any

from cloudia.worker.providers.base import Usage

__all__ = ["AnthropicUsage", "openai_usage"]

_MOST = 10**12
"""No answer has so many; beyond it a number is an error, and would be one of DynamoDB's, too."""


def openai_usage(told: Any) -> Usage | None:
    """Return the usage that a chunk tells; None where it tells none that makes sense."""
    if not isinstance(told, dict):
        return None
    taken, given, total = (_count(told.get(name)) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
    if total is not None:
        taken = _rest(total, given) if taken is None else taken
        given = _rest(total, taken) if given is None else given
    if taken is None or given is None:
        return None
    read = _count(_inner(told, "prompt_tokens_details").get("cached_tokens"))
    if read is None:
        read = _count(told.get("prompt_cache_hit_tokens"))  # DeepSeek's.
    reasoning = _count(_inner(told, "completion_tokens_details").get("reasoning_tokens"))
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
        """What is known so far; None where one of the two numbers was not told."""
        counts = self._counts
        if "input_tokens" not in counts or "output_tokens" not in counts:
            return None
        read, written = counts.get("cache_read_input_tokens", 0), counts.get("cache_creation_input_tokens", 0)
        return Usage(counts["input_tokens"] + read + written, counts["output_tokens"], read, written)


def _count(value: Any) -> int | None:
    """Return a number of tokens, None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= _MOST else None


def _rest(total: int, part: int | None) -> int | None:
    return total - part if part is not None and total >= part else None


def _inner(told: dict[str, Any], name: str) -> dict[str, Any]:
    inner = told.get(name)
    return inner if isinstance(inner, dict) else {}
