"""The worker: takes jobs off the queue and answers them. Runs in a container with nothing but its own dependencies.

`Turn`, `ChatMessage` and `Tool` are what a responder of one's own works with.
"""

from cloudia.worker.providers.base import ChatMessage, Tool
from cloudia.worker.turn import Turn

__all__ = ["ChatMessage", "Tool", "Turn"]
