"""The image: built from the Dockerfile without a Docker daemon, and run as a cluster runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloudia import __version__
from cloudia.settings import to_environment
from cloudia.sim.ports import choose_port
from cloudia.sim.probes import get_json
from tests.patience import HANGS
from tests.support import Cloud, eventually
from tests.worker.working import accept, ended

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[2]
_NEEDED = ("buildah", "debootstrap", "podman", "runc")
_BASE, _IMAGE = "localhost/cloudia-base", "localhost/cloudia:test"
_TRUST = Path("/etc/ssl/certs/ca-certificates.crt")
_PODMAN = ("podman", "--cgroup-manager", "cgroupfs")
_LIMITS = ("--runtime", "runc", "--network", "host", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")
_SLOW = 1200.0
"""A base is fetched and the image's packages are: minutes, where the network is slow."""

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="debootstrap wants root on Linux"),
    pytest.mark.skipif(
        any(not shutil.which(name) for name in _NEEDED), reason=f"not all of {', '.join(_NEEDED)} on this machine"
    ),
]


def run(*command: str, seconds: float = HANGS) -> str:
    """Run a command that must succeed. Return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, cwd=_ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base with Python, from Debian's packages, that trusts what this machine trusts; kept for the next time."""
    if _BASE in run("buildah", "images", "--format", "{{.Name}}"):
        return _BASE
    folder = tmp_path_factory.mktemp("base")
    packages = "--include=python3,python3-venv,ca-certificates"
    try:
        run("debootstrap", "--variant=minbase", packages, "bookworm", str(folder), seconds=_SLOW)
    except AssertionError:
        pytest.skip("Debian's packages cannot be had here")
    shutil.copy(_TRUST, folder / _TRUST.relative_to("/"))
    (folder / "etc/pip.conf").write_text(f"[global]\ncert = {_TRUST}\n")
    container = run("buildah", "from", "scratch")
    run("buildah", "copy", "--quiet", container, str(folder), "/")
    run("buildah", "commit", "--quiet", "--rm", container, _BASE)
    try:
        run(*_PODMAN, "run", "--rm", *_LIMITS, _BASE, "true")
    except AssertionError:
        pytest.skip("containers do not run here")
    return _BASE


@pytest.fixture(scope="module")
def image(base: str) -> str:
    """The image."""
    built = ("buildah", "bud", "--isolation", "chroot", "--build-arg", f"BASE={base}", "--tag", _IMAGE, ".")
    run(*built, seconds=_SLOW)
    return _IMAGE


@contextmanager
def container(image: str, part: str, environment: dict[str, str]) -> Iterator[str]:
    """Run a part as Kubernetes does: no root, no capability, nothing of its file system writable but /tmp."""
    given = [argument for name, value in environment.items() for argument in ("--env", f"{name}={value}")]
    closed = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    name = run(*_PODMAN, "run", "--detach", *_LIMITS, *closed, *given, image, part)
    try:
        yield name
    finally:
        run("podman", "rm", "--force", "--time", "5", name)


def answers(url: str, **expected: Any) -> Any:
    """Return what a probe says, None while it does not say what is expected."""
    try:
        told = get_json(url)
    except (OSError, ValueError):
        return None
    return told if told.items() >= expected.items() else None


def test_it_is_made_of_what_a_container_needs(image: str) -> None:
    """The user has no name and is not root; the version is this one; nothing of the tools for a terminal is in it."""
    assert run("podman", "image", "inspect", image, "--format", "{{.Config.User}}") == "65532:65532"
    look = "import cloudia, importlib.util as u; print(cloudia.__version__, *map(u.find_spec, ['textual', 'typer', 'uvicorn']))"
    told = run(*_PODMAN, "run", "--rm", *_LIMITS, "--entrypoint", "/opt/cloudia/bin/python", image, "-c", look)
    assert told.split() == [__version__, "None", "None", "None"]


async def test_a_worker_answers_and_stops(image: str, cloud: Cloud) -> None:
    """It is ready, answers what is in the queue, and after SIGTERM ends by itself with 0."""
    port = choose_port()
    environment = {**to_environment(cloud.settings, "worker"), "CLOUDIA_WORKER_PROBE_PORT": str(port)}
    with container(image, "cloudia.worker", environment) as name:
        await eventually(lambda: answers(f"http://127.0.0.1:{port}/ready", status="ready"))
        assert (await ended(cloud, accept(cloud, "hello"))).status == "done"
        run("podman", "stop", "--time", "60", name)
        assert run("podman", "inspect", name, "--format", "{{.State.ExitCode}}") == "0"


async def test_a_gateway_serves_and_stops(image: str, cloud: Cloud) -> None:
    """Its health says so, and after SIGTERM it ends by itself with 0."""
    port = choose_port()
    environment = {**to_environment(cloud.settings, "gateway"), "CLOUDIA_GATEWAY_PORT": str(port)}
    with container(image, "cloudia.gateway", environment) as name:
        await eventually(lambda: answers(f"http://127.0.0.1:{port}/health", status="ok"))
        run("podman", "stop", "--time", "60", name)
        assert run("podman", "inspect", name, "--format", "{{.State.ExitCode}}") == "0"
