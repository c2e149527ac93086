"""What tools/bench.py does beside benchmarks: memory watched; on a GPU its tests, passes and a step's floor."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Named, since collecting others asks for what a GPU machine need not have; so do the options of pyproject.toml. In the
# last folder one has a capture fail, which no other test of its process should have behind it.
GPU_TESTS = ("tests/models", "tests/test_devices.py", "tests/training")
NEEDED = ("torch", "transformers", "accelerate", "datasets", "loky", "typer", "seaborn", "sklearn", "psutil")
NEEDED += ("pytest", "hypothesis")


def require_gpu() -> None:
    """Ends with one sentence where a package is missing or torch sees no GPU."""
    if lacking := [name for name in NEEDED if find_spec(name) is None]:
        why = f"it has no {' and no '.join(lacking)}"
    else:
        import torch

        why = "" if torch.cuda.is_available() else f"its torch ({torch.__version__}) sees no CUDA device"
    if why:
        sys.exit(f"make gpu cannot measure with {sys.executable}: {why}; name another with GPU_PYTHON=python.")


def control() -> str | None:
    """Where the program is that starts NVIDIA's MPS, if it is there."""
    return shutil.which("nvidia-cuda-mps-control")


@contextmanager
def multi_process_service() -> Iterator[dict[str, str]]:
    """NVIDIA's MPS while the context lasts: kernels of several processes run side by side, not in turns.

    Yields what processes need in their environment to use it.
    """
    with tempfile.TemporaryDirectory() as folder:
        given = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        how: dict[str, Any] = {"env": {**os.environ, **given}, "timeout": 20, "stdout": subprocess.DEVNULL}
        program = control()
        if program is None or subprocess.run([program, "-d"], **how).returncode:
            sys.exit("NVIDIA's MPS does not start")
        try:
            yield given
        finally:
            subprocess.run([program], input=b"quit\n", **how)


def tested(seconds: float) -> dict[str, Any]:
    """Runs the tests marked ``gpu``, for so long at most: a row of how they ended, ``missing`` if not well."""
    row = {"suite": "gpu", "side": "missing", "task": "its tests: there was no time left"}
    options = ["-v", "-o", "addopts=", "--import-mode=importlib", "-m", "gpu"]
    options += ["-W", "default"]  # what a card or another release warns of is shown, and no failure
    command = [sys.executable, "-m", "pytest", *options, *GPU_TESTS]
    root = Path(__file__).resolve().parents[1]
    try:
        done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as late:
        told = late.stdout or b""
        sys.stderr.write(told if isinstance(told, str) else told.decode())  # up to the test that it was at
        return row
    sys.stderr.write(done.stdout)
    told = "".join(done.stdout.splitlines()[-1:]).strip("= ")
    return row | {"side": "missing" if done.returncode else "tests", "task": told}


class Memory:
    """Watches the memory that a process and its children have to themselves, in MiB, until stopped."""

    def __init__(self, pid: int) -> None:
        import psutil

        self.peak, self.over, self.root, self.gone = 0.0, threading.Event(), psutil.Process(pid), psutil.Error
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def processes(self) -> list[Any]:
        """The process and its children, as far as they are there."""
        try:
            return [self.root, *self.root.children(recursive=True)]
        except self.gone:
            return []

    def _watch(self) -> None:
        while not self.over.wait(1.0):
            total = 0.0
            for process in self.processes():
                with suppress(self.gone):
                    total += process.memory_full_info().uss / 2**20
            self.peak = max(self.peak, total)

    def stop(self) -> float:
        """The peak so far; watching ends."""
        self.over.set()
        self.thread.join()
        return self.peak


def passes(encoder: str, data: Any, hyper: Any) -> Iterator[dict[str, Any]]:
    """Evaluation and importance scoring of a training set by the full model, captures included: replayed, and not.

    What is not worth captures is done batch by batch only, as in a run.
    """
    from supertickets.models import load_encoder, load_tokenizer
    from supertickets.training import best_device, cached_encode, predict, timing
    from supertickets.training.fast import graphs, replayed
    from supertickets.training.published import chosen_scores

    task = data.load()
    split = cached_encode(task, "train", load_tokenizer(encoder), hyper.max_length)
    model: Any = load_encoder(encoder, task.num_labels, 0)
    model.to(best_device())
    done = {
        "evaluation": lambda: predict(model, split, hyper.precision),
        "importance scoring": lambda: chosen_scores(model, split, "example", hyper, ()),
    }
    for mode, function in done.items():
        for way, how in (("replayed", graphs), ("batch by batch", lambda _: None)):
            replayed.graphs = how
            if way == "replayed" and not replayed.widths_that_pay(model, split, mode):
                continue
            seconds = timing._in_turn({mode: function}, 3)[mode]
            if why := replayed.said(""):
                sys.exit(why)
            yield {"task": task.name, "mode": mode, "way": way, "seconds": float(min(seconds)), "runs": len(split)}


def floor(encoder: str, data: Any, hyper: Any) -> Iterator[dict[str, Any]]:
    """Seconds of a full model's training step, and at least: as ``products``, ``elementwise`` and ``between``.

    Products at the rate of a large one; all numbers of Adamax, the gradient's among them, read and written once at the
    speed of a large copy; and kernels as many as a step has, replayed one after another with nothing to do.
    """
    import torch
    from torch.profiler import ProfilerActivity, profile

    from supertickets.training import best_device, graphs, timing

    split, whole, tickets = timing._prepared(encoder, data, hyper, (0.0,), 16, 0)
    device, n_steps = best_device(), -(-len(split) // hyper.batch_size)
    kernels, capture, on_card = 1000, graphs(device), device.type == "cuda"
    block, nothing = torch.zeros(2**28 if on_card else 2**20, device=device), torch.zeros(1, device=device)

    def launches() -> torch.Tensor:
        for _ in range(kernels):
            nothing.add_(0)
        return nothing

    launched = launches if capture is None else capture(launches)
    with timing._passes(whole, split, hyper, 0) as timed:
        tried = {"step": timed["training"], "copy": lambda: block.clone(), "launches": launched}
        least = {name: float(seconds.min()) for name, seconds in timing._in_turn(tried, 5).items()}
        watched = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_card else [])]
        with profile(activities=watched) as seen:
            timed["training"]()
        weights = sum(parameter.numel() for parameter in whole.parameters())
    there = [event.count for event in seen.key_averages() if event.device_type.name == device.type.upper()]
    operations = 3 * timing.operations(whole.config, tickets[0.0], float(split.lengths.mean())) * len(split) / n_steps
    row = {"level": 0.0, "seconds": least["step"] / n_steps, "products": operations / timing.peak_rate(hyper.precision)}
    row["elementwise"] = 4 * weights / block.numel() * least["copy"]  # weights, gradient, momentum, infinity norm
    yield row | {"between": sum(there) / n_steps / kernels * least["launches"]}
