"""Encoders with a task head, loaded by name; what a head and a loss are.

Pre-trained checkpoints are read whole or refused, never with random parts (audit D28).
"""

import copy
import json
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from supertickets.errors import SuperticketsError
from supertickets.models.encoder_files import TOKENIZER_FILES, encoder_folder, first_line
from supertickets.models.families import Family, family_of, known_family, linear_in, usable_positions
from supertickets.tasks import Task


@lru_cache(maxsize=8)
def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The encoder's own tokenizer, with the encoder's limits: its positions, and no token types where it has none.

    Raises SuperticketsError if the encoder's folder has no tokenizer, or it knows tokens that the encoder does not.
    """
    folder = encoder_folder(name)
    if not any((folder / file).is_file() for file in TOKENIZER_FILES):
        raise SuperticketsError(
            f"The encoder {name} in {folder} has no tokenizer: not one of {', '.join(TOKENIZER_FILES)}; save the "
            "tokenizer it was trained with there."
        )
    config = read_config(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if len(tokenizer) > config.vocab_size:
        raise SuperticketsError(
            f"The tokenizer in {folder} knows {len(tokenizer)} tokens and the encoder {name} {config.vocab_size}; "
            "resize the encoder's embeddings and train them, or remove the tokens that were added."
        )
    tokenizer.model_max_length = min(tokenizer.model_max_length, usable_positions(config))
    if getattr(config, "type_vocab_size", 0) < 2:
        tokenizer.model_input_names = [it for it in tokenizer.model_input_names if it != "token_type_ids"]
    return tokenizer


def load_encoder(name: str, num_labels: int, seed: int, dropout: float | None = None) -> PreTrainedModel:
    """The pre-trained encoder with a fresh task head for ``num_labels`` outputs, initialised from ``seed``.

    ``dropout`` is the task head's dropout (A.1.2), None = as the encoder's config says. The head is
    the family's own sequence-classification head: for BERT one linear layer on the pre-trained pooler, which is drawn
    too (with a warning) where the checkpoint has none. Whatever head the checkpoint has is left out. The global random
    state is neither read nor changed.

    Raises SuperticketsError for an unknown or unsupported encoder, weights that lack part of the encoder or have parts
    that its model has no place for, or a compacted model.
    """
    kept, without = pristine(name, num_labels)
    model = copy.deepcopy(kept)
    new_task_head(model, num_labels, seed, without)
    if dropout is not None:
        set_task_dropout(model, dropout)
    return model


def new_task_head(model: PreTrainedModel, num_labels: int, seed: int, more: Iterable[str] = ()) -> None:
    """Gives the model, compacted or not, a fresh task head for ``num_labels`` outputs, initialised from ``seed``.

    ``more`` linear layers are drawn after those of the head.
    """
    heads = [linear_in(model, name) for name in family_of(model).task_head]
    if (last := heads[-1]).out_features != num_labels:
        last.out_features = model.config.num_labels = num_labels
        last.weight = nn.Parameter(last.weight.detach().new_empty(num_labels, last.in_features))
        last.bias = nn.Parameter(last.bias.detach().new_empty(num_labels))
        model.num_labels = num_labels  # pyright: ignore[reportArgumentType]
    generator = torch.Generator().manual_seed(seed)
    for linear in [*heads, *(linear_in(model, name) for name in more)]:
        with torch.no_grad():
            linear.weight.normal_(0.0, model.config.initializer_range, generator=generator)
            if linear.bias is not None:
                linear.bias.zero_()


def set_task_dropout(model: PreTrainedModel, dropout: float) -> None:
    """Sets the dropout before the task head (A.1.2)."""
    name = family_of(model).task_dropout
    if not isinstance(module := model.get_submodule(name), nn.Dropout):
        raise SuperticketsError(f"A {type(model).__name__} has no task-head dropout at {name}.")
    module.p = dropout


def example_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Loss per example ``(batch,)``: cross-entropy for class labels, squared error for float labels."""
    # At least float32, so that bf16 logits do not make a bf16 loss; float64 models keep float64.
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if labels.dtype.is_floating_point:
        return (logits.squeeze(-1) - labels.to(logits.dtype)) ** 2
    return F.cross_entropy(logits, labels, reduction="none")


