"""What a competent user would write today: Hugging Face's ``Trainer``, its default collator, gates as masks.

Same task, encoder, optimiser, schedule, epochs, early stopping and splits as ours, and the same tickets. Pruned heads
and FFNs are multiplied by zero (:func:`supertickets.models.masked`), so they cost what they always did; runs follow one
another.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from supertickets.models import importance_scores, load_encoder, load_tokenizer, masked, shape_of
from supertickets.runs import RunSpec
from supertickets.tasks import Examples, score, split_dev
from supertickets.tickets import Scores
from supertickets.training import cached_encode, eval_batches, warmup_then_decay


@dataclass(frozen=True)
class Baseline:
    """One run of the baseline: seconds, epochs trained, score on the report split, importance scores (full model)."""

    seconds: float
    epochs: int
    score: float
    scores: Scores | None


def train(spec: RunSpec, scores: Scores | None = None) -> Baseline:
    """Carries out the run of ``spec`` with the Trainer; ``scores`` are its parent's, for winning and losing tickets."""
    started = time.perf_counter()
    task, tokenizer, hyper = spec.data.load(), load_tokenizer(spec.encoder), spec.hyper
    selection = split_dev(task, spec.selection_fraction, spec.split_seed)
    train_set = _tokenised(task.train, tokenizer, hyper.max_length)
    dev_set = _tokenised(task.dev, tokenizer, hyper.max_length)
    model = load_encoder(spec.encoder, task.num_labels, spec.seed, hyper.task_dropout)
    shape = shape_of(model)
    ticket = spec.ticket.ticket((shape.n_layers, shape.n_heads), spec.seed, scores)
    if task.kind == "regression":
        model.config.problem_type = "regression"
    torch.backends.cuda.enable_cudnn_sdp(False)  # as ours: it would plan for every shape of batch
    torch.manual_seed(spec.seed)
    optimiser = torch.optim.Adamax(model.parameters(), lr=hyper.learning_rate, weight_decay=hyper.weight_decay)
    n_steps = -(-len(train_set) // hyper.batch_size) * hyper.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, warmup_then_decay(hyper, n_steps))

    def metrics(prediction: EvalPrediction) -> dict[str, float]:
        return score(task.metrics, np.asarray(prediction.label_ids), np.asarray(prediction.predictions))

    with tempfile.TemporaryDirectory() as folder, masked(model, ticket):
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=hyper.batch_size,
            per_device_eval_batch_size=64,
            num_train_epochs=hyper.epochs,
            max_grad_norm=hyper.clip,
            eval_strategy="epoch",
            save_strategy="epoch",
            save_total_limit=1,
            save_only_model=True,
            load_best_model_at_end=True,
            metric_for_best_model="score",
            bf16=hyper.precision == "bf16",
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
            seed=spec.seed,
            report_to="none",
            disable_tqdm=True,
            log_level="error",
            logging_strategy="no",
        )
        trainer = Trainer(
            model,
            arguments,
            data_collator=DataCollatorWithPadding(tokenizer),
            train_dataset=train_set,
            eval_dataset=dev_set.select(np.flatnonzero(selection)),
            compute_metrics=metrics,
            callbacks=[EarlyStoppingCallback(hyper.patience)],
            optimizers=(optimiser, schedule),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        outputs = np.asarray(trainer.predict(dev_set).predictions)  # pyright: ignore[reportArgumentType]
        epochs = round(trainer.state.epoch or 0)
    report = ~selection
    found = None
    if spec.ticket.kind == "full" and spec.estimators:  # ours: what is compared is the training
        encoded = cached_encode(task, "train", tokenizer, hyper.max_length)
        found = importance_scores(model, eval_batches(encoded), spec.estimators[0])
    reached = score(task.metrics, task.dev.labels[report], outputs[report])["score"]
    return Baseline(time.perf_counter() - started, epochs, reached, found)


def gpu_memory() -> float:
    """The most memory that this process had on a GPU so far, in MiB; 0 without one."""
    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0


def _tokenised(examples: Examples, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Dataset:
    first, second = [*map(list, zip(*examples.texts, strict=True)), None][:2]
    assert first is not None
    columns: dict[str, Any] = dict(tokenizer(first, second, truncation=True, max_length=max_length))
    return Dataset.from_dict({**columns, "label": examples.labels.tolist()})
