"""The worker: takes jobs off the queue and answers them. Runs in a container with nothing but its own dependencies.

`Turn` and `ChatMessage` are what a responder of one's own works with.
"""

from cloudia.worker.providers.base import ChatMessage
from cloudia.worker.turn import Turn

__all__ = ["ChatMessage", "Turn"]
