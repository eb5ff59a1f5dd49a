"""What a shell completes beyond verbs and options: names of the stack that runs in this folder.

Each answers at once and never fails: where nothing runs, there is nothing to complete.
"""

from __future__ import annotations

import json

from cloudia.errors import CloudiaError

__all__ = ["complete_conversation", "complete_part"]

_SECONDS = 0.5
"""A shell waits for its completion; a stack that is slower has none."""
_MOST = 20


def complete_part(incomplete: str) -> list[str]:
    """Return the parts whose names begin with what was typed."""
    from cloudia.local.project import find_project  # noqa: PLC0415 - lazy

    try:
        run = find_project().read_run()
    except CloudiaError:
        return []
    return [name for name in run.parts if name.startswith(incomplete)] if run else []


def complete_conversation(incomplete: str) -> list[tuple[str, str]]:
    """Return the conversations last written to, each with its title, whose ids begin with what was typed."""
    import urllib.request  # noqa: PLC0415 - lazy

    from cloudia.cli.target import find_target  # noqa: PLC0415 - lazy
    from cloudia.direct import opener  # noqa: PLC0415 - lazy

    try:
        target = find_target()
        request = urllib.request.Request(  # noqa: S310 - the settings say where
            f"{target.api_url}/conversations?limit={_MOST}", headers={"authorization": f"Bearer {target.token}"}
        )
        with opener(target.api_url).open(request, timeout=_SECONDS) as response:
            found = json.load(response)["conversations"]
    except (CloudiaError, OSError, ValueError, LookupError, TypeError):
        return []
    return [
        (entry["conversation_id"], " ".join(entry["title"].split()))
        for entry in found
        if entry["conversation_id"].startswith(incomplete)
    ]
