"""Where each model family keeps its heads and FFNs.

A :class:`Family` names, within one Transformer layer, the modules that gates and compaction touch. Supporting another
family means writing one more of these.
"""

from dataclasses import dataclass, replace

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from supertickets.errors import SuperticketsError
from supertickets.tickets import EncoderShape

_TWO_LAYERS = ("classifier.dense", "classifier.out_proj")


@dataclass(frozen=True)
class Family:
    """Dotted module names inside one layer, and the module names of the task head (re-initialised by the seed).

    ``pooler`` is what a head reads the encoder by: its weights are the checkpoint's, and drawn where it has none.

    ``attention`` maps hidden states to the context (all heads side by side), ``attention_out`` projects the context
    back (in some families inside ``attention``). A head reads the hidden states by rows of ``query``, ``key`` and
    ``value``, which may be one layer with the three below one another, and of ``more_reads``, where a configuration
    has them. ``ffn_in`` is whatever comes before ``ffn_out``, the linear layer whose output is added to
    the residual, or all of the FFN if ``ffn_out`` lies within it; ``ffn_in_linear`` is the linear layer therein.

    With ``position_bias`` the parent of the layers makes a bias for the attention scores, one for all layers with a
    column per head (``compute_position_bias``), hands it to each as third argument, and expects a tuple in return.
    ``attention_sum`` has the ``dropout`` and ``LayerNorm`` that follow the attention in layers of BERT's kind; without
    it :mod:`supertickets.training.fast` leaves the family's layers as they are.
    """

    layers: str
    attention: str
    query: str
    key: str
    value: str
    attention_out: str
    ffn_in: str
    ffn_in_linear: str
    ffn_out: str
    task_head: tuple[str, ...]
    task_dropout: str
    pooler: tuple[str, ...] = ()
    attention_sum: str = ""
    more_reads: tuple[str, ...] = ()
    position_bias: bool = False


def _bert_like(layers: str, task_head: tuple[str, ...], task_dropout: str) -> Family:
    return Family(
        layers=layers,
        attention="attention.self",
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        attention_out="attention.output.dense",
        ffn_in="intermediate",
        ffn_in_linear="intermediate.dense",
        ffn_out="output.dense",
        task_head=task_head,
        task_dropout=task_dropout,
        attention_sum="attention.output",
    )


_ROBERTA = _bert_like("roberta.encoder.layer", _TWO_LAYERS, "classifier.dropout")

FAMILIES: dict[str, Family] = {
    "bert": replace(_bert_like("bert.encoder.layer", ("classifier",), "dropout"), pooler=("bert.pooler.dense",)),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "electra": replace(_ROBERTA, layers="electra.encoder.layer"),
    "mpnet": replace(
        _ROBERTA,
        layers="mpnet.encoder.layer",
        attention="attention.attn",
        query="attention.attn.q",
        key="attention.attn.k",
        value="attention.attn.v",
        attention_out="attention.attn.o",
        attention_sum="attention",
        position_bias=True,
    ),
    "distilbert": Family(
        layers="distilbert.transformer.layer",
        attention="attention",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        attention_out="attention.out_lin",
        ffn_in="ffn.lin1",
        ffn_in_linear="ffn.lin1",
        ffn_out="ffn.lin2",
        task_head=("pre_classifier", "classifier"),
        task_dropout="dropout",
    ),
    "deberta-v2": replace(
        _bert_like("deberta.encoder.layer", ("pooler.dense", "classifier"), "dropout"),
        query="attention.self.query_proj",
        key="attention.self.key_proj",
        value="attention.self.value_proj",
        more_reads=("attention.self.pos_key_proj", "attention.self.pos_query_proj"),
        attention_sum="",  # scores by content and by position
    ),
    "modernbert": Family(
        layers="model.layers",
        attention="attn",
        query="attn.Wqkv",
        key="attn.Wqkv",
        value="attn.Wqkv",
        attention_out="attn.Wo",
        ffn_in="mlp",
        ffn_in_linear="mlp.Wi",
        ffn_out="mlp.Wo",
        task_head=("classifier",),
        task_dropout="drop",
        pooler=("head.dense",),
    ),
}
"""Supported families by the ``model_type`` of their config: MiniLM and the lab encoders are ``bert``, DeBERTa-v3 is
``deberta-v2``."""

