"""The practical job: the super ticket of one task, from one's own data to a smaller model that is ready to use.

Fine-tune, score, prune at the levels, rewind, choose on the selection split, report on the rest (sections 3 and 5.2).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from supertickets.engines import Summary, run_all
from supertickets.errors import SuperticketsError
from supertickets.models import load_compacted
from supertickets.runs import Hyper, Record, RunStore, choose_level
from supertickets.statistics import PairedDifference, two_level_bootstrap
from supertickets.studies.experiments import full_run, ticket_sweep
from supertickets.studies.settings import default_hyper
from supertickets.tasks import DataRef, Task, score
from supertickets.tickets import LEVELS, Ticket
from supertickets.training import fine_tune, run_conditions


@dataclass(frozen=True, eq=False)
class Found:
    """What :func:`find` found: the frame of all runs, the level, the two records shown, their gain, the ticket.

    ``gain`` is the super ticket's report score minus the full model's, in score units, over seeds and examples.
    """

    task: Task
    frame: pd.DataFrame
    level: float
    chosen: Record
    full: Record
    gain: PairedDifference
    ticket: Ticket
    summary: Summary
    selection_size: int
    out: Path


def find(
    data: DataRef,
    encoder: str,
    out: str | Path,
    seeds: Sequence[int] = (0,),
    levels: Sequence[float] = LEVELS,
    hyper: Hyper | None = None,
    selection_fraction: float = 0.1,
    workers: int | None = None,
    keep_full: str | Path | None = None,
    progress: bool = True,
) -> Found:
    """Finds the super ticket of a task and writes it to the folder ``out``.

    ``out`` receives ``ticket.json`` (with scores), ``model/`` (the compacted fine-tuned model, for
    :func:`supertickets.load_compacted`), ``predictions.csv``, ``curve.csv`` and ``runs/`` (the store; a killed call
    resumes from it). The level is chosen by the mean selection score over ``seeds``; the model kept is that of the
    seed with the best selection score at this level. ``keep_full`` also saves the full model of that seed, whose scores
    the ticket was made of.

    Raises SuperticketsError if a run failed (the others are kept), or anything cannot be read or written.
    """
    out = Path(out)
    _require_places(out, None if keep_full is None else Path(keep_full))
    hyper = default_hyper(encoder) if hyper is None else hyper
    fulls = [full_run(encoder, data, seed, hyper, selection_fraction=selection_fraction) for seed in seeds]
    specs = [spec for full in fulls for spec in ticket_sweep(full, levels, ("winning",))]
    store, models = RunStore(out / "runs"), out / ".models"
    summary = run_all(
        specs,
        store,
        workers,
        retry_failed=True,
        models=models,
        description=f"{data.name}: {len(specs)} runs",
        progress=progress,
    )
    summary.raise_if_failed()
    frame = store.frame(specs)
    level = choose_level(frame)
    candidates = frame.loc[(frame["kind"] == "winning") & (frame["level"] == level)]
    order = candidates.sort_values(["selection_score", "selection_loss"], ascending=[False, True])
    by_id = {spec.id: spec for spec in specs}  # which know where the data lie; records do not
    chosen, full = (
        replace(store[run_id], spec=by_id[run_id]) for run_id in order[["run", "parent"]].iloc[0].astype(str)
    )
    task = data.load()
    pairs = [(store[run], store[parent]) for run, parent in zip(candidates["run"], candidates["parent"], strict=True)]
    ticket = replace(chosen.ticket(), scores=full.scores(chosen.spec.ticket.estimator))
    ticket.save(out / "ticket.json")
    _keep_model(chosen, full, models, out / "model")
    if keep_full is not None:
        _keep_model(full, None, models, Path(keep_full))
    shutil.rmtree(models, ignore_errors=True)
    predictions_frame(task, chosen).to_csv(out / "predictions.csv", index=False)
    frame.to_csv(out / "curve.csv", index=False)
    gain = report_gain(task, pairs)
    return Found(task, frame, level, chosen, full, gain, ticket, summary, int(chosen.arrays["selection"].sum()), out)


def report_gain(task: Task, pairs: Sequence[tuple[Record, Record]], n_resamples: int = 500) -> PairedDifference:
    """Mean gain of the first record of each pair over the second on the report split (pairs: one per seed)."""
    report = np.flatnonzero(~pairs[0][0].arrays["selection"])

    def gains(drawn: np.ndarray) -> list[float]:
        rows = report[drawn]
        cut = None if task.dev.groups is None else task.dev.groups[rows]
        values = [
            [score(task.metrics, task.dev.labels[rows], each.arrays["dev_logits"][rows], cut)["score"] for each in pair]
            for pair in pairs
        ]
        return [new - old for new, old in values]

    return two_level_bootstrap(gains, len(report), n_resamples)


def predictions_frame(task: Task, record: Record) -> pd.DataFrame:
    """One row per dev example: its split, texts, label, the model's answer, and the probability of every class."""
    logits, labels = record.arrays["dev_logits"], record.arrays["dev_labels"]
    columns: dict[str, Any] = {"split": np.where(record.arrays["selection"], "selection", "report")}
    for index in range(len(task.dev.texts[0])):
        columns[f"text_{index + 1}"] = [texts[index] for texts in task.dev.texts]
    if task.kind == "regression":
        return pd.DataFrame({**columns, "label": labels, "prediction": logits[:, 0]})
    names = np.array(task.label_names)
    probabilities = torch.from_numpy(logits).softmax(-1).numpy()
    columns |= {"label": names[labels], "prediction": names[logits.argmax(1)]}
    columns |= {f"probability_{name}": probabilities[:, index] for index, name in enumerate(task.label_names)}
    return pd.DataFrame(columns)


