"""What an operator may change in a job before it is redriven. No I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cloudia.errors import InvalidRequestError
from cloudia.operate.dead_letters import Edit
from cloudia.protocol import PostMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["checked_edit"]

_MOST_MODEL = 128


def checked_edit(wanted: Mapping[str, object], *, max_content_bytes: int) -> Edit:
    """Return an edit of `content` and `model`, whose text could have been sent as a message.

    Raises what `PostMessage.decode` raises, and `InvalidRequestError` for what is the name of no model.
    """
    content, model = wanted.get("content"), wanted.get("model")
    if content is not None:
        content = PostMessage.decode(json.dumps({"content": content}), max_content_bytes=max_content_bytes).content
    if model is not None and not (isinstance(model, str) and 0 < len(model) <= _MOST_MODEL and model.isprintable()):
        raise InvalidRequestError("model is not the name of a model", code="bad_model")
    return Edit(content, model)