REFUSED = {
    "albert": "its layers are one layer many times over, so that no unit can be removed from one of them",
    "deberta": "query, key and value of its first version lie in one matrix head by head; take DeBERTa-v3",
}
"""Why a family that people ask for is not among them."""


@dataclass(frozen=True)
class LayerParts:
    """The modules of one Transformer layer that tickets are about."""

    layer: nn.Module
    reads: tuple[nn.Linear, ...]
    attention_out: nn.Linear
    ffn_in_linear: nn.Linear
    ffn_out: nn.Linear


def family_of(model: PreTrainedModel) -> Family:
    """The model's family; an unsupported one is refused by name with the list of supported ones."""
    return known_family(model.config.model_type, type(model).__name__)


def layers_of(model: PreTrainedModel) -> list[nn.Module]:
    """The Transformer layers of a model, first layer first; it may be compacted."""
    return list(model.get_submodule(family_of(model).layers).children())


def layer_parts(model: PreTrainedModel) -> list[LayerParts]:
    """The parts of every layer, first layer first. The model must not be compacted."""
    family = family_of(model)
    return [
        LayerParts(
            layer=layer,
            reads=tuple(linear_in(layer, name) for name in reads_in(layer, family)),
            attention_out=linear_in(layer, family.attention_out),
            ffn_in_linear=linear_in(layer, family.ffn_in_linear),
            ffn_out=linear_in(layer, family.ffn_out),
        )
        for layer in layers_of(model)
    ]


def reads_in(layer: nn.Module, family: Family) -> list[str]:
    """The names of the linear layers by which this layer's heads read, those of its configuration included."""
    attention = layer.get_submodule(family.attention)
    more = (name for name in family.more_reads if hasattr(attention, name.rpartition(".")[2]))
    return list(dict.fromkeys((family.query, family.key, family.value, *more)))


def shape_of(model: PreTrainedModel) -> EncoderShape:
    """Units and parameter counts of an uncompacted model's encoder (the task head is not counted)."""
    parts, n_heads = layer_parts(model), model.config.num_attention_heads
    first = parts[0]
    head = sum(p.numel() for linear in first.reads for p in linear.parameters()) + first.attention_out.weight.numel()
    ffn = sum(p.numel() for linear in (first.ffn_in_linear, first.ffn_out) for p in linear.parameters())
    encoder = model.base_model
    total = sum(p.numel() for p in encoder.parameters())
    embeddings = sum(p.numel() for p in encoder.get_submodule("embeddings").parameters())
    return EncoderShape(
        n_layers=len(parts),
        n_heads=n_heads,
        head_parameters=head // n_heads,
        ffn_parameters=ffn,
        embedding_parameters=embeddings,
        other_parameters=total - embeddings - len(parts) * (head + ffn),
    )


def usable_positions(config: PretrainedConfig) -> int:
    """How many tokens an example may have: as many as there are positions, which RoBERTa counts from its padding on."""
    counted_from_padding = config.model_type in ("roberta", "xlm-roberta", "mpnet")
    return config.max_position_embeddings - ((config.pad_token_id or 0) + 1 if counted_from_padding else 0)


def known_family(model_type: str, what: str) -> Family:
    """The family of a ``model_type``; an unsupported one is refused by name, ``what`` it is said of."""
    if model_type not in FAMILIES:
        why = f" ({REFUSED[model_type]})" if model_type in REFUSED else ""
        raise SuperticketsError(
            f"{what} is a {model_type} model, which is not supported{why}; supported families: {', '.join(FAMILIES)}."
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
