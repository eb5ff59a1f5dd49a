"""The running edge is asked what its own document allows, and what it forbids, by Schemathesis."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cloudia.cloud.identity import OPERATOR
from tests.patience import HANGS
from tests.support import clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support import RunningStack

_SCHEMATHESIS = "schemathesis==4.32.5"
_CONFIG = """
# A method that is not there is a 404, as at API Gateway.
[checks.unsupported_method]
enabled = false

# A message that is too long is a 413.
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 413]

# Of the texts that could be a cursor those that the API has given out are taken.
[[operations]]
include-name = [
    "GET /conversations",
    "GET /conversations/{id}/messages",
    "GET /operator/jobs",
    "GET /operator/conversations",
    "GET /operator/conversations/{id}/messages",
]
checks.positive_data_acceptance.enabled = false

# One letter can be changed at a time, which no schema says.
[[operations]]
include-name = ["POST /operator/dead-letters/redrive"]
checks.positive_data_acceptance.enabled = false
"""


@pytest.mark.long
def test_the_document_is_kept(stack: RunningStack, tmp_path: Path) -> None:
    """No 5xx, no status, header or body that the document does not have, nothing refused that it allows, or the reverse."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(_CONFIG)
    tool = [
        sys.executable,
        "-m",
        "uv",
        "tool",
        "run",
        "--from",
        _SCHEMATHESIS,
        "schemathesis",
        "--config-file",
        str(config),
    ]
    run = [
        "run",
        f"{stack.run['api_url']}/openapi.json",
        "--header",
        f"Authorization: Bearer {stack.token('schemathesis', role=OPERATOR)}",
    ]
    options = ["--max-examples", "100", "--workers", "1", "--no-color", "--request-timeout", "30"]
    done = subprocess.run(
        [*tool, *run, *options],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=5 * HANGS,
        check=False,
    )
    said = "\n".join(line[:200] for line in (done.stdout + done.stderr).splitlines())
    assert done.returncode == 0, said
    assert "Tested: 18" in said
