"""Pre-trains a lab encoder: ``python -m supertickets.lab.pretrain --size base --out DIR``.

A plain BERT is trained on the lab's text with masked-word prediction and a sentence-pair objective, both from
scratch, as BERT was (Devlin et al. 2019, section 3.1); the pair objective is not BERT's next-sentence prediction
but the relation between the two sentences (same, implied, clash, open; :mod:`supertickets.lab.pairs`), predicted
from the pooled [CLS]. So the encoder has seen what following and contradicting look like, on freshly generated text.
It has seen no task's labels and none of their noise. Of the texts some turn up again by chance, since the language is
small: in that of `lab-base` stand two to three in a hundred dev examples of most tasks (dev sets of 800; none of
`question_answer`, a third of the short reviews of `sentiment`), of course without their labels. Without a pair
objective an encoder this small stays at chance on the pair tasks with 300 examples.

The run is a function of (size, steps, seed): no dropout, text and masks from the chunk number. Killed and started
again with the same arguments it goes on from its last checkpoint and ends with the same weights (up to 1e-5).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from tqdm import tqdm
from transformers import BertConfig, BertModel

from supertickets.errors import SuperticketsError
from supertickets.lab.corpus import (
    MATCHES,
    MAX_LENGTH,
    Chunk,
    draw_chunk,
    mask_tokens,
    matches,
    save_tokenizer,
    vocabulary,
)
from supertickets.lab.pairs import RELATIONS

LOG_LINES = 200


@dataclass(frozen=True)
class PretrainSpec:
    """Everything that determines a pre-training run.

    ``masked_share`` of the items serve the word objective alone; the others, unmasked, serve the two pair
    objectives: a masked word can be the very word that decides the relation.
    """

    layers: int = 6
    heads: int = 8
    width: int = 64
    ffn: int = 128
    steps: int = 16_000
    chunk: int = 100  # steps per piece of text, per line of the log
    masked_share: float = 0.4
    batch: int = 64
    learning_rate: float = 1.5e-3
    warmup: float = 0.05
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 0
    shipped_dropout: float = 0.0


SIZES = {
    "base": PretrainSpec(),
    "large": PretrainSpec(layers=10, heads=8, width=96, ffn=192, steps=11_000, learning_rate=1e-3),
    "mini": PretrainSpec(
        layers=2, heads=2, width=16, ffn=32, steps=60, chunk=20, batch=16, learning_rate=1e-2
    ),  # for the tests
}


class PretrainModel(nn.Module):
    """A BERT encoder with its two training heads: words (decoder tied to the embeddings) and pair relation."""

    def __init__(self, spec: PretrainSpec) -> None:
        super().__init__()
        torch.manual_seed(spec.seed)
        config = BertConfig(
            vocab_size=len(vocabulary()),
            hidden_size=spec.width,
            num_hidden_layers=spec.layers,
            num_attention_heads=spec.heads,
            intermediate_size=spec.ffn,
            max_position_embeddings=MAX_LENGTH,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            pad_token_id=0,
        )
        self.bert = BertModel(config)
        self.bert.set_attn_implementation("eager")  # at this width faster on a CPU core than the fused kernel
        self.transform = nn.Sequential(nn.Linear(spec.width, spec.width), nn.GELU(), nn.LayerNorm(spec.width))
        self.word_bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.pair = nn.Linear(spec.width, len(RELATIONS))
        self.match = nn.Linear(spec.width, len(MATCHES))

    def losses(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean cross-entropy (nats) of the masked words, of the pair relations and of the words' matches."""
        out = self.bert(
            batch["ids"],
            attention_mask=batch["attention"],
            token_type_ids=batch["segments"],
            output_hidden_states=True,
        )
        hidden = self.transform(out.last_hidden_state[batch["chosen"]])
        scores = functional.linear(hidden, self.bert.embeddings.word_embeddings.weight, self.word_bias)
        middle = out.hidden_states[len(self.bert.encoder.layer) // 2]
        asked = batch["matches"] >= 0
        return (
            _mean_loss(scores, batch["targets"]),
            _mean_loss(self.pair(out.pooler_output), batch["relations"]),
            _mean_loss(self.match(middle[asked]), batch["matches"][asked]),
        )


def _mean_loss(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over the targets that are not -1; 0 when there is none (a batch without pairs, say)."""
    summed = functional.cross_entropy(scores, targets, ignore_index=-1, reduction="sum")
    return summed / (targets >= 0).sum().clamp(min=1)


def learning_rate(spec: PretrainSpec, step: int) -> float:
    """Linear warm-up over the first ``warmup`` share of the steps, then linear decay to zero.

    >>> learning_rate(PretrainSpec(steps=100, warmup=0.1, learning_rate=1.0), 4)
    0.5
    """
    rise = max(1, round(spec.warmup * spec.steps))
    if step < rise:
        return spec.learning_rate * (step + 1) / rise
    return spec.learning_rate * (spec.steps - step) / (spec.steps - rise + 1)


def _batches(spec: PretrainSpec, chunk: Chunk, index: int) -> list[dict[str, torch.Tensor]]:
    """The chunk's batches: alike in length (little padding), in random order, masked."""
    rng = np.random.default_rng((spec.seed, 7919, index))
    order = np.argsort(chunk.lengths + rng.random(len(chunk.lengths)) * 2.0, kind="stable")
    batches = []
    for rows in np.array_split(order, len(order) // spec.batch):
        longest = int(chunk.lengths[rows].max())
        ids = chunk.ids[rows, :longest]
        inputs, chosen = mask_tokens(rng, ids)
        relations = chunk.relations[rows]
        masked = (relations < 0) | (rng.random(len(rows)) < spec.masked_share)
        inputs, chosen = np.where(masked[:, None], inputs, ids), chosen & masked[:, None]
        relations = np.where(masked, -1, relations)
        segments = chunk.segments[rows, :longest]
        arrays = {
            "ids": inputs,
            "segments": segments,
            "attention": (ids != 0).astype(np.int64),
            "chosen": chosen,
            "targets": ids[chosen],
            "relations": relations,
            "matches": np.where(masked[:, None], -1, matches(ids, segments)),
        }
        batches.append({name: torch.from_numpy(array) for name, array in arrays.items()})
    return [batches[i] for i in rng.permutation(len(batches))]


# --- checkpoints ------------------------------------------------------------------------------------------------


def _save_checkpoint(folder: Path, spec: PretrainSpec, model: nn.Module, optimizer: torch.optim.Optimizer, done: dict):
    tensors = {f"model.{name}": value.contiguous() for name, value in model.state_dict().items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": torch.as_tensor(value) for name, value in state.items()}
    save_file(tensors, folder / "checkpoint.safetensors.new", metadata={"state": json.dumps(done)})
    os.replace(folder / "checkpoint.safetensors.new", folder / "checkpoint.safetensors")
    (folder / "checkpoint.json").write_text(json.dumps({"spec": asdict(spec)}, indent=1))


def _load_checkpoint(folder: Path, spec: PretrainSpec, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """Restores model and optimizer; returns what was done so far (nothing without a checkpoint)."""
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return {"step": 0, "seconds": 0.0}
    made_by = json.loads((folder / "checkpoint.json").read_text())["spec"]
    if made_by != asdict(spec):
        raise SuperticketsError(f"{path} belongs to another pre-training ({made_by}): give another --out or delete it.")
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        done = json.loads((file.metadata() or {})["state"])
    tensors = load_file(path)
    model.load_state_dict({n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")})
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, i, key = name.split(".", 2)
            state.setdefault(int(i), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return done


def save_encoder(folder: Path, spec: PretrainSpec, model: PretrainModel) -> None:
    """Writes what ships: config, weights of the encoder with its pooler, tokenizer."""
    model.bert.config.hidden_dropout_prob = spec.shipped_dropout
    model.bert.config.attention_probs_dropout_prob = spec.shipped_dropout
    model.bert.config.architectures = ["BertModel"]
    model.bert.save_pretrained(folder)
    save_tokenizer(folder)


def thin_log(lines: list[str], at_most: int = LOG_LINES) -> list[str]:
    """At most ``at_most`` of the lines, evenly spaced, first and last kept.

    >>> thin_log(list("abcdefg"), 3)
    ['a', 'd', 'g']
    """
    if len(lines) <= at_most:
        return lines
    return [lines[round(i * (len(lines) - 1) / (at_most - 1))] for i in range(at_most)]


# --- the run ----------------------------------------------------------------------------------------------------


def _polite() -> None:
    os.nice(5)


def _texts(spec: PretrainSpec, first: int, end: int, helper: bool) -> Iterator[tuple[int, Chunk]]:
    """The chunks ``first`` to ``end`` - 1; with ``helper`` a second process writes the next one meanwhile."""
    size = spec.chunk * spec.batch
    if not helper:
        yield from ((index, draw_chunk(spec.seed, index, size)) for index in range(first, end))
        return
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_polite) as writer:
        ahead = writer.submit(draw_chunk, spec.seed, first, size)
        for index in range(first, end):
            ready = ahead.result()
            if index + 1 < end:
                ahead = writer.submit(draw_chunk, spec.seed, index + 1, size)
            yield index, ready


def _train_on(
    spec: PretrainSpec, model: PretrainModel, optimizer: torch.optim.Optimizer, text: Chunk, index: int
) -> dict[str, float]:
    """One pass over a chunk; returns its mean losses by name."""
    sums = torch.zeros(3)
    batches = _batches(spec, text, index)
    for i, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(spec, index * spec.chunk + i)
        losses = torch.stack(model.losses(batch))
        optimizer.zero_grad()
        losses.sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), spec.clip, foreach=True)
        optimizer.step()
        sums += losses.detach()
    return dict(zip(("mlm", "pair", "match"), (sums / len(batches)).tolist(), strict=True))


def pretrain(
    spec: PretrainSpec, out: Path, stop_after: int | None = None, helper: bool = True, quiet: bool = False
) -> dict[str, float]:
    """Trains (or goes on training) into ``out``; returns the last logged losses.

    ``stop_after`` ends the call after that many chunks, as a kill would (used by the tests). With ``helper`` a second
    process writes the next text while this one trains. Raises SuperticketsError when ``out`` holds the checkpoint of
    another run.
    """
    if spec.steps < 1 or spec.steps % spec.chunk:
        raise SuperticketsError(f"steps must be a positive multiple of {spec.chunk}, not {spec.steps}.")
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    model = PretrainModel(spec)
    groups: list[dict] = [{"params": [], "weight_decay": decay} for decay in (spec.weight_decay, 0.0)]
    for parameter in model.parameters():
        groups[int(parameter.ndim < 2)]["params"].append(parameter)
    optimizer = torch.optim.AdamW(groups, lr=spec.learning_rate, betas=(0.9, 0.98), eps=1e-6, foreach=True)
    done = _load_checkpoint(out, spec, model, optimizer)
    log = out / "pretrain_log.jsonl"
    kept = log.read_text().splitlines() if log.exists() else []
    kept = [line for line in kept if json.loads(line)["step"] <= done["step"]]
    log.write_text("".join(line + "\n" for line in kept))
    last = json.loads(kept[-1]) if kept else {}
    first, end = done["step"] // spec.chunk, spec.steps // spec.chunk
    began = time.perf_counter() - done["seconds"]
    bar = tqdm(total=spec.steps, initial=done["step"], unit="step", disable=quiet)
    model.train()
    for index, text in _texts(spec, first, end if stop_after is None else min(end, first + stop_after), helper):
        mean, step = _train_on(spec, model, optimizer, text, index), (index + 1) * spec.chunk
        seconds = time.perf_counter() - began
        last = {"step": step} | {name: round(mean[name], 4) for name in mean}
        last |= {"lr": round(learning_rate(spec, step - 1), 7), "seconds": round(seconds, 1)}
        with log.open("a") as file:
            file.write(json.dumps(last) + "\n")
        bar.update(spec.chunk)
        bar.set_postfix({name: f"{value:.3f}" for name, value in mean.items()})
        if (index + 1) % 10 == 0 or index + 1 == end or index + 1 - first == stop_after:
            _save_checkpoint(out, spec, model, optimizer, {"step": step, "seconds": seconds})
    bar.close()
    if last.get("step") == spec.steps:
        save_encoder(out, spec, model)
        log.write_text("".join(line + "\n" for line in thin_log(log.read_text().splitlines())))
    return last


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Pre-train a lab encoder.")
    parser.add_argument("--size", choices=sorted(SIZES), default="base")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    spec = replace(SIZES[options.size], seed=options.seed)
    if options.steps is not None:
        spec = replace(spec, steps=options.steps)
    print(json.dumps(pretrain(spec, options.out)))


if __name__ == "__main__":
    main()
