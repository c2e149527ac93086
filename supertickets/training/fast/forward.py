"""The pass of a model through its encoder, without what surrounds the arithmetic.

Before the first and after the last layer a library that can do everything asks what it is to do: for a small model
these questions take as long as a layer.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from supertickets.models import Family, NoAttention, family_of
from supertickets.training.fast.layers import layer_forward


@contextmanager
def by_hand(model: PreTrainedModel, layers: bool = True) -> Iterator[None]:
    """The model's encoder is computed by hand while the context lasts, its last layer for the first token alone.

    ``layers``: and so is each layer; without, layers are the model's own, as is the number of tokens that the last is
    computed for (:func:`first_token_only`).

    That token is all that a classifier reads. Logits and gradients are the model's own (float64: to 1e-11); dropout
    draws other numbers. Backward passes add to ``parameter.grad`` themselves: ``torch.autograd.grad`` sees none of a
    layer's parameters. A layer stays as it is where that cannot be: in an encoder with another activation than BERT's
    GELU, while something is hooked to a module (a gate), or if gradients are wanted that do not reach its input.
    The model may be compacted, and its tickets may change from step to step (:func:`supertickets.sharing.using`).
    """
    family = family_of(model)
    each = list(model.get_submodule(family.layers).children()) if model.config.hidden_act == "gelu" else []
    encoder = cast(PreTrainedModel, model.base_model)
    with ExitStack() as stack:
        for layer in each if layers else ():
            stack.enter_context(instead(layer, layer_forward(layer, family, first=layer is each[-1])))
        if each:
            parent = model.get_submodule(family.layers.rpartition(".")[0])
            bias_of = parent.compute_position_bias if family.position_bias else None
            stack.enter_context(instead(encoder, _forward(encoder, each, bias_of, 16 if layers else 1)))
        yield


def _forward(encoder: PreTrainedModel, layers: list[nn.Module], bias_of: Any, whole: int) -> Callable[..., Any]:
    """The families' encoders: embeddings, layers, pooler. Asked for more than that, they answer themselves.

    ``bias_of`` makes the bias on attention scores ``(1, A, L, L)`` of hidden states, where a family has one. Short rows
    of scores are filled up to multiples of ``whole``.
    """
    plain = encoder.forward

    def forward(
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **more: Any,
    ) -> Any:
        more = {name: value for name, value in more.items() if value is not None and name != "return_dict"}
        if input_ids is None or more or (attention_mask is not None and attention_mask.dim() != 2):
            return plain(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, **more)
        states = encoder.get_submodule("embeddings")(input_ids=input_ids, token_type_ids=token_type_ids)
        if (project := getattr(encoder, "embeddings_project", None)) is not None:
            states = project(states)
        added = [_added(attention_mask, states, whole)]
        if states.is_cuda and torch.is_autocast_enabled("cuda"):
            added = [added[0].to(torch.get_autocast_dtype("cuda"))]  # once, not in each layer
        if bias_of is not None:
            with states.device:  # not on the host, where older releases of transformers make positions
                added.append(bias_of(states[:1]))
        for layer in layers:
            found = layer(states, *added)
            states = found[0] if bias_of is not None else found
        pooler = getattr(encoder, "pooler", None)
        pooled = None if pooler is None else pooler(states)
        return BaseModelOutputWithPooling(last_hidden_state=states, pooler_output=pooled)

    return forward


def _added(attention_mask: Tensor | None, states: Tensor, whole: int) -> Tensor:
    """What is added to the scores of tokens: nothing, or to padding so much that it gets no share, ``(B, 1, 1, n)``.

    Short rows are filled up to ``n`` columns, a multiple of ``whole``: on a CPU softmax is ten times slower on rows of
    15 than on rows of 16. All rows are on a GPU, whose kernel of attention reads 16 bytes at a time.
    """
    n_examples, n_tokens, _ = states.shape
    low = torch.finfo(states.dtype).min
    added = states.new_zeros(n_examples, n_tokens)
    if attention_mask is not None:
        added.masked_fill_(attention_mask == 0, low)
    more = -n_tokens % whole if n_tokens < 64 or states.is_cuda else 0
    return F.pad(added, (0, more), value=low)[:, None, None]


@contextmanager
def first_token_only(model: PreTrainedModel) -> Iterator[None]:
    """The last layer is computed for the first token alone while the context lasts: nothing else of it is ever read.

    Keys and values still come from all tokens. Logits and gradients are the same (float64: to 1e-11) for a sixth of the
    work less in six layers, with dropout drawn for fewer elements. The model may be compacted or gated.
    """
    family = family_of(model)
    layer = list(model.get_submodule(family.layers).children())[-1]
    dropout, norm = (layer.get_submodule(f"{family.attention_sum}.{name}") for name in ("dropout", "LayerNorm"))

    def forward(
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        *_: Any,
        **__: Any,
    ) -> Any:
        added = [it[:, :, :1] for it in (attention_mask, position_bias) if it is not None]
        context = _context(layer, family, hidden_states, sum(added[1:], added[0]) if added else None)
        attended = norm(dropout(layer.get_submodule(family.attention_out)(context)) + hidden_states[:, :1])
        # Looked up anew: a ticket may have put something else in the FFN's place.
        ffn_in, ffn_output = layer.get_submodule(family.ffn_in), layer.get_submodule(family.ffn_out.rpartition(".")[0])
        states = ffn_output(ffn_in(attended), attended)
        return (states,) if family.position_bias else states

    with instead(layer, forward):
        yield


@contextmanager
def instead(layer: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """``forward`` in the place of the layer's own, or of what is there already, while the context lasts."""
    before = layer.__dict__.get("forward")
    layer.forward = forward
    try:
        yield
    finally:
        del layer.forward
        if before is not None:
            layer.forward = before


