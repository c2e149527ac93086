"""Encoders by name, and where each family keeps its heads and FFNs.

An encoder is a folder of ``config.json`` + safetensors + tokenizer: one of ours (``lab-base``), a local folder, or a
snapshot of a Hub repository. Its ``revision`` is a hash of those files, so a run's id follows the weights and not the
name. A model family is described by a :class:`Family`: the dotted names, within one Transformer layer, of the modules
that gates and compaction touch. Supporting another family means writing one more of these.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

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

from supertickets import lab
from supertickets.errors import SuperticketsError
from supertickets.published import PUBLISHED, file_sha256, first_line, hub_snapshot, published_folder
from supertickets.tickets import EncoderShape


@dataclass(frozen=True)
class Family:
    """Dotted module names inside one layer, and the module names of the task head (re-initialised by the seed).

    ``attention`` maps hidden states to the context (all heads side by side), ``attention_out`` projects the context
    back (in MPNet inside ``attention``), ``attention_sum`` has the ``dropout`` and ``LayerNorm`` that follow;
    ``ffn_in`` is whatever comes before ``ffn_out``, the linear layer whose output is added to the residual.

    With ``position_bias`` the parent of the layers makes a bias for the attention scores, one for all layers with a
    column per head (``compute_position_bias``), hands it to each as third argument, and expects a tuple in return.
    """

    layers: str
    attention: str
    query: str
    key: str
    value: str
    attention_out: str
    attention_sum: str
    ffn_in: str
    ffn_in_linear: str
    ffn_out: str
    task_head: tuple[str, ...]
    task_dropout: str
    position_bias: bool = False


def _bert_like(layers: str, task_head: tuple[str, ...], task_dropout: str) -> Family:
    return Family(
        layers=layers,
        attention="attention.self",
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        attention_out="attention.output.dense",
        attention_sum="attention.output",
        ffn_in="intermediate",
        ffn_in_linear="intermediate.dense",
        ffn_out="output.dense",
        task_head=task_head,
        task_dropout=task_dropout,
    )


_TWO_LAYERS = ("classifier.dense", "classifier.out_proj")
FAMILIES: dict[str, Family] = {
    "bert": _bert_like("bert.encoder.layer", ("classifier",), "dropout"),
    "roberta": _bert_like("roberta.encoder.layer", _TWO_LAYERS, "classifier.dropout"),
    "electra": _bert_like("electra.encoder.layer", _TWO_LAYERS, "classifier.dropout"),
    "mpnet": replace(
        _bert_like("mpnet.encoder.layer", _TWO_LAYERS, "classifier.dropout"),
        attention="attention.attn",
        query="attention.attn.q",
        key="attention.attn.k",
        value="attention.attn.v",
        attention_out="attention.attn.o",
        attention_sum="attention",
        position_bias=True,
    ),
}
"""Supported families by the ``model_type`` of their config (MiniLM and the lab encoders are ``bert``)."""


@dataclass(frozen=True)
class LayerParts:
    """The modules of one Transformer layer that tickets are about."""

    layer: nn.Module
    attention: nn.Module
    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    attention_out: nn.Linear
    ffn_in_linear: nn.Linear
    ffn_out: nn.Linear


def family_of(model: PreTrainedModel) -> Family:
    """The model's family; an unsupported one is refused by name with the list of supported ones."""
    return _family(model.config.model_type, type(model).__name__)


def layer_parts(model: PreTrainedModel) -> list[LayerParts]:
    """The parts of every layer, first layer first. The model must not be compacted."""
    family = family_of(model)
    layers = model.get_submodule(family.layers)
    return [
        LayerParts(
            layer=layer,
            attention=layer.get_submodule(family.attention),
            query=_linear(layer, family.query),
            key=_linear(layer, family.key),
            value=_linear(layer, family.value),
            attention_out=_linear(layer, family.attention_out),
            ffn_in_linear=_linear(layer, family.ffn_in_linear),
            ffn_out=_linear(layer, family.ffn_out),
        )
        for layer in layers.children()
    ]


def shape_of(model: PreTrainedModel) -> EncoderShape:
    """Units and parameter counts of an uncompacted model's encoder (the task head is not counted)."""
    parts = layer_parts(model)
    config = model.config
    head_size = config.hidden_size // config.num_attention_heads
    first = parts[0]
    projections = (first.query, first.key, first.value)
    head = sum(head_size * (p.in_features + (p.bias is not None)) for p in projections)
    head += head_size * first.attention_out.out_features
    ffn = sum(p.numel() for linear in (first.ffn_in_linear, first.ffn_out) for p in linear.parameters())
    encoder = model.base_model
    total = sum(p.numel() for p in encoder.parameters())
    embeddings = sum(p.numel() for p in encoder.get_submodule("embeddings").parameters())
    units = len(parts) * (config.num_attention_heads * head + ffn)
    return EncoderShape(
        n_layers=len(parts),
        n_heads=config.num_attention_heads,
        head_parameters=head,
        ffn_parameters=ffn,
        embedding_parameters=embeddings,
        other_parameters=total - embeddings - units,
    )


@lru_cache(maxsize=32)
def encoder_folder(name: str) -> Path:
    """The local folder of an encoder: ``lab-base``, ``minilm``, ``mpnet``, a folder, or a Hub id (downloaded once).

    Raises SuperticketsError for an unknown name, a folder without weights, weights that are not safetensors, a failed
    checksum, or a Hub that cannot be reached.
    """
    if name.startswith("lab-"):
        return lab.encoder_path(name)
    if name in PUBLISHED:
        return published_folder(name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(folder, name)
    if name.count("/") > 1 or name.startswith((".", "~", "/")) or not name:
        raise SuperticketsError(f"There is no encoder folder {name!r}; give a folder with config.json and safetensors.")
    return _checked(hub_snapshot(name), name)


@lru_cache(maxsize=32)
def encoder_revision(name: str) -> str:
    """Hash of the encoder's weights, configuration and tokenizer: 16 hex digits that identify what is loaded."""
    folder = encoder_folder(name)
    digest = hashlib.sha256()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # Bookkeeping that differs between copies of the same encoder and changes nothing.
    for key in ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures"):
        config.pop(key, None)
    digest.update(json.dumps(config, sort_keys=True).encode())
    vocabulary = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt")
    for path in sorted(folder.glob("*.safetensors")) + [folder / file for file in vocabulary]:
        if path.is_file():
            digest.update(file_sha256(path).encode())
    return digest.hexdigest()[:16]


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
    heads = [_linear(model, name) for name in family_of(model).task_head]
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
    family = _family(model_type, name)
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


def _family(model_type: str, what: str) -> Family:
    if model_type not in FAMILIES:
        raise SuperticketsError(
            f"{what} is a {model_type} model, which is not supported; supported families: {', '.join(FAMILIES)}."
        )
    return FAMILIES[model_type]


def _linear(module: nn.Module, name: str) -> nn.Linear:
    try:
        found = module.get_submodule(name)
    except AttributeError:
        found = None
    if not isinstance(found, nn.Linear):
        raise SuperticketsError(
            f"There is no linear layer {name} in a {type(module).__name__}: the model is compacted already, or not of "
            "the family its config names; start from the full-size model."
        )
    return found


def _checked(folder: Path, name: str) -> Path:
    if not (folder / "config.json").is_file():
        raise SuperticketsError(f"The encoder folder {folder} has no config.json; give a folder saved by transformers.")
    if not any(folder.glob("*.safetensors")):
        raise SuperticketsError(
            f"The encoder {name} has no safetensors weights in {folder}, and pickled weights are never loaded; "
            "save it again with save_pretrained."
        )
    return folder
