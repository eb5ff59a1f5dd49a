"""The functions' spans in Lambda: a zip with the layer of docs/observability.md tells what it accepts."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from cloudia.deploy.zips.functions import build_functions
from cloudia.settings import to_environment
from cloudia.stack import Stack
from tests.patience import HANGS
from tests.support import Cloud, clean_environment
from tests.telemetry.receiver import Receiver, receiving, told

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
_IN_THE_RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py")
_CALL = """
import json, sys
sys.path[:0] = sys.argv[2:]
from cloudia import telemetry
from cloudia.functions.post_message import handler
event = {"headers": {"authorization": "Bearer " + sys.argv[1]}, "body": json.dumps({"content": "hello"})}
print(json.dumps(handler(event, None)))
telemetry.stop_listening(10)
"""


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer that the page says how to make, for this Python."""
    (said,) = re.findall(
        r"\$ pip install (opentelemetry.*?)```", (ROOT / "docs/observability.md").read_text(), re.DOTALL
    )
    packages = [word for word in shlex.split(said.replace("\\\n", " ")) if word.startswith("opentelemetry")]
    assert len(packages) == 2
    folder = tmp_path_factory.mktemp("layer")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(folder)]
    pinned = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *pinned, *packages], check=True, capture_output=True, timeout=5 * HANGS)
    return folder


def accepted(cloud: Cloud, path: list[Path], variables: Mapping[str, str]) -> tuple[dict[str, object], str]:
    """Post a message to the function as Lambda would, with what stands on this path. Return its answer, and its log."""
    environment = {**to_environment(cloud.settings, "functions"), "AWS_LAMBDA_FUNCTION_NAME": "chat-post", **variables}
    command = [sys.executable, "-I", "-S", "-c", _CALL, cloud.token(), *map(str, path)]
    done = subprocess.run(
        command, env=clean_environment(**environment), capture_output=True, text=True, timeout=HANGS, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.fixture
def path(tmp_path: Path) -> list[Path]:
    """The function's code, and what Lambda's Python has."""
    (zipped,) = [each for each in build_functions(Stack()) if each.name == "post_message"]
    code, runtime = tmp_path / "code", tmp_path / "runtime"
    with zipfile.ZipFile(io.BytesIO(zipped.data)) as file:
        file.extractall(code)
    runtime.mkdir()
    site = [Path(each) for each in sys.path if each.endswith("site-packages")]
    for name in _IN_THE_RUNTIME:
        (runtime / name).symlink_to(next(folder / name for folder in site if (folder / name).exists()))
    return [code, runtime]


def variables(receiver: Receiver) -> dict[str, str]:
    """Return what names the endpoint."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}


@pytest.mark.long
def test_a_zip_with_the_layer_tells_what_it_accepts(cloud: Cloud, path: list[Path], layer: Path) -> None:
    """The request is a SERVER span named after the function, with the queue's within it; its resource has `faas.*`."""
    with receiving() as receiver:
        answer, log = accepted(cloud, [path[0], layer, path[1]], variables(receiver))
        assert answer["statusCode"] == 202, log
        spans = {span.name: span for _, span in receiver.spans}
        request = spans["chat-post"]
        assert request.kind == Span.SPAN_KIND_SERVER
        assert told(request.attributes)["faas.trigger"] == "http"
        assert spans[f"send {cloud.stack.jobs_queue.name}"].parent_span_id == request.span_id
        assert receiver.resources[0]["faas.name"] == "chat-post"
        assert receiver.resources[0]["cloud.platform"] == "aws_lambda"
        assert "cloudia.jobs.accepted" in receiver.metrics


def test_a_zip_without_the_layer_says_so(cloud: Cloud, path: list[Path]) -> None:
    """The message is accepted all the same."""
    with receiving() as receiver:
        answer, log = accepted(cloud, path, variables(receiver))
    assert answer["statusCode"] == 202
    assert "telemetry is not sent" in {json.loads(line)["event"] for line in log.splitlines()}
    assert receiver.spans == []