def _context(layer: nn.Module, family: Family, hidden_states: Tensor, mask: Tensor | None) -> Tensor:
    """All heads side by side for the first token, ``(batch, 1, heads x size)``, from any backend's mask for it."""
    attention = layer.get_submodule(family.attention)
    first = hidden_states[:, :1]
    if isinstance(attention, NoAttention):
        return first[..., :0]
    size = int(attention.attention_head_size)  # pyright: ignore[reportArgumentType]

    def heads(path: str, states: Tensor) -> Tensor:
        return layer.get_submodule(path)(states).unflatten(-1, (-1, size)).transpose(1, 2)

    query, key, value = heads(family.query, first), heads(family.key, hidden_states), heads(family.value, hidden_states)
    dropout = cast(nn.Dropout, attention.get_submodule("dropout")).p if layer.training else 0.0
    return F.scaled_dot_product_attention(query, key, value, mask, dropout).transpose(1, 2).flatten(2)


@contextmanager
def fast_forward(model: PreTrainedModel) -> Iterator[None]:
    """The forward pass that is fastest on the model's device, while the context lasts; it computes the same.

    The last layer is computed for the first token alone (:func:`first_token_only`), and what surrounds the layers by
    hand (:func:`by_hand`): of the library's way one cannot tell what of it a CUDA graph can hold. So are the layers; on
    a CPU, where they are not, with the plain attention backend: with dropout the fused kernel falls back to a slow path
    there. Families whose layers are not BERT's (DistilBERT, DeBERTa, ModernBERT) have no such pass: theirs is the
    library's own.
    """
    if not family_of(model).attention_sum:
        with _without_plans(model.device):
            yield
        return
    encoder = cast(PreTrainedModel, model.base_model)  # shared models have a config of their own
    before = encoder.config._attn_implementation or "sdpa"
    if changes := model.device.type == "cpu" and before != "eager":  # not every model can be told
        encoder.set_attn_implementation("eager")
    try:
        with _without_plans(model.device), first_token_only(model), by_hand(model):
            yield
    finally:
        if changes:
            encoder.set_attn_implementation(before)


@contextmanager
def _without_plans(device: torch.device) -> Iterator[None]:
    """On a GPU attention without cuDNN, torch's first choice for bf16 on new cards.

    It makes a plan for every shape, in up to a second each (FunASR issue 3704), and each ticket has shapes of its own;
    some of its kernels round dropout's rate to sixteenths (pytorch issue 174245).
    """
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(before and device.type != "cuda")
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)
