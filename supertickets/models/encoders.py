"""Encoders with a task head, loaded by name; what a head and a loss are."""

from __future__ import annotations

import copy
from functools import lru_cache

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from supertickets.errors import SuperticketsError
from supertickets.models.encoder_files import encoder_folder
from supertickets.models.families import family_of, known_family, linear_in
from supertickets.models.published import first_line
from supertickets.tasks import Task


@lru_cache(maxsize=8)
def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The encoder's own tokenizer."""
    return AutoTokenizer.from_pretrained(encoder_folder(name))


def load_encoder(name: str, num_labels: int, seed: int, dropout: float | None = None) -> PreTrainedModel:
    """The pre-trained encoder with a fresh task head for ``num_labels`` outputs, initialised from ``seed``.

    ``dropout`` is the task head's dropout (A.1.2), None = as the encoder's config says. The head is
    the family's own sequence-classification head: for BERT one linear layer on the pre-trained pooler. The global
    random state is neither read nor changed.

    Raises SuperticketsError for an unknown or unsupported encoder, or weights that lack part of the encoder.
    """
    model = copy.deepcopy(_pristine(name, num_labels))
    new_task_head(model, num_labels, seed)
    if dropout is not None:
        set_task_dropout(model, dropout)
    return model


def new_task_head(model: PreTrainedModel, num_labels: int, seed: int) -> None:
    """Gives the model, compacted or not, a fresh task head for ``num_labels`` outputs, initialised from ``seed``."""
    heads = [linear_in(model, name) for name in family_of(model).task_head]
    if (last := heads[-1]).out_features != num_labels:
        last.out_features = model.config.num_labels = num_labels
        last.weight = nn.Parameter(last.weight.detach().new_empty(num_labels, last.in_features))
        last.bias = nn.Parameter(last.bias.detach().new_empty(num_labels))
        model.num_labels = num_labels  # pyright: ignore[reportArgumentType]
    generator = torch.Generator().manual_seed(seed)
    for linear in heads:
        with torch.no_grad():
            linear.weight.normal_(0.0, model.config.initializer_range, generator=generator)
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


@lru_cache(maxsize=2)
def _pristine(name: str, num_labels: int) -> PreTrainedModel:
    folder = encoder_folder(name)
    model_type = AutoConfig.from_pretrained(folder).model_type
    family = known_family(model_type, name)
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # the "newly initialised" notice is checked below instead
    progress = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):  # the head is drawn at random here, and anew by load_encoder
            model, info = AutoModelForSequenceClassification.from_pretrained(
                folder, num_labels=num_labels, output_loading_info=True, use_safetensors=True, dtype=torch.float32
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise SuperticketsError(f"The encoder {name} in {folder} cannot be loaded: {first_line(error)}") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
        if progress:
            transformers_logging.enable_progress_bar()
    # A wrong checkpoint must not silently become a random encoder (audit D28).
    heads = tuple(f"{name}." for name in family.task_head)
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(heads) and "position_ids" not in key)
    if missing:
        raise SuperticketsError(
            f"The weights in {folder} lack {len(missing)} tensors of the encoder {name} (first: {missing[0]}); "
            "use a complete checkpoint."
        )
    return model


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
