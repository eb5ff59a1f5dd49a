"""What listeners are told of one request to an LLM provider, gathered while it is under way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cloudia import telemetry
from cloudia.telemetry.events import ProviderCalled
from cloudia.worker.providers.base import Alive, Finish, NoAnswerError, Piece, ProviderError, ToolCall, Usage

if TYPE_CHECKING:
    from cloudia.telemetry.events import AttemptIds

__all__ = ["CallReport"]


class CallReport:
    """One request: `piece` is told each piece of its answer, `over` how it ended. Of `job` None nobody is told."""

    def __init__(self, job: AttemptIds | None, *, number: int, provider: str, model: str) -> None:
        self._job = job
        self._number = number
        self._provider = provider
        self._model = model
        self._began = time.perf_counter()
        self._first: float | None = None
        self._usage: Usage | None = None
        self._finish: str | None = None
        self._tool_calls = 0

    def piece(self, piece: Piece | None) -> None:
        """Take a piece of the answer; None is its end."""
        if isinstance(piece, Usage):
            self._usage = piece
        elif isinstance(piece, Alive):
            self._usage = piece.usage or self._usage
        elif self._first is None and piece is not None and not isinstance(piece, Finish):
            self._first = time.perf_counter() - self._began
        if isinstance(piece, Finish):
            self._finish = piece.reason
        elif isinstance(piece, ToolCall):
            self._tool_calls += 1

    def over(self, error: BaseException | None = None) -> None:
        """Tell how it ended; what is neither a `ProviderError` nor an answer without text is that we broke it off."""
        if self._job is None or not telemetry.listening():
            return
        refusal = error if isinstance(error, ProviderError) else None
        broken_off = error is not None and not isinstance(error, NoAnswerError)
        telemetry.notify(
            ProviderCalled(
                job=self._job,
                at=time.time(),
                seconds=time.perf_counter() - self._began,
                number=self._number,
                provider=self._provider,
                model=self._model,
                first_piece_seconds=self._first,
                input_tokens=self._usage.input_tokens if self._usage else None,
                output_tokens=self._usage.output_tokens if self._usage else None,
                tool_calls=self._tool_calls,
                finish=self._finish,
                error=refusal.kind if refusal else "cancelled" if broken_off else None,
                status=refusal.status if refusal else None,
            )
        )
