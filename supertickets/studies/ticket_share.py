"""Ticket-Share on tasks of one's own: what ``supertickets share`` does."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from supertickets.errors import SuperticketsError
from supertickets.models import encoder_revision, load_encoder, load_tokenizer, name_labels, shape_of, write_readme
from supertickets.runs import Hyper
from supertickets.sharing import ENCODER, save_shared, shared_model, task_data, train_together
from supertickets.studies.finding import make_folder, notes_before, require_free
from supertickets.studies.gains import learnt, measured
from supertickets.studies.profiles import TASK_DROPOUT, default_hyper, multi_task_hyper
from supertickets.tasks import DataRef, best_constant, data_ref
from supertickets.tickets import EncoderShape, SharedUnits, Ticket, check_tickets, load_authors_ticket, shared_units
from supertickets.training import scored_splits

AUTHORS_FILES = ("heads_to_mask.json", "ffn_to_mask.json")
SUMMARY, CHECKPOINT = "shared.json", "checkpoint.safetensors"


@dataclass(frozen=True)
class Shared:
    """What :func:`share` found: scores per task, who uses which units, the encoder's shape, doubts, the folder."""

    scores: pd.DataFrame
    units: SharedUnits
    shape: EncoderShape
    notes: tuple[str, ...]
    out: Path

    def __str__(self) -> str:
        lines = list(self.notes) + [
            f"{row['task']}: report score {row['report_score']:.3f} (selection {row['selection_score']:.3f}), "
            f"ticket keeps {row['weights_remaining']:.1%} of the encoder"
            for row in self.scores.to_dict("records")
        ]
        union = self.units.union
        lines.append(
            f"The shared encoder stores {self.units.stored(self.shape):.1%} of the weights ({union.kept_heads} heads, "
            f"{union.kept_ffns} FFNs used by some task); the tickets keep "
            f"{self.units.average_compression(self.shape):.1%} on average."
        )
        return "\n".join(lines)


def share(
    refs: Mapping[str, DataRef],
    tickets: Mapping[str, str | Path],
    encoder: str,
    out: str | Path,
    seed: int = 0,
    hyper: Hyper | None = None,
    selection_fraction: float = 0.1,
    progress: bool = True,
) -> Shared:
    """Trains one encoder on all tasks, each with its own ticket (Algorithm 1), and writes the results to ``out``.

    ``tickets`` names a file for every task of ``refs``: a ticket as ``supertickets find`` writes it, or a folder with
    the authors' ``heads_to_mask.json`` and ``ffn_to_mask.json``. ``out`` receives ``scores.csv``, ``shared.json`` (the
    tickets, their union and exclusive parts, and what it was made from), the encoder, once, and for every task a folder
    with its head, from which :func:`supertickets.load_compacted` makes the task's model, compacted to its ticket. A
    killed call goes on from ``out/checkpoint.safetensors``.

    Raises SuperticketsError for tickets that do not fit, tasks without data, an ``out`` that holds anything but the
    result of the same call, or anything that cannot be written.
    """
    out, names = Path(out), sorted(refs)
    hyper = multi_task_hyper(default_hyper(encoder)) if hyper is None else hyper
    shape, revision = shape_of(load_encoder(encoder, 2, seed)), encoder_revision(encoder)
    loaded = {name: read_ticket(path, (shape.n_layers, shape.n_heads)) for name, path in tickets.items()}
    check_tickets(names, loaded, (shape.n_layers, shape.n_heads))
    notes = [
        f"The ticket of {name} was made from another encoder, {loaded[name].encoder}."
        for name in names
        if loaded[name].revision not in ("", revision)
    ]
    made_from = {"encoder": encoder, "revision": revision}
    loaded = {name: replace(loaded[name], **made_from, provenance={"task": name}) for name in names}
    units = shared_units(loaded)
    content = {
        "union": units.union.to_json(),
        "intersection": units.intersection.to_json(),
        "tickets": {name: ticket.to_json() for name, ticket in units.tickets.items()},
        "exclusive": {name: ticket.to_json() for name, ticket in units.exclusive.items()},
        "stored": units.stored(shape),
        "average_compression": units.average_compression(shape),
        "data": {name: refs[name].fingerprint for name in names},
        "settings": {**vars(hyper), **made_from, "seed": seed, "selection_fraction": selection_fraction},
    }
    _require_own(out, names, content)
    tokenizer = load_tokenizer(encoder)
    data = [task_data(refs[name].load(), tokenizer, hyper.max_length, selection_fraction) for name in names]
    for given in data:
        notes += [f"{given.name}: {note}" for note in notes_before(given.task, encoder, hyper, selection_fraction)]
    outputs = {given.name: given.task.num_labels for given in data}
    dropouts = {name: TASK_DROPOUT.get(name, hyper.task_dropout) for name in outputs}
    shared = shared_model(encoder, outputs, loaded, seed, dropouts)
    title, hidden = f"{len(data)} task{'s' * (len(data) > 1)}", None if progress else True  # None: in a pipe
    with tqdm(total=hyper.epochs, desc=title, unit="epoch", disable=hidden) as bar:

        def on_epoch(_values: dict[str, float]) -> None:
            bar.update()

        together = train_together(shared, data, hyper, seed, out / CHECKPOINT, on_epoch=on_epoch)
    for given in data:
        name_labels(shared.models[given.name], given.task)
    save_shared(shared, out, tokenizer)
    rows = []
    for given in data:
        name, ticket = given.name, loaded[given.name]
        scored = scored_splits(given.task, together.dev_logits[name], given.selection)
        row = {"task": name, "weights_remaining": ticket.weights_remaining(shape)}
        row |= {f"{split}_{metric}": value for split, values in scored.items() for metric, value in values.items()}
        rows.append(row)
        arrays = {"selection": given.selection, "dev_logits": together.dev_logits[name]}
        write_readme(out / name, measured(given.task, arrays))
        if not learnt(given.task, [arrays]).low > 0:
            notes.append(
                f"Task {name} is not learnt: its report score is not clearly above that of always answering "
                f"{best_constant(given.task)[1]}."
            )
    (out / SUMMARY).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    scores = pd.DataFrame(rows)
    scores.to_csv(out / "scores.csv", index=False)
    return Shared(scores, units, shape, tuple(notes), out)


