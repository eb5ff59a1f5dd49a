"""Calling the tools that the LLM asked for."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from cloudia import telemetry
from cloudia.telemetry.events import ToolCalled
from cloudia.worker.arguments import ArgumentsError, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cloudia.telemetry.events import AttemptIds
    from cloudia.worker.providers.base import Tool, ToolCall

__all__ = ["call_tool", "call_tools"]

_MOST_CHARACTERS = 200_000
"""Of a result: far beyond what a context holds, as that of a tool that returns a file by mistake."""


async def call_tools(
    tools: Sequence[Tool], calls: Sequence[ToolCall], *, seconds: float, job: AttemptIds | None = None
) -> list[str]:
    """Return the results of the calls of one round, in their order; they run side by side."""
    return await asyncio.gather(*(call_tool(tools, call, seconds=seconds, job=job) for call in calls))


async def call_tool(tools: Sequence[Tool], call: ToolCall, *, seconds: float, job: AttemptIds | None = None) -> str:
    """Return a tool's result, within so many seconds. What goes wrong is told to the LLM, which can ask otherwise or say so.

    Of an exception that is its type alone. `job` is the attempt that the call is told as a part of; None tells nobody.
    """
    began = time.perf_counter()
    failed: str | None = "cancelled"
    tool = next((tool for tool in tools if tool.name == call.name), None)
    try:
        if tool is None:
            failed = "unknown_tool"
            return f"error: there is no tool {call.name!r}"
        arguments = parsed(call.arguments, tool.parameters)
        result, failed = await _result(tool, arguments, seconds)
    except ArgumentsError as error:
        failed = "bad_arguments"
        return f"error: {error}"
    else:
        return result
    finally:
        if job and telemetry.listening():
            taken = time.perf_counter() - began
            name = tool.name if tool else ""
            telemetry.notify(ToolCalled(job=job, at=time.time(), seconds=taken, tool=name, error=failed))


async def _result(tool: Tool, arguments: dict[str, Any], seconds: float) -> tuple[str, str | None]:
    """Return what a tool returns, or what the LLM is told in place of it with the kind of failure."""
    try:
        async with asyncio.timeout(seconds) as deadline:
            result = await tool.call(**arguments)
    except Exception as error:  # noqa: BLE001 - a tool's failure is something the LLM can work with
        failed = type(error).__name__
        telemetry.log("tool failed", level=logging.WARNING, tool=tool.name, exc_info=error)
        if deadline.expired():
            return f"error: no result within {seconds:g} s", failed
        return f"error: {failed}", failed
    if not isinstance(result, str):
        return "error: the result is no text", "TypeError"
    if len(result) > _MOST_CHARACTERS:
        return f"error: the result has more than {_MOST_CHARACTERS} characters", "too_large"
    return result, None
