"""Sweeps on a Ray cluster of two nodes on this machine: the same numbers, nothing lost with a worker or a node."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from disturbed import alive, assert_undisturbed
from tiny import toy_full_run

from supertickets.engines import Engine, run_all
from supertickets.engines.cluster import ray_pool
from supertickets.errors import SuperticketsError
from supertickets.runs import RunStore
from supertickets.studies import ticket_sweep

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found through /proc"),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra cluster)"),
]

SWEEP = """
import json, pathlib, sys
from supertickets.engines import Engine, run_all
from supertickets.runs import RunSpec
from supertickets.runs import RunStore
if __name__ == "__main__":
    specs = [RunSpec.from_json(data) for data in json.loads(pathlib.Path(sys.argv[1]).read_text())]
    done = run_all(specs, RunStore(sys.argv[2]), engine=Engine("ray", address=sys.argv[3]), progress=False)
    print(json.dumps([len(done.finished), len(done.found), done.failed]))
"""


def processes() -> dict[int, tuple[int, str]]:
    """Parent and command line of every process."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            found[int(entry.name)] = parent, (entry / "cmdline").read_text().replace("\0", " ")
        except (OSError, ValueError):
            continue
    return found


def below(pid: int) -> dict[int, str]:
    """Command lines of a process's descendants."""
    there, found, front = processes(), {}, {pid}
    while front:
        front = {child for child, (parent, _) in there.items() if parent in front}
        found |= {child: there[child][1] for child in front}
    return found


def at_work(node: int) -> list[int]:
    """The workers of a node that are carrying out a run."""
    return [pid for pid, command in below(node).items() if command.startswith("ray::_execute")]


def free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def nodes() -> Iterator[SimpleNamespace]:
    """Two nodes of one core each, as README.md starts them: ``address``, ``client``, and their process ids."""
    port, client = free_ports(2)
    folder = tempfile.mkdtemp(prefix="st-ray-")  # short: there are sockets in it
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
    ray += ["--node-ip-address=127.0.0.1", "--object-store-memory=100000000", "--include-log-monitor=false"]
    head = ["--head", f"--port={port}", f"--ray-client-server-port={client}", f"--temp-dir={folder}"]
    started: list[subprocess.Popen[bytes]] = []
    ours: set[int] = set()
    # The cluster's own secret: nobody else's is used, and none is left in the home folder.
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    try:
        for arguments in ([*head, "--include-dashboard=false"], [f"--address=127.0.0.1:{port}"]):
            process = subprocess.Popen(
                [*ray, *arguments],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            started.append(process)
            deadline = time.monotonic() + 60
            while not any("raylet/raylet" in command for command in below(process.pid).values()):
                assert process.poll() is None and time.monotonic() < deadline, "a node does not start"
                time.sleep(0.1)
        first, second = started
        yield SimpleNamespace(
            address=f"127.0.0.1:{port}",
            client=f"ray://127.0.0.1:{client}",
            environment=environment,
            first=first.pid,
            second=second.pid,
        )
    finally:
        for process in started:
            ours |= {process.pid, *below(process.pid)}
            process.terminate()
        deadline = time.monotonic() + 20
        while any(alive(pid) for pid in ours) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in ours:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        for process in started:
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def specs(encoder, toy):
    """Ten runs of half a second each, so that there is a middle to disturb."""
    return [
        spec
        for seed in (0, 1)
        for spec in ticket_sweep(
            toy_full_run(encoder, toy, seed, epochs=30, patience=30), (0.3, 0.6), ("winning", "random")
        )
    ]


@pytest.fixture(scope="module")
def undisturbed(specs, tmp_path_factory) -> RunStore:
    store = RunStore(tmp_path_factory.mktemp("undisturbed"))
    assert len(run_all(specs, store, progress=False, engine=Engine("local")).finished) == 10
    return store


def sweep(nodes: SimpleNamespace, specs, folder: Path, address: str) -> subprocess.Popen[str]:
    (folder / "specs.json").write_text(json.dumps([spec.to_json() for spec in specs]))
    return subprocess.Popen(
        [sys.executable, "-c", SWEEP, str(folder / "specs.json"), str(folder / "store"), address],
        env=nodes.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> list[Any]:
    """How many runs were finished and found, and which failed."""
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def when(true: Callable[[], Any], seconds: float = 90.0) -> Any:
    """What comes true in time, or None."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = true()
        if found:
            return found
        time.sleep(0.02)
    return None


@pytest.mark.slow
def test_two_nodes_give_the_numbers_of_one_process(nodes, specs, undisturbed, tmp_path):
    process = sweep(nodes, specs, tmp_path, nodes.address)
    assert when(lambda: at_work(nodes.first) and at_work(nodes.second))
    assert ended(process) == [10, 0, {}]
    assert_undisturbed(RunStore(tmp_path / "store"), specs, undisturbed)


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time(nodes, specs, undisturbed, tmp_path):
    process = sweep(nodes, specs, tmp_path, nodes.address)
    victims = when(lambda: at_work(nodes.second))
    os.kill(victims[0], signal.SIGKILL)
    finished, found, failed = ended(process)
    assert (finished + found, failed) == (10, {})
    assert found <= 1  # its record may have been saved before the driver heard of it
    assert_undisturbed(RunStore(tmp_path / "store"), specs, undisturbed)


def test_a_killed_worker_and_a_lost_node_cost_nothing_but_time(nodes, specs, undisturbed, tmp_path):
    process = sweep(nodes, specs, tmp_path, nodes.address)
    workers = when(lambda: at_work(nodes.second) and at_work(nodes.first))
    raylets = [pid for pid, command in below(nodes.second).items() if "raylet/raylet" in command]
    os.kill(workers[0], signal.SIGKILL)
    os.kill(raylets[0], signal.SIGKILL)
    finished, found, failed = ended(process)
    assert (finished + found, failed) == (10, {})
    assert found <= 2  # their records may have been saved before the driver heard of it
    assert not at_work(nodes.second)
    assert_undisturbed(RunStore(tmp_path / "store"), specs, undisturbed)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_where_no_cluster_answers_one_sentence_says_so_at_once(address, tmp_path):
    started = time.monotonic()
    with pytest.raises(SuperticketsError, match=f"No Ray cluster can be used at {address} .*refused"):
        ray_pool(RunStore(tmp_path), address=address)
    assert time.monotonic() - started < 20  # Ray itself would try for minutes


def test_without_ray_one_sentence_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SuperticketsError, match=r"pip install 'supertickets\[cluster\]'"):
        ray_pool(RunStore(tmp_path))
