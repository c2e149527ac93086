"""Compacted models on disk: a folder of config.json, safetensors, the ticket and a README.

Nobody gets a model with random parts from it: ``config.json`` carries the ticket, also after ``save_pretrained`` or a
``Trainer`` has saved the model again, and the Auto classes, which know layers of one width only, fail on it.
"""

import copy
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from supertickets.errors import SuperticketsError
from supertickets.models.compaction import compact, cut, has_ffn, mark, within
from supertickets.models.encoder_files import first_line, licence_of
from supertickets.models.families import family_of, layers_of
from supertickets.tickets import Ticket, full_ticket

WEIGHTS, HEAD = "model.safetensors", "head.safetensors"
_REFUSAL = "none that transformers can read: the model is compacted, load it with supertickets.load_compacted"


def save_compacted(
    model: PreTrainedModel,
    ticket: Ticket,
    path: str | Path,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Path:
    """Writes the compacted model as a folder: config.json, model.safetensors, ticket.json, README.md, and the
    tokenizer if given.

    ``model`` may be full-size (it is compacted first) or already compacted with this ticket.
    :func:`load_compacted` reads the folder back; a model of which nothing was removed is an ordinary one, for the Auto
    classes too. Raises SuperticketsError if model and ticket do not fit, or the folder cannot be written.
    """
    contexts, ffns = _widths(model)
    if all(width == model.config.hidden_size for width in contexts) and all(ffns) and not _is_full(ticket):
        model = compact(model, ticket)
        contexts, ffns = _widths(model)
    head_size = model.config.hidden_size // model.config.num_attention_heads
    if contexts != [int(row.sum()) * head_size for row in ticket.heads] or ffns != ticket.ffns.tolist():
        raise SuperticketsError(
            "The model was compacted with another ticket than the one given; pass the ticket it was compacted with."
        )
    return write_model(model, ticket, path, model.state_dict(), tokenizer)


def write_model(
    model: PreTrainedModel,
    ticket: Ticket,
    path: str | Path,
    state: Mapping[str, Tensor],
    tokenizer: PreTrainedTokenizerBase | None = None,
    encoder: str = "",
) -> Path:
    """Writes a model's ``state`` and what belongs to it; ``encoder`` is the folder beside it that has the rest."""
    folder, config, file = Path(path), copy.deepcopy(model.config), HEAD if encoder else WEIGHTS
    config.architectures, config.dtype = [type(model).__name__], model.dtype
    try:
        folder.mkdir(parents=True, exist_ok=True)
        config.save_pretrained(folder)
        if encoder or not _is_full(ticket):
            mark(config, ticket)
            more = {"supertickets": {**getattr(config, "supertickets", {}), "shared_encoder": encoder}}
            stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            # A name of weights that is none: whatever class reads this file says so and stops.
            text = json.dumps({**stored, **more, "transformers_weights": _REFUSAL}, indent=2)
            (folder / "config.json").write_text(text + "\n", encoding="utf-8")
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        shutil.copymode(folder / "config.json", folder / file)  # safetensors lets nobody else read it
        ticket.save(folder / "ticket.json")
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        write_readme(folder)
    except (OSError, SafetensorError) as error:
        raise SuperticketsError(
            f"The compacted model cannot be written to {folder} ({error}); free some space."
        ) from error
    return folder


def load_compacted(path: str | Path) -> PreTrainedModel:
    """The compacted, fine-tuned model that :func:`save_compacted` wrote, in eval mode, on the CPU, in its own dtype.

    It may have been saved again by ``save_pretrained`` or a ``Trainer``, or be one of several models that share an
    encoder (:func:`supertickets.sharing.save_shared`). Raises SuperticketsError if the folder is not one, or its
    weights are truncated or do not fit its ticket.
    """
    folder = Path(path)
    if not (folder / "config.json").is_file():
        raise SuperticketsError(f"{folder} is not a compacted model: it has no config.json.")
    try:
        config = AutoConfig.from_pretrained(folder)
        noted: dict[str, Any] = getattr(config, "supertickets", {})
        if hasattr(config, "transformers_weights"):
            delattr(config, "transformers_weights")
        ticket = _ticket_of(folder, noted)
        file = HEAD if noted.get("shared_encoder") else WEIGHTS
        if not (folder / file).is_file():
            raise SuperticketsError(f"{folder} is not a compacted model: it has no {file}.")
        tensors, union = load_file(folder / file), ticket
        with torch.random.fork_rng(devices=[]):  # building draws random weights, which are then overwritten
            whole = AutoModelForSequenceClassification.from_config(config)
        if file is HEAD:
            shared = folder.resolve().parent / Path(noted["shared_encoder"]).name
            union = _ticket_of(shared, {})
            prefix = whole.base_model_prefix
            tensors |= {f"{prefix}.{name}": tensor for name, tensor in load_file(shared / WEIGHTS).items()}
        model = compact(whole, union)
        # Models saved before have no empty tensors in the places of what was removed.
        tensors = {name: tensor for name, tensor in model.state_dict().items() if not tensor.numel()} | tensors
        # In the dtype of the file, but not a part of it: it may be written over.
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        model.load_state_dict(tensors, strict=True, assign=True)
        if union != ticket:
            cut(model, *within(ticket, union))
        mark(model.config, ticket)
        model.config.dtype = model.dtype
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise SuperticketsError(
            f"The model in {folder} is damaged or foreign ({first_line(error)}); save it again."
        ) from error
    return model.eval()


def write_readme(folder: Path, facts: Iterable[tuple[str, str]] = ()) -> None:
    """Writes the README of a saved model, a model card: what it is, its sizes, how to load it, and further ``facts``.

    ``facts`` are rows of a table: what, and its value, such as a metric with its interval.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    ticket = Ticket.load(folder / "ticket.json")
    base, shared = ticket.encoder, config.get("supertickets", {}).get("shared_encoder", "")
    task, licence = str(ticket.provenance.get("task", "model")), licence_of(base) if base else None
    n_bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    labels = ", ".join(str(name) for _, name in sorted(config.get("id2label", {}).items()))
    rows = [
        ("encoder it was made from", f"{base} (revision {ticket.revision})" if base else "not known"),
        ("licence of that encoder", licence or "not known; look it up before passing this model on"),
        ("task", task),
        ("answers", "a number" if config.get("problem_type") == "regression" else labels),
        ("attention heads kept", f"{ticket.kept_heads} of {ticket.heads.size}"),
        ("feed-forward blocks kept", f"{ticket.kept_ffns} of {ticket.ffns.size}"),
        ("weights in this folder", f"{n_bytes / 1e6:.1f} MB, {config.get('dtype')}"),
        *facts,
    ]
    if ordinary := _is_full(ticket) and not shared:
        how = "Nothing was removed: load it like any model of its architecture, with the Auto classes of transformers."
    else:
        how = (
            '    from supertickets import load_compacted\n\n    model = load_compacted("THIS FOLDER")\n\n'
            "Its layers differ in width, which the Auto classes cannot express: they refuse it. With the model\n"
            "object, `pipeline`, `Trainer`, `save_pretrained` and export work as usual."
        )
    if shared:
        how += f"\n\nThe weights of its encoder are in `../{shared}`, stored once for all tasks: keep them together."
    kind = "A fine-tuned model" if ordinary else "A super ticket: a fine-tuned model without some of its units"
    table = "\n".join(f"| {what} | {value} |" for what, value in rows)
    head = "pipeline_tag: text-classification\ntags: [supertickets, pruned]"  # a model card's
    text = f"---\n{head}\n---\n\n# {task}\n\n{kind}.\n\n| | |\n|---|---|\n{table}\n\n{how}\n"
    (folder / "README.md").write_text(text, encoding="utf-8")


def _ticket_of(folder: Path, noted: Mapping[str, Any]) -> Ticket:
    """The ticket beside a model, which must be the one noted in its config, or the latter."""
    beside = Ticket.load(folder / "ticket.json") if (folder / "ticket.json").is_file() else None
    inside = Ticket.from_json(noted, str(folder / "config.json")) if "format" in noted else None
    if beside is None and inside is None:
        raise SuperticketsError(f"{folder} is not a compacted model: it has no ticket.json.")
    if beside is not None and inside is not None and beside != inside:
        raise ValueError("ticket.json is not the ticket noted in config.json")
    return beside or inside or full_ticket((1, 1))


def _is_full(ticket: Ticket) -> bool:
    return bool(ticket.heads.all() and ticket.ffns.all())


def _widths(model: PreTrainedModel) -> tuple[list[int], list[bool]]:
    """Context width of every layer, and whether it still has its FFN; works for compacted models too."""
    family, layers = family_of(model), layers_of(model)
    contexts = [layer.get_submodule(family.attention_out).get_parameter("weight").shape[1] for layer in layers]
    return contexts, [has_ffn(layer, family) for layer in layers]