def fit_head(model: PreTrainedModel, task: Task, seed: int, along: bool) -> str:
    """Gives the model a task head for the task unless the one it has fits, and says which."""
    names = [name for _, name in sorted((model.config.id2label or {}).items())]
    theirs = "a score" if model.config.problem_type == "regression" else ", ".join(names)
    ours = "a score" if task.kind == "regression" else ", ".join(task.label_names)
    if along and theirs == ours:
        return f"kept: the labels of the source are those of {task.name} ({ours})"
    new_task_head(model, task.num_labels, seed)
    name_labels(model, task)
    why = f"the source's labels are {theirs}" if along else "none of the source's tasks goes along"
    return f"new: {task.name} has the labels {ours}; {why}"


def name_labels(model: PreTrainedModel, task: Task) -> None:
    """Writes the task's label names and kind into the model's config, so that a reloaded model can name its answers."""
    if task.kind == "classification":
        model.config.id2label = dict(enumerate(task.label_names))
        model.config.label2id = {name: index for index, name in enumerate(task.label_names)}
        model.config.problem_type = "single_label_classification"
    else:
        model.config.problem_type = "regression"


def read_config(name: str) -> PretrainedConfig:
    """The configuration of an encoder that can have tickets; raises SuperticketsError for any other."""
    folder = encoder_folder(name)
    try:
        stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        known_family(str(stored.get("model_type")), name)
        return AutoConfig.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise SuperticketsError(f"{folder / 'config.json'} cannot be read ({first_line(error)}).") from error


@lru_cache(maxsize=2)
def pristine(name: str, num_labels: int) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """The encoder with a head that is yet to be drawn, and which layers of its pooler the checkpoint lacks."""
    folder, config = encoder_folder(name), read_config(name)
    family = known_family(config.model_type, name)
    if hasattr(config, "supertickets"):
        raise SuperticketsError(
            f"{name} is a compacted model, which cannot be an encoder: load it with supertickets.load_compacted, or "
            "name the encoder that it was made from."
        )
    # The model of today would be built without it, and without a word.
    kind = getattr(config, "position_embedding_type", "absolute")
    if kind != "absolute" or getattr(config, "is_decoder", False):
        what = f"positions of type {kind}" if kind != "absolute" else "a decoder's attention, which sees the past only"
        raise SuperticketsError(f"The encoder {name} in {folder} has {what}, which is not supported; take another.")
    try:
        # The head is drawn at random here, and anew by load_encoder; what is said of it is checked below.
        with _quietly(), torch.random.fork_rng(devices=[]):
            model, info = AutoModelForSequenceClassification.from_pretrained(
                folder,
                num_labels=num_labels,
                output_loading_info=True,
                use_safetensors=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise SuperticketsError(f"The encoder {name} in {folder} cannot be loaded: {first_line(error)}") from error
    for what, keys in _faults(family, info):
        raise SuperticketsError(
            f"The weights in {folder} {what.format(len(keys), name)} (first: {min(keys)}); use a complete checkpoint."
        )
    lacking = tuple(linear for linear in family.pooler if f"{linear}.weight" in info["missing_keys"])
    if lacking:
        warnings.warn(
            f"The checkpoint {name} has no pooler ({', '.join(lacking)}): it is drawn from the seed, like the "
            "task head.",
            stacklevel=3,
        )
    return model, lacking


def _faults(family: Family, info: dict) -> Iterator[tuple[str, list[str]]]:
    """What is wrong with the tensors of a checkpoint, and with which; nothing is wrong with its heads."""
    heads = tuple(f"{name}." for name in family.task_head)
    poolers = tuple(f"{name.rpartition('.')[0]}." for name in family.pooler)
    within = (f"{family.layers.partition('.')[2]}.", "embeddings.")

    def of(what: str) -> list[str]:
        keys = (key if isinstance(key, str) else key[0] for key in info[what])
        return [key for key in keys if "position_ids" not in key]

    missing = [key for key in of("missing_keys") if not key.startswith(heads + poolers)]
    if missing:
        yield "lack {} tensors of the encoder {}", missing
    other = [key for key in of("mismatched_keys") if not key.startswith(heads)]
    if other:
        yield "have {} tensors of other sizes than the encoder {} by its config.json", other
    unused = [key for key in of("unexpected_keys") if any(part in key for part in within)]
    if unused:
        yield "have {} tensors that the encoder {} by its config.json has no place for", unused


@contextmanager
def _quietly() -> Iterator[None]:
    """The library's notices and progress bars are off meanwhile."""
    verbosity, progress = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if progress:
            transformers_logging.enable_progress_bar()
