"""What of an experiment is done, what the rest will take, and how far the sweeps on a store are, seen from outside."""

import math
import random
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from supertickets.engines import Costs, default_workers, gpu_memory, likeness, machine_memory
from supertickets.runs import EXPIRY, RunStore, Spec, alive, in_words, readable, task_of
from supertickets.studies.experiments import stages
from supertickets.studies.inputs import HERE, Inputs
from supertickets.studies.profiles import Profile
from supertickets.studies.sweeps import MEASURED, drawn

ALIKE = 5
"""So many finished runs of every kind are read to estimate what missing ones of that kind will take."""


@dataclass(frozen=True)
class Part:
    """How far the runs of one task, or of several together, are.

    ``seconds`` is the estimated time of the missing runs on one worker, but for ``n_unknown`` that no finished one is
    like.
    """

    task: str
    n_done: int = 0
    n_missing: int = 0
    n_failed: int = 0
    seconds: float = 0.0
    n_unknown: int = 0

    @property
    def time(self) -> str:
        """The time of the missing runs in words."""
        if self.n_unknown == self.n_missing:
            return "unknown" if self.n_missing else "-"
        return readable(self.seconds) + (f" + {self.n_unknown} unknown" if self.n_unknown else "")


@dataclass(frozen=True)
class Needs:
    """Memory in MiB: ``peak`` of a run (NaN: not measured) and what ``place`` has, which ``n_runs`` at once share."""

    peak: float
    there: float
    n_runs: int
    place: str

    @property
    def fitting(self) -> int:
        """So many runs fit side by side."""
        return int(self.there // self.peak)

    def __str__(self) -> str:
        if math.isnan(self.peak):
            return "memory: not measured yet"
        text = f"memory: up to {in_words(self.peak)} a worker"
        text += f", {in_words(self.n_runs * self.peak)} with {self.n_runs} at once" if self.n_runs > 1 else ""
        if math.isnan(self.there):
            return text
        text += f"; {self.place} has {in_words(self.there)}"
        if self.n_runs <= self.fitting:
            return text
        fix = f"only {self.fitting} at once will" if self.fitting else "not even one will"
        return f"{text}. That will not fit: {fix}; use fewer workers or a larger machine."


@dataclass(frozen=True)
class Plan:
    """How far an experiment is: ids of runs done, errors by id of runs that failed, specs of the missing ones.

    ``seconds`` is the estimated time of the missing runs on one worker and ``wall`` that on ``workers``, without
    ``n_unknown`` runs that no finished run is like; both are NaN if none is. ``parts`` tells them apart by task.
    ``open_ended`` says that a later stage's runs are not all known yet, since they depend on missing ones.
    """

    experiment: str
    done: tuple[str, ...]
    failed: Mapping[str, str]
    missing: tuple[Spec, ...]
    seconds: float
    wall: float
    workers: int
    n_unknown: int
    parts: tuple[Part, ...]
    needs: Needs
    open_ended: bool

    def __str__(self) -> str:
        total = len(self.done) + len(self.failed) + len(self.missing)
        text = f"{self.experiment}: {len(self.done)} of {total} runs done, {len(self.missing)} missing"
        text += f", {len(self.failed)} failed" if self.failed else ""
        text += f"; time: {self._time()}" if self.missing else ""
        text += "; more runs follow from their results" if self.open_ended else ""
        return f"{text}\n{self.needs}" if self.missing and not math.isnan(self.needs.peak) else text

    def _time(self) -> str:
        if math.isnan(self.seconds):
            return "unknown until one like them has finished (sweep one seed to find out)"
        text = f"about {readable(self.seconds)} on one worker"
        text += f", {readable(self.wall)} with {self.workers}" if self.workers > 1 else ""
        return text + (f", not counting {self.n_unknown} runs that none like has finished" if self.n_unknown else "")

    def table(self) -> str:
        """A line for every task: runs done, missing and failed, and the time of the missing ones on one worker."""
        rows = [("task", "done", "missing", "failed", "time on one worker")]
        rows += [(part.task, *map(str, (part.n_done, part.n_missing, part.n_failed)), part.time) for part in self.parts]
        first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
        return "\n".join(
            "  ".join([name.ljust(first), *map(str.rjust, numbers, widths), time]) for name, *numbers, time in rows
        )


def plan(experiment: str, profile: Profile, store: RunStore, inputs: Inputs = HERE, workers: int | None = None) -> Plan:
    """How far an experiment is, without carrying out anything. Of the records, only a few of every kind are read.

    ``workers`` is as in :func:`supertickets.studies.sweep`. Raises SuperticketsError as
    :func:`supertickets.studies.experiments.stages` does.
    """
    known: dict[str, Spec] = {}
    there, failures = set(store.ids()), store.failures()
    open_ended, waiting = False, False
    for stage in stages(experiment, profile, store, inputs):
        open_ended = open_ended or waiting
        known |= {spec.id: spec for spec in stage}
        waiting = any(spec.id not in there for spec in stage)
    done = tuple(run_id for run_id in known if run_id in there)
    failed = {run_id: failures[run_id] for run_id in known if run_id in failures and run_id not in there}
    missing = tuple(spec for run_id, spec in known.items() if run_id not in there and run_id not in failed)

    costs, peaks = _measured(missing, [known[run_id] for run_id in done], sorted(there - set(done)), store)
    seconds = {spec.id: costs.of(_kinds(spec)) for spec in missing}
    largest = max((next((peaks[key] for key in _kinds(spec) if key in peaks), 0.0) for spec in missing), default=0.0)
    sure = [cost for cost in seconds.values() if not math.isnan(cost)]
    n_workers = max(1, min(default_workers() if workers is None else workers, len(missing)))
    place = (machine_memory(), n_workers, "the machine")
    if torch.cuda.is_available():  # each has its share of the workers; what CUDA needs for itself is left out
        place = (gpu_memory(), -(-n_workers // torch.cuda.device_count()), "a GPU")
    return Plan(
        experiment,
        done,
        failed,
        missing,
        seconds=sum(sure) if sure or not missing else math.nan,
        wall=max(sum(sure) / n_workers, *sure) if sure else math.nan if missing else 0.0,
        workers=n_workers,
        n_unknown=len(seconds) - len(sure),
        parts=tuple(_parts(known.values(), there, failed, seconds)),
        needs=Needs(largest or math.nan, *place),
        open_ended=open_ended,
    )


def _kinds(spec: Spec) -> tuple[tuple[object, ...], ...]:
    """What a run is like, the finest first, of the same task: another task's data may be of quite another size."""
    return likeness(spec)[:2]


def _measured(
    missing: Sequence[Spec], done: Sequence[Spec], others: Sequence[str], store: RunStore
) -> tuple[Costs, dict[tuple[object, ...], float]]:
    """What finished runs took, and their peaks of memory, by what they are like."""
    by_kind: dict[tuple[object, ...], list[str]] = {}
    for spec in done:
        for key in _kinds(spec):
            by_kind.setdefault(key, []).append(spec.id)
    wanted = {next((key for key in keys if key in by_kind), None) for keys in map(_kinds, missing)}
    draw = random.Random(0)
    ids = {run_id for key in wanted if key is not None for run_id in drawn(by_kind[key], ALIKE, draw)}
    if None in wanted:  # another experiment may have had runs like these
        ids |= set(drawn(others, MEASURED, draw))
    costs, peaks = Costs(), {}
    measure = "gpu_reserved" if torch.cuda.is_available() else "process"
    for record in store.records(sorted(ids)):
        costs.add(record.spec, record.timings.get("total", math.nan))
        for key in _kinds(record.spec):
            peaks[key] = max(record.memory.get(measure, 0.0), peaks.get(key, 0.0))
    return costs, peaks


def _parts(
    specs: Iterable[Spec], there: set[str], failed: Mapping[str, str], costs: Mapping[str, float]
) -> Iterable[Part]:
    by_task: dict[str, list[str]] = {}
    for spec in specs:
        by_task.setdefault(task_of(spec), []).append(spec.id)
    for task, ids in by_task.items():
        missing = [costs[run_id] for run_id in ids if run_id in costs]
        sure = [cost for cost in missing if not math.isnan(cost)]
        n_done, n_failed = sum(run_id in there for run_id in ids), sum(run_id in failed for run_id in ids)
        yield Part(task, n_done, len(missing), n_failed, sum(sure), len(missing) - len(sure))


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
