"""The practical job: the super ticket of one task, from one's own data to a smaller model that is ready to use.

Fine-tune, score, prune at the levels, rewind, choose on the selection split, report on the rest (sections 3 and 5.2).
Other than in the paper the full model is a candidate: where no ticket is as good, it is what is kept.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from supertickets.engines import Summary, run_all
from supertickets.errors import SuperticketsError
from supertickets.models import load_compacted, load_encoder, load_tokenizer, write_readme
from supertickets.runs import Hyper, Record, RunStore, choices_of, device_name
from supertickets.statistics import Interval
from supertickets.studies.experiments import full_run, ticket_sweep
from supertickets.studies.gains import footprint, learnt, measured, predictions_frame, report_gain
from supertickets.studies.profiles import default_hyper
from supertickets.tasks import DataRef, Task, best_constant, data_notes, inferred, split_dev
from supertickets.tickets import LEVELS, Ticket
from supertickets.training import cached_encode, fine_tune, run_conditions

CHOOSE = ("best", "smallest-within")
RESULTS = ("ticket.json", "predictions.csv", "curve.csv", "report.html")


@dataclass(frozen=True, eq=False)
class Found:
    """What :func:`find` found.

    ``level`` is the one chosen, 0 if the full model is kept; ``chosen`` and ``full`` are the records of the model that
    is saved and of the full model of its seed, ``ticket`` is its ticket. ``gain`` is the report score of the best
    ticket (of level ``pruned``, the chosen one unless that is 0) minus the full model's, in score units, over seeds and
    examples; ``learnt`` that of the full model minus ``constant``'s, the best answer that is always the same.
    ``footprint`` has MB and milliseconds of the full and the saved model, ``notes`` what was noticed about the data.
    """

    task: Task
    frame: pd.DataFrame
    level: float
    pruned: float
    chosen: Record
    full: Record
    gain: Interval
    learnt: Interval
    constant: str
    ticket: Ticket
    summary: Summary
    footprint: pd.DataFrame
    notes: tuple[str, ...]
    out: Path

    @property
    def selection_size(self) -> int:
        """How many examples the level was chosen on."""
        return int(self.chosen.arrays["selection"].sum())


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
    choose: str = "best",
    margin: float = 0.01,
    say: Callable[[str], object] | None = None,
    choices: str | Sequence[str] = (),
) -> Found:
    """Finds the super ticket of a task and writes it to the folder ``out``.

    ``out`` receives ``ticket.json`` (with scores), ``model/`` (the compacted fine-tuned model, for
    :func:`supertickets.load_compacted`), ``predictions.csv``, ``curve.csv`` and ``runs/`` (the store; a killed call
    resumes from it). The level is chosen by the mean selection score over ``seeds``, the full model being one of the
    candidates (:func:`chosen_level` has ``choose`` and ``margin``); the model kept is that of the seed with the best
    selection score at this level. ``keep_full`` also saves the full model of that seed, whose scores the ticket was
    made of. ``say`` is told, before the first run, what was made of the data, and every doubt about them. ``choices``
    name where runs do as the published code (:data:`supertickets.runs.CHOICES`).

    Raises SuperticketsError if a run failed (the others are kept), for data or an encoder with which no run can be
    carried out, if ``out`` holds the result of other data, or anything cannot be read or written.
    """
    out, choices = Path(out), choices_of(choices)
    _require_places(out, None if keep_full is None else Path(keep_full), data)
    hyper = default_hyper(encoder) if hyper is None else hyper
    task, say = data.load(), say or (lambda _line: None)
    say(inferred(data, task))
    notes = notes_before(task, encoder, hyper, selection_fraction)
    for note in notes:
        say(f"Note: {note}")
    given = {"selection_fraction": selection_fraction, "choices": choices}
    fulls = [full_run(encoder, data, seed, hyper, **given) for seed in seeds]
    specs = [spec for full in fulls for spec in ticket_sweep(full, levels, ("winning",))]
    listed = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    say(f"Runs: {len(specs)} ({listed}), in {hyper.precision} on {device_name()}.")
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
    level = chosen_level(frame, choose, margin)
    pruned = level or chosen_level(frame.loc[frame["level"] > 0])
    order = frame.loc[frame["level"] == level].sort_values(
        ["selection_score", "selection_loss"], ascending=[False, True]
    )
    by_id = {spec.id: spec for spec in specs}  # which know where the data lie; records do not
    best, parent = order[["run", "parent"]].iloc[0].astype(str)
    chosen, full = (replace(store[run], spec=by_id[run]) for run in (best, parent or best))
    at_level = frame.loc[frame["level"] == pruned]
    pairs = [(store[run], store[parent]) for run, parent in zip(at_level["run"], at_level["parent"], strict=True)]
    ticket = replace(chosen.ticket(), scores=full.scores(fulls[0].estimators[0]))
    ticket.save(out / "ticket.json")
    _keep_model(chosen, None if level == 0 else full, models, out / "model")
    write_readme(out / "model", measured(task, chosen.arrays))
    if keep_full is not None:
        _keep_model(full, None, models, Path(keep_full))
        write_readme(Path(keep_full), measured(task, full.arrays))
    shutil.rmtree(models, ignore_errors=True)
    predictions_frame(task, chosen).to_csv(out / "predictions.csv", index=False)
    frame.to_csv(out / "curve.csv", index=False)
    dev = cached_encode(task, "dev", load_tokenizer(encoder), hyper.max_length)
    both = {"full model": load_encoder(encoder, task.num_labels, 0), "saved model": load_compacted(out / "model")}
    return Found(
        task=task,
        frame=frame,
        level=level,
        pruned=pruned,
        chosen=chosen,
        full=full,
        gain=report_gain(task, pairs, tried=len(levels)),
        learnt=learnt(task, [full.arrays for _, full in pairs]),
        constant=best_constant(task)[1],
        ticket=ticket,
        summary=summary,
        footprint=footprint(both, dev),
        notes=tuple(notes),
        out=out,
    )


def notes_before(task: Task, encoder: str, hyper: Hyper, selection_fraction: float) -> list[str]:
    """What is noticed before the first run: :func:`supertickets.tasks.data_notes`, texts cut, words unknown.

    Raises SuperticketsError where no run could be carried out, or none could mean anything.
    """
    notes = data_notes(task, split_dev(task, selection_fraction))
    tokenizer = load_tokenizer(encoder)
    load_encoder(encoder, task.num_labels, 0)  # what is wrong with it is said now
    limit = min(hyper.max_length, tokenizer.model_max_length)
    whose = "--max-length" if limit == hyper.max_length else "all that the encoder takes"
    for name in ("train", "dev"):
        split = cached_encode(task, name, tokenizer, hyper.max_length)
        if n := int((split.lengths >= limit).sum()):
            notes.append(f"{n} of {len(split)} {name} texts are cut at {limit} word pieces ({whose}).")
        pieces = len(split.ids) - 1 - len(split) * tokenizer.num_special_tokens_to_add(len(task.train.texts[0]) == 2)
        unknown = float((split.ids == tokenizer.unk_token_id).sum() / pieces) if pieces > 0 else 1.0
        if unknown > 0.9:
            raise SuperticketsError(
                f"The encoder {encoder} knows hardly a word of task {task.name!r} ({unknown:.0%} are unknown): its "
                "tokenizer files are missing, or it is of another language."
            )
        if unknown > 0.1:
            notes.append(f"{unknown:.0%} of the {name} word pieces are unknown to the encoder {encoder}.")
    return notes


def chosen_level(frame: pd.DataFrame, choose: str = "best", margin: float = 0.01) -> float:
    """The level of the runs in ``frame``, 0 the full model's, by the mean selection score over seeds.

    "best" is the highest score (ties: the lower selection loss, then the lighter level), "smallest-within" the heaviest
    level whose score is at most ``margin`` below that. Report scores play no part. Raises SuperticketsError for
    another word.
    """
    if choose not in CHOOSE:
        raise SuperticketsError(f"--choose {choose!r} is not known: say {' or '.join(CHOOSE)}.")
    means = pd.DataFrame(frame.groupby("level")[["selection_score", "selection_loss"]].mean()).reset_index()
    # Rounded, so that means that differ by floating-point noise alone count as tied.
    means["selection_score"] = np.round(means["selection_score"], 9)
    best = means.sort_values(["selection_score", "selection_loss", "level"], ascending=[False, True, True]).iloc[0]
    if choose == "best":
        return float(best["level"])
    return float(means.loc[means["selection_score"] >= best["selection_score"] - margin - 1e-9, "level"].max())


def _require_places(out: Path, keep_full: Path | None, data: DataRef) -> None:
    """Refuses, before any work, places that cannot be written or hold what is not ours: a model replaces all there."""
    make_folder(out)
    if keep_full is not None:
        target, own = keep_full.resolve(), out.resolve()
        if own.is_relative_to(target) or target in (own / name for name in ("model", "runs", ".models")):
            raise SuperticketsError(
                f"The full model cannot take the place {keep_full}: the results go there; name another."
            )
    require_free(out / "model", *([] if keep_full is None else [keep_full]))
    _require_own(out, data)


def make_folder(out: Path) -> None:
    """Makes a folder for results, or finds one; raises SuperticketsError if nothing can be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise SuperticketsError(f"The results cannot be written to {out} ({error}); name another folder.") from error


def require_free(*folders: Path) -> None:
    """Refuses places of models that hold something else, which saving a model would replace."""
    for target in folders:
        if not target.exists() or (target / "ticket.json").is_file():
            continue
        if not target.is_dir() or any(target.iterdir()):
            raise SuperticketsError(
                f"{target} is there already and holds no model of ours; move it or name another folder."
            )


def _require_own(out: Path, data: DataRef) -> None:
    """Refuses a folder that holds the result of other data, or files of somebody else's under the names of ours."""
    there = [name for name in RESULTS if (out / name).exists()]
    try:
        kept = RunStore(out / "runs")[str(Ticket.load(out / "ticket.json").provenance["run"])] if there else None
    except (SuperticketsError, KeyError):
        raise SuperticketsError(f"{out / there[0]} is there already and not ours; name another folder.") from None
    if kept is not None and kept.spec.data.fingerprint != data.fingerprint:
        raise SuperticketsError(
            f"The folder {out} holds the result of task {kept.spec.data.name} on other data; name another folder."
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
