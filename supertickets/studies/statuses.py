"""How far the sweeps on a store are, seen from outside: what is under way where, and how fast it goes."""

import math
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

from supertickets.runs import EXPIRY, RunStore, alive, readable
from supertickets.studies.plans import Plan

HOUR = 3600.0
SILENCE = 300.0
"""Seconds without a sign of life after which a run without a claim has stopped."""


@dataclass(frozen=True)
class UnderWay:
    """A run that some process is at, or was: ``epoch`` is the last that ended (0: none yet), ``age`` its seconds ago.

    ``stopped`` says that the process is gone, or has not been heard of for minutes; the next sweep takes the run up.
    """

    run: str
    host: str
    pid: int
    epoch: int
    epochs: int
    age: float
    stopped: bool

    def __str__(self) -> str:
        far = f"epoch {self.epoch} of at most {self.epochs}, {readable(self.age)} ago" if self.epoch else "first epoch"
        where = f"process {self.pid}" + (f" on {self.host}" if self.host else "")
        return f"{self.run}: {far}, {where}" + (": stopped" if self.stopped else "")


@dataclass(frozen=True)
class Status:
    """What is in a store, what is under way, and how many runs have finished in the last hour, at what rate an hour."""

    path: str
    n_done: int
    runs: tuple[UnderWay, ...]
    failed: Mapping[str, str]
    n_last_hour: int
    per_hour: float

    def __str__(self) -> str:
        stopped = sum(run.stopped for run in self.runs)
        text = f"{self.n_done} runs done, {len(self.runs) - stopped} under way"
        text += f", {stopped} stopped" if stopped else ""
        text += f", {len(self.failed)} failed in {self.path}"
        if self.n_last_hour:
            rate = f"{self.per_hour:.0f}" if self.per_hour >= 10 else f"{self.per_hour:.1f}"
            text += f"\n{self.n_last_hour} runs finished in the last hour, at {rate} an hour"
        return "\n".join([text, *map(str, self.runs)])

    def left(self, plan: Plan) -> str:
        """How long the missing runs of an experiment will take at this rate, in words."""
        if not plan.missing:
            return f"{plan.experiment}: {len(plan.done)} runs done, none missing"
        text = f"{plan.experiment}: {len(plan.done)} runs done, {len(plan.missing)} missing; "
        if not self.per_hour:
            return text + "no run has finished in the last hour, so the time left is unknown"
        return text + f"about {readable(len(plan.missing) / self.per_hour * HOUR)} left at this rate"


def status(store: RunStore) -> Status:
    """What is in a store, what is under way, and how fast it goes. The store is left alone."""
    now = time.time()
    claims, beats = store.claims(), store.running()
    runs = tuple(_under_way(run_id, claims.get(run_id), beats.get(run_id), now) for run_id in {**claims, **beats})
    recent, rate = store.finished_since(now - HOUR), 0.0
    if (first := min(recent, key=recent.__getitem__, default="")) and (record := store.get(first, arrays=False)):
        began = recent[first] - record.timings.get("total", 0.0)  # from then on runs are counted
        rate = len(recent) / min(HOUR, max(1.0, now - began)) * HOUR
    return Status(store.path, len(store), runs, store.failures(), len(recent), rate)


def _under_way(
    run_id: str, claim: Mapping[str, object] | None, beat: Mapping[str, object] | None, now: float
) -> UnderWay:
    """A claim is renewed all the time and says who is at a run; a heartbeat says how far it is."""
    owner = claim or beat or {}
    host, pid = str(owner.get("host", "")), int(_number(owner, "pid"))
    if claim is not None and beat is not None and (beat.get("host"), beat.get("pid")) != (host, pid):
        beat = None  # that of an earlier attempt
    last = max(_number(claim, "time"), _number(beat, "time"))
    gone = host == socket.gethostname() and not (pid > 0 and alive(pid))
    silent = now - last > (SILENCE if claim is None else EXPIRY)
    epoch, epochs = int(_number(beat, "epoch")), int(_number(beat, "epochs"))
    return UnderWay(run_id, host, pid, epoch, epochs, now - _number(beat, "time"), gone or silent)


def _number(note: Mapping[str, object] | None, key: str) -> float:
    value = (note or {}).get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0
