"""Tiny random models and batches that several test modules share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    MPNetConfig,
    MPNetForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from supertickets.cli import main
from supertickets.runs import Hyper, RunSpec
from supertickets.studies import full_run
from supertickets.tasks import data_ref
from supertickets.tickets import Ticket, full_ticket, random_ticket

FAMILIES = ("bert", "roberta", "electra", "mpnet")
"""Those whose layers can be computed by hand."""
OTHERS = ("xlm-roberta", "distilbert", "deberta-v2", "deberta-v3", "modernbert")
# MPNet has its own attention only.
BACKENDS = [(family, kind) for family in FAMILIES for kind in ("sdpa", "eager") if (family, kind) != ("mpnet", "sdpa")]

SMALL = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "num_labels": 3,
    # Larger than BERT's 0.02 so that every unit matters to the logits.
    "initializer_range": 0.3,
}


def tiny_model(family: str = "bert", attention: str | None = None, num_labels: int = 3) -> PreTrainedModel:
    """A random 3-layer x 4-head model in float64, eval mode, with biases that are not zero."""
    deberta = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False}
    buckets = {"position_buckets": 4, "norm_rel_ebd": "layer_norm", "share_att_key": True, "type_vocab_size": 0}
    # Windows of three tokens, and the second layer sees all.
    windows = {"local_attention": 2, "global_attn_every_n_layers": 2, "pad_token_id": 1, "classifier_bias": True}
    made: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        "bert": (BertConfig, BertForSequenceClassification, {}),
        "roberta": (RobertaConfig, RobertaForSequenceClassification, {"pad_token_id": 1}),
        "xlm-roberta": (XLMRobertaConfig, XLMRobertaForSequenceClassification, {"pad_token_id": 1}),
        "electra": (ElectraConfig, ElectraForSequenceClassification, {"embedding_size": 16}),
        "mpnet": (MPNetConfig, MPNetForSequenceClassification, {}),
        "distilbert": (DistilBertConfig, DistilBertForSequenceClassification, {"hidden_dim": 32}),
        "deberta-v2": (DebertaV2Config, DebertaV2ForSequenceClassification, deberta | {"conv_kernel_size": 3}),
        "deberta-v3": (DebertaV2Config, DebertaV2ForSequenceClassification, deberta | buckets),
        "modernbert": (ModernBertConfig, ModernBertForSequenceClassification, windows),
    }
    config_class, model_class, extra = made[family]
    config = config_class(**{**SMALL, **extra, "num_labels": num_labels}, attn_implementation=attention)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model_class(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("bias"):
                    parameter.normal_(0.0, 0.3)
    return model.double().eval()


@dataclass(frozen=True)
class TinyBatch:
    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor


def tiny_batch(n_examples: int = 5, length: int = 9, seed: int = 0, num_labels: int = 3) -> TinyBatch:
    """Random ids with padding of different lengths at the end."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, 50, (n_examples, length), generator=generator)
    lengths = torch.randint(3, length + 1, (n_examples,), generator=generator)
    lengths[0] = length
    mask = (torch.arange(length) < lengths[:, None]).long()
    labels = torch.randint(0, num_labels, (n_examples,), generator=generator)
    return TinyBatch({"input_ids": ids * mask + (1 - mask), "attention_mask": mask}, labels)


def emptied(layer: int, heads: bool, ffn: bool) -> Ticket:
    """A random ticket that moreover keeps nothing of one layer's attention and/or FFN."""
    ticket = random_ticket((3, 4), 0.3, seed=layer)
    head_mask, ffn_mask = ticket.heads.copy(), ticket.ffns.copy()
    if heads:
        head_mask[layer] = False
    if ffn:
        ffn_mask[layer] = False
    return Ticket(head_mask, ffn_mask)


def one_layer(index: int) -> Ticket:
    """All but two heads of one layer, which are not its first."""
    heads = full_ticket((3, 4)).heads.copy()
    heads[index, :2] = False
    return Ticket(heads, full_ticket((3, 4)).ffns)


TICKETS = [
    random_ticket((3, 4), 0.4, seed=1),
    random_ticket((3, 4), 0.75, seed=2),
    emptied(0, heads=True, ffn=False),
    emptied(1, heads=False, ffn=True),
    emptied(2, heads=True, ffn=True),
    Ticket(full_ticket((3, 4)).heads & False, full_ticket((3, 4)).ffns & False),
    one_layer(1),
]
NAMES = ["0.4", "0.75", "no heads", "no ffn", "empty layer", "nothing", "heads of one layer"]

WORDS = ["good", "fine", "nice", "bad", "poor", "dull", "film", "book", "meal", "the", "a", "was", "is", "very", "not"]


def save_tiny_encoder(folder: Path, heads: int = 4, layers: int = 3, neurons: int = 32) -> Path:
    """A random encoder as a folder that load_encoder reads: config, safetensors, tokenizer."""
    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    backend = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=40,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    config = BertConfig(
        **{
            **SMALL,
            "vocab_size": len(vocabulary),
            "num_attention_heads": heads,
            "num_hidden_layers": layers,
            "intermediate_size": neurons,
            "initializer_range": 0.1,
        }
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_toy_task(folder: Path, n_train: int = 48, n_dev: int = 60) -> Path:
    """CSV files of a learnable two-class task: is the adjective a kind one, unless negated?"""
    rng = np.random.default_rng(0)

    def write(path: Path, n: int) -> None:
        lines = ["text,verdict"]
        for _ in range(n):
            adjective, negated = int(rng.integers(6)), int(rng.integers(2))
            words = ["the", WORDS[6 + int(rng.integers(3))], "was", *(["not"] * negated), WORDS[adjective]]
            lines.append(f"{' '.join(words)},{'kind' if (adjective < 3) != bool(negated) else 'unkind'}")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "train.csv", n_train)
    write(folder / "dev.csv", n_dev)
    return folder


def toy_full_run(encoder: Path, data: Path, seed: int = 0, **hyper: float) -> RunSpec:
    """The spec of a quick full run on the toy task."""
    ref = data_ref(train=data / "train.csv", dev=data / "dev.csv", text=("text",), label="verdict")
    settings = {"learning_rate": 3e-3, "batch_size": 16, "epochs": 2, **hyper}
    return full_run(str(encoder), ref, seed, Hyper(**settings), selection_fraction=0.3)  # pyright: ignore[reportArgumentType]


def command_line(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit status, output and errors of the console script."""
    monkeypatch.setattr("sys.argv", ["supertickets", *arguments])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    out = capsys.readouterr()
    return code, out.out, out.err
