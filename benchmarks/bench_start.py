"""How long a command and a stack take to start, and what an idle stack costs.

    python benchmarks/bench_start.py

Prints, in milliseconds, the median and the worst of several runs: `cloudia --help`; `cloudia up --detach` until every part has
answered; beside it the start of MiniStack and Redis alone, which is what one would start by hand and then still have to
write the rest. Then the resident memory of all parts and the CPU they use in ten idle seconds.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from cloudia.sim.engines import ministack
from cloudia.sim.ports import LOOPBACK, choose_port
from cloudia.sim.probes import get_json
from cloudia.sim.redis_server import find_redis, write_access

CLI = [sys.executable, "-m", "cloudia"]
RUNS = 5
IDLE_SECONDS = 10.0


def timed(command: list[str], folder: Path) -> tuple[float, str]:
    """Run a command. Return the milliseconds it took and what it printed."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return (time.perf_counter() - began) * 1000, done.stdout


def by_hand(folder: Path) -> float:
    """Return the milliseconds until MiniStack and Redis alone are ready."""
    engine_port, redis_port = choose_port(), choose_port()
    access = folder / "redis.conf"
    write_access(access, "by-hand")
    server = find_redis()
    assert server
    began = time.perf_counter()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            env=ministack.environment(engine_port, temporary=folder, data=None),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ),
        subprocess.Popen(server.command(redis_port, access, None), stdout=subprocess.DEVNULL),
    ]
    try:
        while True:
            try:
                get_json(f"http://{LOOPBACK}:{engine_port}/_ministack/ready")
                return (time.perf_counter() - began) * 1000
            except OSError:
                time.sleep(0.01)
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def show(name: str, times: list[float]) -> None:
    """Print one row."""
    print(f"{name:<44} median {statistics.median(times):7.0f} ms   worst {max(times):7.0f} ms")


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        show("cloudia --help", [timed([*CLI, "--help"], folder)[0] for _ in range(RUNS * 2)])
        show("MiniStack and Redis alone", [by_hand(folder) for _ in range(RUNS)])
        starts = []
        for run in range(RUNS):
            took, out = timed([*CLI, "up", "--detach", "--json"], folder)
            starts.append(took)
            if run == RUNS - 1:
                idle(json.loads(out))
            timed([*CLI, "down"], folder)
        show("cloudia up --detach, until every part answered", starts)


def idle(run: dict[str, object]) -> None:
    """Print what an idle stack holds and uses."""
    pids = run["pids"]
    assert isinstance(pids, dict)
    supervisor = run["supervisor"]
    assert isinstance(supervisor, dict)
    processes = {name: psutil.Process(pid) for name, pid in {**pids, "supervisor": supervisor["pid"]}.items()}
    time.sleep(2)
    before = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
    time.sleep(IDLE_SECONDS)
    memory = {name: process.memory_info().rss / 2**20 for name, process in processes.items()}
    used = {name: sum(process.cpu_times()[:2]) - before[name] for name, process in processes.items()}
    for part in processes:
        print(f"  {part:<12} {memory[part]:6.0f} MB   {used[part] / IDLE_SECONDS * 100:5.1f} % of a core, idle")
    print(
        f"  {'together':<12} {sum(memory.values()):6.0f} MB   {sum(used.values()) / IDLE_SECONDS * 100:5.1f} % of a core, idle"
    )


if __name__ == "__main__":
    main()
