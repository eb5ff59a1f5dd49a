"""What is drawn, line by line, without a control character in it. Textual itself lets ESC and the C1 controls through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.filter import LineFilter

from cloudia.visible import visible

if TYPE_CHECKING:
    from textual.color import Color

__all__ = ["VisibleLines"]


class VisibleLines(LineFilter):
    """Makes every segment `visible`, after whatever made a text of it: Markdown makes a mark of direction of `&rlm;`."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - Textual's signature
        """Return the segments of a line; it stays as wide as it was, since a control character has no width of its own."""
        shown = [Segment(visible(text), style, control) for text, style, control in segments]
        if all(new.text == old.text for new, old in zip(shown, segments, strict=True)):
            return segments
        return Segment.adjust_line_length(shown, Segment.get_line_length(segments))
