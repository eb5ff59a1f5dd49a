"""What the simulated provider says: a prompt and a seed in, the same reply out, every time."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from cloudia.sim.llm import directives, prose, tokens
from cloudia.sim.llm.dice import Dice, digest
from cloudia.sim.llm.prompts import Finish, Prompt, Reply, ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["answer", "scripted"]

_QUOTED = 120  # characters of a message that an answer repeats
_LOOKED_AT = 2_000  # characters of a message that its quote and its topics come from


def answer(prompt: Prompt, seed: int) -> Reply:
    """Return the reply that follows from the prompt's conversation and model, and its seed, else the server's `seed`."""
    key = _key(prompt, seed)
    message = _last(prompt, "user")
    results = _results(prompt)
    call = None if results else directives.tool_call(message)
    if call and call.name in prompt.tools:
        return _calling(prompt, key, call)
    return _saying(prompt, key, _compose(prompt, Dice(key), message, results))


def scripted(prompt: Prompt, seed: int, text: str) -> Reply:
    """Return a reply that says `text`, within the prompt's limits."""
    return _saying(prompt, _key(prompt, seed), text)


def _key(prompt: Prompt, seed: int) -> str:
    said = [part for turn in prompt.turns for part in (turn.role, turn.text)]
    return digest(seed if prompt.seed is None else prompt.seed, prompt.model, *said)


def _calling(prompt: Prompt, key: str, call: ToolCall) -> Reply:
    # A call is never cut short: half its arguments would be of no use to anyone.
    chunks = tokens.split(json.dumps(call.arguments))
    return Reply(key[:24], chunks, "tool", tokens.count_prompt(prompt.turns), tool_call=call)


def _saying(prompt: Prompt, key: str, text: str) -> Reply:
    finish: Finish = "stop"
    stopped = min(((at, stop) for stop in prompt.stop if stop and (at := text.find(stop)) >= 0), default=None)
    if stopped:
        finish, text = "stop_sequence", text[: stopped[0]]
    chunks = tokens.split(text)
    if prompt.max_tokens is not None and len(chunks) > prompt.max_tokens:
        finish, chunks, stopped = "length", chunks[: prompt.max_tokens], None
    return Reply(
        key[:24], chunks, finish, tokens.count_prompt(prompt.turns), stop_sequence=stopped[1] if stopped else None
    )


def _compose(prompt: Prompt, dice: Dice, message: str, results: Sequence[str]) -> str:
    about = prose.topics(directives.without(message[:_LOOKED_AT]))
    parts = [_heading(about), *_context(prompt), *(f"The tool answered {_quote(result)}." for result in results)]
    wanted = directives.words(message)
    if wanted is None:
        return "\n\n".join([*parts, *prose.blocks(dice, about)])
    left = wanted
    kept: list[str] = []
    while left > 0:
        parts = parts or [*prose.blocks(dice, about)]
        block = parts.pop(0)
        size = len(block.split())
        if size > left:
            # One line can be cut anywhere; half a list or half a fence of code would not be markdown.
            kept.append(prose.filler(dice, about, left) if "\n" in block else " ".join(block.split()[:left]))
            break
        kept.append(block)
        left -= size
    return "\n\n".join(kept)


def _heading(about: Sequence[str]) -> str:
    return f"## On {' and '.join(about[:2])}"


def _context(prompt: Prompt) -> list[str]:
    """Return paragraphs that show what of the conversation arrived."""
    said = [turn.text for turn in prompt.turns if turn.role == "user"]
    lines = [f"This is turn {len(said)} of our conversation."]
    if said:
        lines.append(f"You now say {_quote(said[-1])}.")
    if said[1:]:
        lines.append(f"You began with {_quote(said[0])}.")
    if said[1:-1]:
        lines.append(f"Before this you said {_quote(said[-2])}.")
    system = _last(prompt, "system")
    if system:
        lines.append(f"I was told {_quote(system)}.")
    return [" ".join(lines)]


def _quote(text: str) -> str:
    """Return the beginning of `text` in quotation marks, on one line, free of what would break the markdown around it."""
    beginning = directives.without(text[:_LOOKED_AT]).replace("`", "'")
    line = re.sub(r"\s+", " ", beginning).strip()
    shown = "".join(character for character in line if character.isprintable() or character == "\u200d")
    if len(shown) > _QUOTED:
        shown = shown[:_QUOTED].rstrip() + "…"
    return f"“{shown}”" if shown else "nothing"


def _last(prompt: Prompt, role: str) -> str:
    return next((turn.text for turn in reversed(prompt.turns) if turn.role == role), "")


def _results(prompt: Prompt) -> list[str]:
    """Return what tools answered since the assistant last spoke."""
    found: list[str] = []
    for turn in reversed(prompt.turns):
        if turn.role == "assistant":
            break
        if turn.role == "tool":
            found.append(turn.text)
    return found[:4][::-1]