def _require_own(out: Path, names: Sequence[str], content: Mapping[str, Any]) -> None:
    """Refuses, before any work, a place that cannot be written or holds anything but the result of the same call."""
    make_folder(out)
    require_free(*(out / name for name in (ENCODER, *names)))
    try:
        kept = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        kept = None if (out / "scores.csv").exists() else content
    except (OSError, ValueError):
        kept = None
    if kept != json.loads(json.dumps(content)):
        raise SuperticketsError(
            f"The folder {out} holds the result of another call (of other tasks, data, tickets or settings), or files "
            "of yours; name another folder."
        )


def named_tickets(
    pairs: Sequence[str], common: Mapping[str, Any], **columns: Sequence[str] | None
) -> tuple[dict[str, DataRef], dict[str, Path]]:
    """Tasks and ticket files from texts NAME=TICKET; the data of each as of :func:`supertickets.tasks.load_task`.

    Of its arguments, ``common`` are those of all tasks, and ``columns`` (``train``, ``text`` and so on) are texts:
    NAME=VALUE for one task, or VALUE for all that have none of their own.
    """
    refs: dict[str, DataRef] = {}
    tickets: dict[str, Path] = {}
    names = [pair.partition("=")[0] for pair in pairs]
    for pair, name in zip(pairs, names, strict=True):
        path = pair.partition("=")[2]
        if not (name and path) or Path(name).name != name:
            raise SuperticketsError(
                f"--tasks {pair!r} is not of the form NAME=TICKET, such as RTE=found-RTE/ticket.json."
            )
        given = {}
        for key, values in columns.items():
            split = [(each.partition("="), each) for each in values or ()]
            own = [value for (of, _, value), _ in split if of == name]
            every = own or [each for (of, equals, _), each in split if not (equals and of in names)]
            if len(every) > 1 and key not in ("text", "dev", "metrics"):
                raise SuperticketsError(f"Task {name} takes one --{key}, not {len(every)}: say whose, NAME=VALUE.")
            if every:
                given[key] = every if key in ("text", "dev", "metrics") else every[0]
        # its name is canonical: "rte" is RTE
        ref = data_ref(name, **common, **given)
        if ref.name in tickets:
            raise SuperticketsError(f"Task {ref.name} is named twice; tasks go by name, so give each its own.")
        refs[ref.name], tickets[ref.name] = ref, Path(path).expanduser()
    return refs, tickets


def read_ticket(path: str | Path, shape: tuple[int, int]) -> Ticket:
    """A ticket from its JSON file, or from a folder with the authors' two mask files (for an encoder of ``shape``)."""
    path = Path(path)
    if path.is_dir():
        lacking = [name for name in AUTHORS_FILES if not (path / name).exists()]
        if lacking:
            fix = f"give a ticket's JSON file, or a folder with the authors' {' and '.join(AUTHORS_FILES)}."
            raise SuperticketsError(f"The folder {path} has no {lacking[0]}: {fix}")
        return load_authors_ticket(path / AUTHORS_FILES[0], path / AUTHORS_FILES[1], shape)
    return Ticket.load(path)
