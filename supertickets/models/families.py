"""Where each model family keeps its heads and FFNs.

A :class:`Family` names, within one Transformer layer, the modules that gates and compaction touch. Supporting another
family means writing one more of these.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn
from transformers import PreTrainedModel

from supertickets.errors import SuperticketsError
from supertickets.tickets import EncoderShape

_TWO_LAYERS = ("classifier.dense", "classifier.out_proj")


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
    return known_family(model.config.model_type, type(model).__name__)


def layer_parts(model: PreTrainedModel) -> list[LayerParts]:
    """The parts of every layer, first layer first. The model must not be compacted."""
    family = family_of(model)
    layers = model.get_submodule(family.layers)
    return [
        LayerParts(
            layer=layer,
            attention=layer.get_submodule(family.attention),
            query=linear_in(layer, family.query),
            key=linear_in(layer, family.key),
            value=linear_in(layer, family.value),
            attention_out=linear_in(layer, family.attention_out),
            ffn_in_linear=linear_in(layer, family.ffn_in_linear),
            ffn_out=linear_in(layer, family.ffn_out),
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


def known_family(model_type: str, what: str) -> Family:
    """The family of a ``model_type``; an unsupported one is refused by name, ``what`` it is said of."""
    if model_type not in FAMILIES:
        raise SuperticketsError(
            f"{what} is a {model_type} model, which is not supported; supported families: {', '.join(FAMILIES)}."
        )
    return FAMILIES[model_type]


def linear_in(module: nn.Module, name: str) -> nn.Linear:
    """The linear layer of that dotted name; raises SuperticketsError if there is none."""
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


def layers_of(model: PreTrainedModel) -> list[nn.Module]:
    """The Transformer layers of a model, first layer first; it may be compacted."""
    return list(model.get_submodule(family_of(model).layers).children())
