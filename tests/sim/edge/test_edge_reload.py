"""Functions are loaded again when their files change, while the edge goes on serving."""

from __future__ import annotations

import os
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2

import cloudia
from tests.functions.apis import edge_of
from tests.support import Cloud, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.forks import Child


@dataclass
class Workshop:
    """An edge that runs a copy of the package, and the copy's functions."""

    functions: Path
    http: httpx2.AsyncClient
    process: Child

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a piece of a function's file, which has to be there once."""
        path = self.functions / name
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))

    async def health(self) -> str:
        """Return the status that `/health` tells."""
        return str((await self.http.get("/health")).json().get("status"))

    async def becomes(self, status: str) -> None:
        """Wait until `/health` tells this status."""

        async def told() -> bool:
            return await self.health() == status

        await eventually(told)


@asynccontextmanager
async def workshop(cloud: Cloud, tmp_path: Path) -> AsyncIterator[Workshop]:
    """Run an edge from a copy of the package."""
    package = tmp_path / "lib" / "cloudia"
    shutil.copytree(Path(cloudia.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    # The copy hides the installed package; with a safe path, the working folder does not hide the copy. Bytecode is
    # written, as it is for a user, whatever the tests run with.
    environment = {"PYTHONPATH": str(package.parent), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": ""}
    async with (
        edge_of(cloud, tmp_path / "edge.log", environment=environment) as (url, process),
        httpx2.AsyncClient(base_url=url, headers={"authorization": f"Bearer {cloud.token()}"}, trust_env=False) as http,
    ):
        yield Workshop(package / "functions", http, process)
        assert process.returncode is None


async def test_an_edit_shows_without_a_restart(cloud: Cloud, tmp_path: Path) -> None:
    """An edited function answers as it now stands; an edited helper changes all that import it."""
    async with workshop(cloud, tmp_path) as bench:
        assert await bench.health() == "degraded"
        bench.edit("health.py", '"degraded"', '"edited once"')
        await bench.becomes("edited once")
        bench.edit("health.py", '"edited once"', '"edited again"')
        await bench.becomes("edited again")

        bench.edit("http.py", '"cache-control": "no-store"', '"cache-control": "no-store", "x-edited": "yes"')

        async def everywhere() -> bool:
            responses = [await bench.http.get(path) for path in ("/health", "/conversations", "/jobs/x")]
            return all(response.headers.get("x-edited") == "yes" for response in responses)

        await eventually(everywhere)


async def test_a_broken_file_is_a_500_until_it_is_mended(cloud: Cloud, tmp_path: Path) -> None:
    """A syntax error fails the calls of that function alone, as JSON and with a reason in the log; mended, it works again."""
    async with workshop(cloud, tmp_path) as bench:
        assert await bench.health() == "degraded"
        bench.edit("health.py", "def handler", "def def handler")

        async def broken() -> httpx2.Response | None:
            response = await bench.http.get("/health")
            return response if response.status_code == 500 else None

        response: httpx2.Response = await eventually(broken)
        assert response.headers["content-type"] == "application/json"
        error = response.json()["error"]
        assert (error["code"], error["message"]) == ("internal", "the function failed")
        assert "SyntaxError" in (tmp_path / "edge.log").read_text()
        assert (await bench.http.get("/conversations")).status_code == 200

        bench.edit("health.py", "def def handler", "def handler")
        await bench.becomes("degraded")


async def test_two_edits_within_a_second_both_show(cloud: Cloud, tmp_path: Path) -> None:
    """A second edit shows also where its file has the size and, in whole seconds, the time of the first."""
    async with workshop(cloud, tmp_path) as bench:
        path, second = bench.functions / "health.py", 1_000_000_000
        now = path.stat().st_mtime_ns // second * second
        bench.edit("health.py", '"degraded"', '"edited 1"')
        os.utime(path, ns=(now, now + second // 10))
        await bench.becomes("edited 1")
        bench.edit("health.py", '"edited 1"', '"edited 2"')
        os.utime(path, ns=(now, now + second // 2))
        await bench.becomes("edited 2")


async def test_a_function_that_exits_takes_nothing_along(cloud: Cloud, tmp_path: Path) -> None:
    """A function that calls `sys.exit` fails its own call, as in Lambda; the edge goes on."""
    async with workshop(cloud, tmp_path) as bench:
        assert await bench.health() == "degraded"
        bench.edit("health.py", "    presence = request", "    raise SystemExit(3)\n    presence = request")

        async def failed() -> bool:
            return (await bench.http.get("/health")).status_code == 500

        await eventually(failed)
        assert (await bench.http.get("/conversations")).status_code == 200
