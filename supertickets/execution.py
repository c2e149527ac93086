"""Carrying out one run: claim it, do it, write its record, and note why it failed if it did."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from supertickets.adaptation import AdaptationSpec, adapt, source_model
from supertickets.claims import claimed
from supertickets.errors import SuperticketsError, UnwritableError
from supertickets.memory import kept_memory, peak_memory
from supertickets.run_logs import RunLog
from supertickets.runs import Record, RunSpec
from supertickets.shared_runs import SharingSpec, train_shared
from supertickets.specs import Spec
from supertickets.store import RunStore
from supertickets.tickets import Scores
from supertickets.training import fine_tune


@dataclass(frozen=True)
class Outcome:
    """How a run went: "done", "found" in the store, "busy" elsewhere, or "failed" with its error.

    ``unsaved`` says that it failed because the store cannot be written.
    """

    kind: str
    error: str = ""
    unsaved: bool = False


AT_WORK = threading.Lock()
"""Held while this process carries out a run."""


@contextmanager
def run_conditions() -> Iterator[None]:
    """What a run is carried out under: one torch thread on the CPU, and memory that is kept from step to step.

    With one thread, numbers do not depend on how many workers there are.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with kept_memory():
            yield
    finally:
        torch.set_num_threads(before)


def execute(spec: Spec, store_path: str, models: str | None = None) -> Outcome:
    """Carries out one run and writes its record, unless it is there by now or another sweep is at it."""
    store, outcome = RunStore(store_path), None
    try:
        with AT_WORK, claimed(store, spec.id) as mine:
            outcome = _executed(spec, store, models) if mine else Outcome("busy")
    except (SuperticketsError, OSError) as error:  # the claim could not be written; or, afterwards, not removed
        outcome = outcome or _noted(store, spec, str(error), isinstance(error, UnwritableError))
    return outcome


def _executed(spec: Spec, store: RunStore, models: str | None) -> Outcome:
    if spec.id in store:  # another sweep was quicker
        return Outcome("found")
    lost = next((parent for parent in spec.parents if store.get(parent) is None), "")
    if lost:  # damaged since all was planned; nothing is wrong with this run, so that nothing is noted
        return Outcome("failed", f"its parent run {lost} is gone; the same command does both again")
    log, n_epochs = RunLog(store, spec), 0

    def on_epoch(values: dict[str, float]) -> None:
        nonlocal n_epochs
        n_epochs += 1
        store.heartbeat(spec.id, n_epochs, spec.hyper.epochs)
        log.epoch(n_epochs, values)

    try:
        log.started()
        with run_conditions(), peak_memory() as memory:
            record = carry_out(spec, store, models, on_epoch)
        record = replace(record, memory=memory)
        store.save(record)
        log.finished(record)
    except Exception as error:  # whatever it was: CUDA, memory, disk, a bug; the sweep must go on
        return _noted(store, spec, log.failed(error), isinstance(error, UnwritableError))
    finally:  # of this process's own run only: another sweep's heartbeat is not ours to remove
        store.forget_heartbeat(spec.id)
    return Outcome("done")


def carry_out(
    spec: Spec,
    store: RunStore,
    models: str | Path | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> Record:
    """The record of one run of any kind, carried out now, with its parents' scores from the store; it is not saved.

    Raises SuperticketsError if a parent is not in the store, and for whatever stops the run.
    """
    if isinstance(spec, AdaptationSpec):
        folder = store.model_folder(f"{spec.source.id}{spec.source_task and '-'}{spec.source_task}")
        return adapt(spec, source_model(spec.source, spec.source_task, _scores(spec.source, store), folder), on_epoch)
    scores = _scores(spec, store)
    if isinstance(spec, SharingSpec):
        return train_shared(spec, scores, store.scratch(spec.id), on_epoch)
    return fine_tune(spec, scores.get(spec.ticket.parent), models and Path(models) / spec.id, on_epoch)


def _scores(spec: RunSpec | SharingSpec, store: RunStore) -> dict[str, Scores]:
    """The importance scores that a run's tickets are read off, by the id of the run that took them."""
    rules = (spec.ticket,) if isinstance(spec, RunSpec) else spec.tickets
    return {rule.parent: store[rule.parent].scores(rule.estimator) for rule in rules if rule.parent}


def _noted(store: RunStore, spec: Spec, error: str, unsaved: bool = False) -> Outcome:
    try:
        store.fail(spec, error)
    except SuperticketsError:  # a full disk: the error still reaches the driver
        error, unsaved = f"{error} (this could not be noted in the store)", True
    return Outcome("failed", error, unsaved)
