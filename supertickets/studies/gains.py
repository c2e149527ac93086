"""What a model answers, and what it is worth: its gain over another, its scores, its size and speed on this machine."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest
from transformers import PreTrainedModel

from supertickets.models import load_compacted, load_tokenizer
from supertickets.runs import Record
from supertickets.statistics import Interval, two_level_bootstrap
from supertickets.tasks import Examples, Task, best_constant, metric_names, read_table, score
from supertickets.training import EncodedSplit, encode, predict


def report_gain(task: Task, pairs: Sequence[tuple[Record, Record]], n_resamples: int = 500, tried: int = 1) -> Interval:
    """Mean gain of the first record of each pair over the second on the report split (pairs: one per seed).

    p is corrected for the levels ``tried``, of which this one did best on the selection rows (Bonferroni): runs that
    were lucky there are so on the report rows too. Of a classification it is at least that of an exact test on the
    examples whose answers differ (McNemar's for accuracy), so that a handful of them decides nothing.
    """
    found = _difference(task, [(new.arrays, old.arrays) for new, old in pairs], n_resamples)
    if np.isnan(found.p):
        return found
    found = replace(found, p=min(1.0, tried * found.p))
    if task.kind == "regression":
        return found
    report = ~pairs[0][0].arrays["selection"]
    answers = [[side.arrays["dev_logits"][report].argmax(axis=1) for side in pair] for pair in pairs]
    new, old = np.swapaxes(np.array(answers), 0, 1)  # (seeds, examples) each
    if task.metrics == ("accuracy",):
        right = task.dev.labels[report]
        more = ((new == right).astype(int) - (old == right)).sum(axis=0)
        exact = binomtest(int((more > 0).sum()), int((more != 0).sum())).pvalue if more.any() else 1.0
    else:
        exact = min(1.0, 2.0 ** (1 - int((new != old).any(axis=0).sum())))
    return replace(found, p=max(found.p, float(exact)))


def learnt(task: Task, models: Sequence[Mapping[str, np.ndarray]]) -> Interval:
    """What models (their arrays) score above the best constant answer on the report split: the mean, over examples."""
    constant = {"dev_logits": best_constant(task)[0]}
    return _difference(task, [(model, constant) for model in models], over_seeds=False)


def measured(task: Task, model: Mapping[str, np.ndarray], n_resamples: int = 500) -> list[tuple[str, str]]:
    """Rows for the README of a model (its arrays): its data, and each metric on the report rows.

    Metrics have 95% intervals over examples (quantiles of the bootstrap), which say nothing of other seeds.
    """
    report, rng = np.flatnonzero(~model["selection"]), np.random.default_rng(0)
    n = len(report)
    found = _scores(task, model, report)
    draws = pd.DataFrame([_scores(task, model, report[rng.integers(0, n, n)]) for _ in range(n_resamples)])
    low, high = draws.quantile(0.025), draws.quantile(0.975)
    counts = f"{len(task.train)} to train on, {len(task.dev) - n} to choose by, {n} to report on"
    rows = [("data", f"{task.source}, fingerprint {task.fingerprint[:16]}"), ("examples", counts)]
    for metric, name in zip(task.metrics, metric_names(task), strict=True):
        rows.append((f"{name}, report rows", f"{found[metric]:.3f} [{low[metric]:.3f}, {high[metric]:.3f}]"))
    constant, answer = best_constant(task)
    always = _scores(task, {"dev_logits": constant}, report)["score"]
    return [*rows, (f"score of always answering {answer}", f"{always:.3f} (the model's: {found['score']:.3f})")]


def _scores(task: Task, model: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, float]:
    groups = None if task.dev.groups is None else task.dev.groups[rows]
    return score(task.metrics, task.dev.labels[rows], model["dev_logits"][rows], groups)


def _difference(
    task: Task,
    pairs: Sequence[tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]],
    n_resamples: int = 500,
    over_seeds: bool = True,
) -> Interval:
    report = np.flatnonzero(~pairs[0][0]["selection"])

    def gains(drawn: np.ndarray) -> list[float]:
        values = [[_scores(task, arrays, report[drawn])["score"] for arrays in pair] for pair in pairs]
        each = [new - old for new, old in values]
        return each if over_seeds else [float(np.mean(each))]

    return two_level_bootstrap(gains, len(report), n_resamples)


def footprint(models: Mapping[str, PreTrainedModel], split: EncodedSplit) -> pd.DataFrame:
    """MB of weights, and milliseconds (median) for 32 examples in one batch, on this machine's CPU, in turn."""
    inputs = split.batch(np.arange(min(32, len(split)))).inputs
    seconds: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for turn in range(6):
            for name, model in models.items():
                start = time.perf_counter()
                model.eval()(**inputs)
                seconds[name] += [time.perf_counter() - start] * (turn > 0)  # the first warms up
    bytes_of = {name: sum(p.numel() * p.element_size() for p in model.parameters()) for name, model in models.items()}
    rows = [(name, bytes_of[name] / 1e6, 1000 * float(np.median(seconds[name]))) for name in models]
    return pd.DataFrame(rows, columns=["model", "MB", "ms for 32 examples"])


def predictions_frame(task: Task, record: Record) -> pd.DataFrame:
    """One row per dev example: its split, texts, label, the model's answer, and the probability of every class."""
    labels = record.arrays["dev_labels"]
    columns: dict[str, Any] = {"split": np.where(record.arrays["selection"], "selection", "report")}
    for index in range(len(task.dev.texts[0])):
        columns[f"text_{index + 1}"] = [texts[index] for texts in task.dev.texts]
    columns["label"] = np.array(task.label_names)[labels] if task.label_names else labels
    return pd.DataFrame({**columns, **_answers(record.arrays["dev_logits"], task.label_names)})


def predict_texts(model: str | Path, texts: Sequence[str | tuple[str, ...]]) -> pd.DataFrame:
    """The answers of a model that ``find`` or ``share`` saved, one row per text or pair of texts.

    Columns: ``prediction`` (a class, or a score), and of classes ``probability_...`` of each. Raises SuperticketsError
    for a folder that holds no such model.
    """
    loaded, tokenizer = load_compacted(model), load_tokenizer(str(model))
    rows = tuple((text,) if isinstance(text, str) else tuple(text) for text in texts)
    logits = predict(loaded, encode(Examples(rows, np.zeros(len(rows), dtype=int)), tokenizer))
    regression = loaded.config.problem_type == "regression"
    names = () if regression else tuple(name for _, name in sorted((loaded.config.id2label or {}).items()))
    return pd.DataFrame(_answers(logits, names))


def predict_file(model: str | Path, data: str | Path, text: Sequence[str], out: str | Path) -> int:
    """Writes the answers to a file's texts (its columns ``text``, else those of a usual name) as CSV; how many."""
    table = read_table(Path(data).expanduser())
    names = text or table.text_columns()
    texts = table.texts(names)
    of_texts = pd.DataFrame(texts, columns=pd.Index(names))
    pd.concat([of_texts, predict_texts(model, texts)], axis=1).to_csv(out, index=False)
    return len(texts)


def _answers(logits: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
    if not names:
        return {"prediction": logits[:, 0]}
    probabilities = torch.from_numpy(logits).softmax(-1).numpy()
    of_each = {f"probability_{name}": probabilities[:, index] for index, name in enumerate(names)}
    return {"prediction": np.array(names)[logits.argmax(1)], **of_each}
