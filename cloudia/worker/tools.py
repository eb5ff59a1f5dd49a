"""Calling a tool that the LLM asked for."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

from cloudia import telemetry
from cloudia.telemetry.events import ToolCalled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudia.telemetry.events import AttemptIds
    from cloudia.worker.providers.base import Tool, ToolCall

__all__ = ["call_tool"]


async def call_tool(tools: Sequence[Tool], call: ToolCall, *, job: AttemptIds | None = None) -> str:
    """Return a tool's result. What goes wrong is told to the LLM, which can ask otherwise or say so.

    `job` is the attempt that the call is told as a part of; None tells nobody.
    """
    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        return f"error: there is no tool {call.name!r}"
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError:
        return "error: the arguments are not JSON"
    if not isinstance(arguments, dict):
        return "error: the arguments are not an object"
    began = time.perf_counter()
    failed: str | None = None
    try:
        return await tool.call(**arguments)
    except Exception as error:  # noqa: BLE001 - a tool's failure is something the LLM can work with
        failed = type(error).__name__
        telemetry.log("tool failed", level=logging.WARNING, tool=call.name, exc_info=error)
        return f"error: {failed}"
    except BaseException:
        failed = "cancelled"
        raise
    finally:
        if job and telemetry.listening():
            seconds = time.perf_counter() - began
            telemetry.notify(ToolCalled(job=job, at=time.time(), seconds=seconds, tool=tool.name, error=failed))
