"""Which requests a server refuses, as a case says it: a rule holds where any of its clauses does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["RULES", "holds"]


def holds(rule: Mapping[str, Any], body: Mapping[str, Any], path: str) -> bool:
    """Tell whether a rule holds for a request: its body, `{}` where that is no JSON object, and its path with the query."""
    asked = _Asked(body, path)
    return any(RULES[name](asked, value) for name, value in rule.items())


class _Asked:
    """What a request says, in either vendor's words."""

    def __init__(self, body: Mapping[str, Any], path: str) -> None:
        self.body = body
        self.path = path
        self.messages = _objects(body.get("messages"))
        self.chat = [message for message in self.messages if message.get("role") in {"user", "assistant"}]

    def texts(self) -> Iterator[str]:
        """Yield the texts of all messages."""
        for message in self.messages:
            yield from _texts(message.get("content"))

    def results(self) -> list[str]:
        """Return what tools answered."""
        own = [message for message in self.messages if message.get("role") == "tool"]
        blocks = [
            block
            for message in self.messages
            for block in _objects(message.get("content"))
            if block.get("type") == "tool_result"
        ]
        return ["".join(_texts(each.get("content"))) for each in (*own, *blocks)]


def _blank(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    calls = message.get("tool_calls") or not isinstance(content, str)
    return message.get("role") == "assistant" and not calls and not any(text.strip() for text in _texts(content))


def _texts(content: Any) -> list[str]:
    if isinstance(content, list):
        return [str(block.get("text", "")) for block in _objects(content) if block.get("type") == "text"]
    return [content if isinstance(content, str) else ""]


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


RULES: Mapping[str, Callable[[_Asked, Any], bool]] = {
    "has_field": lambda asked, name: name in asked.body,
    "has_role": lambda asked, role: any(message.get("role") == role for message in asked.messages),
    "has_text": lambda asked, text: any(text in said for said in asked.texts()),
    "roles_do_not_alternate": lambda asked, _: any(
        message.get("role") != ("user", "assistant")[place % 2] for place, message in enumerate(asked.chat)
    ),
    "blank_assistant": lambda asked, _: any(map(_blank, asked.chat)),
    "context_over_bytes": lambda asked, most: sum(len(text.encode()) for text in asked.texts()) > most,
    "lacks_tool_results": lambda asked, _: not asked.results(),
    "tool_results_are_not": lambda asked, wanted: asked.results() != wanted,
    "path_is_not": lambda asked, wanted: asked.path != wanted,
}
"""The clauses by name: each is given a request and the clause's value."""
