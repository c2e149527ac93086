"""Carrying out one run: claim it, do it, write its record, and note why it failed if it did."""

import os
import shutil
import tempfile
import threading
import uuid
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedModel

from supertickets.engines.resources import peak_memory
from supertickets.engines.scheduling import Outcome
from supertickets.errors import SuperticketsError, UnwritableError
from supertickets.models import load_compacted, name_labels, save_compacted
from supertickets.runs import AdaptationSpec, Record, RunLog, RunSpec, RunStore, SharingSpec, Spec, claimed
from supertickets.sharing import train_shared, trained_together
from supertickets.tickets import Scores, Ticket
from supertickets.training import adapt, fine_tune, run_conditions

AT_WORK = threading.Lock()
"""Held while this process carries out a run."""


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


def source_model(
    source: RunSpec | SharingSpec, task: str, scores: Mapping[str, Scores], folder: str | Path | None = None
) -> tuple[PreTrainedModel, Ticket]:
    """The trained source and its ticket: from ``folder`` if it is there, else trained now and kept there, if given.

    ``scores`` are the importance scores of the source's parents, by run id; ``task`` is as in
    :class:`~supertickets.runs.AdaptationSpec`. Of a multi-task source it is the whole shared encoder, and the ticket is
    the union. A kept model that cannot be loaded is moved aside with a warning and trained anew.
    """
    if folder is not None and Path(folder).is_dir():
        try:
            return load_compacted(folder), Ticket.load(Path(folder) / "ticket.json")
        except SuperticketsError as error:
            aside = f"{folder}.broken-{uuid.uuid4().hex[:8]}"
            os.replace(folder, aside)
            warnings.warn(f"{error} It was moved to {aside} and is trained anew.", stacklevel=2)
    try:
        if folder is not None:
            Path(folder).parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=None if folder is None else Path(folder).parent, prefix="."))
    except OSError as error:
        raise SuperticketsError(f"The source model cannot be kept at {folder} ({error}); free some space.") from error
    try:
        if isinstance(source, RunSpec):
            fine_tune(source, scores.get(source.ticket.parent), temporary)
        else:
            shared, data, _ = trained_together(source, scores)
            name = task or next(iter(shared.models))
            model = shared.models[name]
            name_labels(model, data[name].task)
            save_compacted(model.cpu(), shared.union, temporary)
        found = load_compacted(temporary), Ticket.load(temporary / "ticket.json")
        if folder is not None:
            _keep(temporary, Path(folder))
        return found
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _keep(temporary: Path, folder: Path) -> None:
    try:
        os.replace(temporary, folder)
    except OSError as error:
        if not folder.is_dir():  # else another worker was quicker, with the same model
            raise SuperticketsError(f"The source model cannot be kept at {folder} ({error}).") from error
