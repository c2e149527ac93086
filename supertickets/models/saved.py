"""Compacted models on disk: a folder of config.json, safetensors and the ticket."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from supertickets.errors import SuperticketsError
from supertickets.models.compaction import NoFfn, compact
from supertickets.models.families import family_of, layers_of
from supertickets.tickets import Ticket


def save_compacted(
    model: PreTrainedModel,
    ticket: Ticket,
    path: str | Path,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Path:
    """Writes the compacted model as a folder: config.json, model.safetensors, ticket.json, and the tokenizer if given.

    ``model`` may be full-size (it is compacted first) or already compacted with this ticket.
    :func:`load_compacted` reads the folder back. Raises SuperticketsError if model and ticket do not fit, or the
    folder cannot be written.
    """
    folder = Path(path)
    if _is_full_size(model) and not (ticket.heads.all() and ticket.ffns.all()):
        model = compact(model, ticket)
    _check_widths(model, ticket)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        model.config.save_pretrained(folder)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        ticket.save(folder / "ticket.json")
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
    except (OSError, SafetensorError) as error:
        raise SuperticketsError(
            f"The compacted model cannot be written to {folder} ({error}); free some space."
        ) from error
    return folder


def load_compacted(path: str | Path) -> PreTrainedModel:
    """The compacted, fine-tuned model that :func:`save_compacted` wrote, in eval mode, on the CPU.

    Raises SuperticketsError if the folder is not one, or its weights are truncated or do not fit its ticket.
    """
    folder = Path(path)
    for file in ("config.json", "model.safetensors", "ticket.json"):
        if not (folder / file).is_file():
            raise SuperticketsError(f"{folder} is not a compacted model: it has no {file}.")
    ticket = Ticket.load(folder / "ticket.json")
    try:
        config = AutoConfig.from_pretrained(folder)
        with torch.random.fork_rng(devices=[]):  # building draws random weights, which are then overwritten
            model = compact(AutoModelForSequenceClassification.from_config(config), ticket)
        model.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    except (OSError, ValueError, RuntimeError, SafetensorError, json.JSONDecodeError) as error:
        first_line = str(error).splitlines()[0]
        raise SuperticketsError(
            f"The model in {folder} is damaged or foreign ({first_line}); save it again."
        ) from error
    return model.eval()


def _widths(model: PreTrainedModel) -> tuple[list[int], list[bool]]:
    """Context width of every layer, and whether it still has its FFN; works for compacted models too."""
    family = family_of(model)
    layers = layers_of(model)
    contexts = [layer.get_submodule(family.attention_out).get_parameter("weight").shape[1] for layer in layers]
    return contexts, [not isinstance(layer.get_submodule(family.ffn_out), NoFfn) for layer in layers]


def _is_full_size(model: PreTrainedModel) -> bool:
    contexts, ffns = _widths(model)
    return all(width == model.config.hidden_size for width in contexts) and all(ffns)


def _check_widths(model: PreTrainedModel, ticket: Ticket) -> None:
    contexts, ffns = _widths(model)
    head_size = model.config.hidden_size // model.config.num_attention_heads
    wanted = [int(row.sum()) * head_size for row in ticket.heads]
    if contexts != wanted or ffns != ticket.ffns.tolist():
        raise SuperticketsError(
            "The model was compacted with another ticket than the one given; pass the ticket it was compacted with."
        )