def _require_places(out: Path, keep_full: Path | None) -> None:
    """Refuses, before any work, places that cannot be written or hold what is not ours: a model replaces all there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SuperticketsError(f"The results cannot be written to {out} ({error}); name another folder.") from error
    if keep_full is not None:
        target, own = keep_full.resolve(), out.resolve()
        if own.is_relative_to(target) or target in (own / name for name in ("model", "runs", ".models")):
            raise SuperticketsError(
                f"The full model cannot take the place {keep_full}: the results go there; name another."
            )
    for target in (out / "model", keep_full):
        if target is None or not target.exists() or (target / "ticket.json").is_file():
            continue
        if not target.is_dir() or any(target.iterdir()):
            raise SuperticketsError(
                f"{target} is there already and holds no model of ours; move it or name another folder."
            )


def _keep_model(record: Record, parent: Record | None, models: Path, target: Path) -> None:
    """Moves a run's saved model to its final place; repeats the run if an interrupted call left no model."""
    if _holds(target, record):
        return
    source = models / record.id
    if not _holds(source, record):
        scores = None if parent is None else parent.scores(record.spec.ticket.estimator)
        _repeat(record, scores, source)
    try:
        if target.exists():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)
    except OSError as error:
        raise SuperticketsError(f"The model cannot be written to {target} ({error}); free some space.") from error


def _holds(folder: Path, record: Record) -> bool:
    """True if the folder holds this run's model, whole."""
    try:
        load_compacted(folder)
        return Ticket.load(folder / "ticket.json").provenance.get("run") == record.id
    except SuperticketsError:
        return False


def _repeat(record: Record, scores: Any, folder: Path) -> None:
    with run_conditions():  # as in the sweep; another number of threads adds up in another order
        again = fine_tune(record.spec, scores, folder)
    if not np.array_equal(again.arrays["dev_logits"], record.arrays["dev_logits"]):
        shutil.rmtree(folder, ignore_errors=True)
        raise SuperticketsError(
            f"Repeating run {record.id} to save its model gave other predictions than the record in the store: the "
            f"libraries or the machine changed ({record.environment.get('device', '?')}); start in a new folder."
        )
