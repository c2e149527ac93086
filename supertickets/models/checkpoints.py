"""Pre-trained checkpoints as they come: read whole or refused, never with random parts (audit D28)."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from supertickets.errors import SuperticketsError
from supertickets.models.encoder_files import encoder_folder
from supertickets.models.families import Family, known_family
from supertickets.models.published import first_line


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
