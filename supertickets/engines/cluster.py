"""Runs on a Ray cluster, or on this machine's own Ray: the extra ``cluster``.

Only specs as JSON and short outcomes travel; every node reads and writes the store itself, so the store, the data and
the encoder must have the same name on all nodes: a folder they share or a URL such as ``s3://...``. Every node needs
the same version of this package. A run whose worker or node is lost is taken up elsewhere: on another machine once the
claim of the lost worker is void (:mod:`supertickets.runs.locks`).
"""

import json
import logging
import os
import socket
import time
from collections.abc import Hashable, Sequence
from dataclasses import asdict
from typing import Any

import loky

from supertickets.engines.execution import execute
from supertickets.engines.resources import SINGLE_THREADED
from supertickets.engines.scheduling import Outcome, Pool
from supertickets.errors import SuperticketsError
from supertickets.options import RUNS_PER_GPU
from supertickets.runs import RunStore, Spec, spec_from_json

SHOWS_UP = 60.0
"""Seconds within which a record that one node wrote must be seen from here; network file systems look rarely."""

_ANSWERS = 5.0  # seconds within which a cluster takes up a connection
_RESOURCES = 5.0  # seconds after which nodes are counted anew
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
_OWN_MEMORY = 100_000_000  # bytes of Ray's object store, in which nothing of ours is put


def ray_pool(
    store: RunStore,
    models: str | None = None,
    workers: int | None = None,
    runs_per_gpu: int = RUNS_PER_GPU,
    address: str = "",
) -> Pool:
    """The workers of a Ray cluster as a pool: ``workers`` runs at once, by default as many as it has room for.

    A run takes one core and, in a cluster with GPUs, ``1 / runs_per_gpu`` of a GPU. ``address`` is "auto",
    "host:port" or "ray://host:port"; without one, a Ray of this machine's own is started and stopped. A connection
    that exists is used and left open.

    Raises SuperticketsError if Ray is not installed or no cluster is there.
    """
    ray = _ray()
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, address)
    on_gpus = ray.cluster_resources().get("GPU", 0) > 0
    gpus = {"num_gpus": 1 / runs_per_gpu} if on_gpus else {}
    task = ray.remote(num_cpus=1, max_retries=0, max_calls=0, **gpus)(_execute)
    store_path, models = _absolute(store.path), models and _absolute(models)
    counted = {"workers": 0.0, "until": 0.0}
    seen: set[str] = set()

    def size() -> int:
        if workers is not None:  # more than there is room for wait in Ray, where an autoscaler sees them
            return workers
        if time.monotonic() > counted["until"]:
            there = ray.cluster_resources()
            room = there.get("GPU", 0) * runs_per_gpu if on_gpus else there.get("CPU", 0)
            counted["workers"] = min(room, there.get("CPU", 0))
            counted["until"] = time.monotonic() + _RESOURCES
        return int(counted["workers"])

    def submit(spec: Spec) -> Hashable:
        return task.remote(json.dumps(spec.to_json()), spec.id, store_path, models)

    def wait(handles: Sequence[Hashable], seconds: float) -> list[tuple[Hashable, Outcome]]:
        done, _ = ray.wait(list(handles), num_returns=1, timeout=seconds)
        if done:
            done, _ = ray.wait(list(handles), num_returns=len(handles), timeout=0)
        return [(handle, _outcome(ray, handle, store, seen)) for handle in done]

    def close(handles: Sequence[Hashable]) -> None:
        for handle in handles:
            ray.cancel(handle, force=True)
        if ours:
            ray.shutdown()

    return Pool(size, submit, wait, close)


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise SuperticketsError("The engine ray needs Ray: pip install 'supertickets[cluster]'.") from error
    return ray


def _connect(ray: Any, address: str) -> None:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    settings: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if not address:
        cores = loky.cpu_count()
        settings |= {"num_cpus": cores, "include_dashboard": False, "object_store_memory": _OWN_MEMORY}
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdigit():  # Ray itself tries for minutes, and talks
            socket.create_connection((host.strip("[]"), int(port)), _ANSWERS).close()
        ray.init(address=address or "local", runtime_env={"env_vars": SINGLE_THREADED}, **settings)
    except (OSError, ImportError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise SuperticketsError(
            f"No Ray cluster can be used at {address or 'this machine'} ({reason}); start one with ray start --head, "
            "or set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on its nodes."
        ) from error


def _absolute(path: str) -> str:
    """A path, or several of stores, that names the same folder in a worker, which works elsewhere."""
    return ",".join(part if "://" in part else os.path.abspath(part.strip()) for part in path.split(","))


def _execute(data: str, run_id: str, store_path: str, models: str | None) -> tuple[str, dict[str, Any], str]:
    """What a worker does: the run's id, its outcome, and the node's name."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    spec = spec_from_json(json.loads(data))
    if spec.id != run_id:
        outcome = Outcome("failed", "its node has another version of supertickets; install the same on all")
    else:
        outcome = execute(spec, store_path, models)
    return run_id, asdict(outcome), node


def _outcome(ray: Any, handle: Hashable, store: RunStore, seen: set[str]) -> Outcome:
    try:
        run_id, outcome, node = ray.get(handle)
    except (ray.exceptions.NodeDiedError, ray.exceptions.ObjectLostError):
        return Outcome("lost")
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
        return Outcome("died")
    except ray.exceptions.RayTaskError as fault:
        if "failed to import on the worker" not in str(fault):
            raise
        raise SuperticketsError(
            "A worker of the Ray cluster cannot import supertickets; install the same version on every node."
        ) from fault
    if outcome["kind"] == "done" and node not in seen:
        _check_that_it_shows_up(store, run_id)
        seen.add(node)
    return Outcome(**outcome)


def _check_that_it_shows_up(store: RunStore, run_id: str) -> None:
    deadline = time.monotonic() + SHOWS_UP
    while run_id not in store.ids():
        if time.monotonic() > deadline:
            raise SuperticketsError(
                f"Run {run_id} finished on another node, but {store.path} does not have it; "
                "give a store that all nodes share, by a path that is the same everywhere."
            )
        time.sleep(1.0)
