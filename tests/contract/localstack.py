"""A real LocalStack 4.14.0 without Docker: from PyPI, its DynamoDB from Maven Central. For the tests alone.

`python -m tests.contract.localstack` installs it, once, into the user's cache folder: a minute and 500 MB. It needs CPython
3.13 (its SQS does not parse under 3.11), Java 17 and `mvn`. Where one of them is not there, it says so and exits 1.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from platformdirs import user_cache_path

from cloudia.sim.engines.answering import who_answers
from cloudia.sim.ports import choose_port

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MissingError", "home", "install", "running"]

VERSION = "4.14.0"
_DYNAMODB = "2.6.1"
_REQUIREMENTS = (f"localstack-core[runtime]=={VERSION}", "cbor2<5.8", "pyopenssl<25.2", "service_identity")
_PROJECT = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>cloudia</groupId><artifactId>contract</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>com.amazonaws</groupId><artifactId>DynamoDBLocal</artifactId><version>{_DYNAMODB}</version>
  </dependency></dependencies>
</project>
"""
# LocalStack starts DynamoDBLocal by its manifest, which names other files than Maven's, and with an agent that allows more
# than twenty indexes: neither is needed. It looks for a Java of its own where this stands.
_JAVA = """#!/usr/bin/env bash
lib=$(cd "$(dirname "$0")/../../../dynamodb-local/2" && pwd)
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    -javaagent:* | -Djava.library.path=*) ;;
    -jar)
      shift
      main=com.amazonaws.services.dynamodbv2.local.main.ServerRunner
      arguments+=("-Djava.library.path=$lib" -cp "$lib/*" "$main")
      ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
exec JAVA "${arguments[@]}"
"""
_READY_SECONDS = 60


class MissingError(Exception):
    """LocalStack cannot be had here, and why."""


def home() -> Path | None:
    """Return the folder it is installed in, None where it is not."""
    folder = _folder()
    return folder if (folder / "complete").exists() else None


def _folder() -> Path:
    return user_cache_path("cloudia") / f"localstack-{VERSION}"


def install() -> Path:
    """Install it, where it is not. Return its folder. `MissingError` where something that it needs is not there."""
    folder = _folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if home():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        python, java, maven = _python(), _command("java"), _command("mvn")
        _run(python, "-m", "venv", str(folder / "venv"))
        _run(str(folder / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet", *_REQUIREMENTS)
        jars = folder / "lib" / "dynamodb-local" / "2"
        jars.mkdir(parents=True)
        (folder / "pom.xml").write_text(_PROJECT)
        wanted = ("-DincludeScope=runtime", f"-DoutputDirectory={jars}")
        _run(maven, "-q", "-B", "-f", str(folder / "pom.xml"), "dependency:copy-dependencies", *wanted)
        (jars / f"DynamoDBLocal-{_DYNAMODB}.jar").rename(jars / "DynamoDBLocal.jar")
        script = folder / "lib" / "java" / "21" / "bin" / "java"
        script.parent.mkdir(parents=True)
        script.write_text(_JAVA.replace("exec JAVA", f"exec {java}"))
        script.chmod(0o755)
        (folder / "complete").touch()
    return folder


def _python() -> str:
    versions = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    for candidate in (shutil.which("python3.13"), *map(str, sorted(versions.glob("3.13*/bin/python")))):
        asked = candidate and subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False)
        if asked and asked.returncode == 0 and " 3.13" in asked.stdout:
            return str(candidate)
    raise MissingError("there is no CPython 3.13")


def _command(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise MissingError(f"there is no {name} command")
    return found


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        raise MissingError(f"{Path(command[0]).name} failed: {said[-1] if said else done.returncode}")


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Run it until the block ends. Yield its URL. `MissingError` where it is not installed or does not start."""
    folder = home()
    if folder is None:
        raise MissingError("LocalStack is not installed: `make localstack`")
    with tempfile.TemporaryDirectory(prefix="localstack-", ignore_cleanup_errors=True) as temporary:
        root, port = Path(temporary), choose_port()
        (root / "usr" / "lib").mkdir(parents=True)
        (root / "usr" / "lib" / "localstack").symlink_to(folder / "lib")
        environment = {
            **os.environ,
            "FILESYSTEM_ROOT": temporary,
            "XDG_CACHE_HOME": temporary,  # Its cache of plugins, which a failed start leaves broken.
            "TMPDIR": temporary,
            "GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "LOCALSTACK_HOST": f"127.0.0.1:{port}",
            "SQS_ENDPOINT_STRATEGY": "path",
            "SERVICES": "sqs,dynamodb,ssm",
            "DYNAMODB_IN_MEMORY": "1",
            "DYNAMODB_HEAP_SIZE": "192m",
            "DNS_ADDRESS": "0",
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "DISABLE_EVENTS": "1",
            "OVERRIDE_IN_DOCKER": "0",
        }
        binaries = folder / "venv" / "bin"
        with (root / "log").open("wb") as log:
            process = subprocess.Popen(
                [binaries / "python", binaries / "localstack-supervisor"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + _READY_SECONDS
            while not who_answers(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise MissingError(f"LocalStack does not start: {(root / 'log').read_text()[-300:]}")
                time.sleep(0.1)
            yield url
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it and all that it started: what it holds is of no use to anybody."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    process.kill()
    process.wait()


if __name__ == "__main__":
    try:
        print(f"LocalStack {VERSION} is at {install()}")
    except MissingError as error:
        sys.exit(f"LocalStack {VERSION} cannot be installed: {error}")
