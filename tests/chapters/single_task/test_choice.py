"""What the choice of the best level adds: by hand from a frame, and from predictions of which the truth is known."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from supertickets.chapters.single_task.examples import luck_of_the_choice, optimism
from supertickets.chapters.single_task.tables import table1
from supertickets.tasks import score

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def record(level: float, seed: int, labels: np.ndarray, logits: np.ndarray, metrics: tuple[str, ...], cut: int) -> Any:
    selection = np.arange(len(labels)) < cut
    splits = {"selection": selection, "report": ~selection}
    rule = SimpleNamespace(kind="winning" if level else "full", level=level)
    return SimpleNamespace(
        spec=SimpleNamespace(ticket=rule, seed=seed, data=SimpleNamespace(name="t")),
        arrays={"dev_labels": labels, "dev_logits": logits, "selection": selection},
        metrics={name: score(metrics, labels[own], logits[own]) for name, own in splits.items()},
        tasks={"t": SimpleNamespace(metrics=metrics)},
    )


def simulated(rng: np.random.Generator, right: dict[float, float], seeds: int = 5, n: int = 1000, cut: int = 100):
    """Two classes; a level's models are right with its probability, on examples that are hard or easy for all."""
    labels, ease = rng.integers(0, 2, n), rng.normal(size=n)
    records = []
    for seed in range(seeds):
        for level, share in right.items():
            hit = ease + rng.normal(size=n) < np.sqrt(2) * share
            logits = np.eye(2)[np.where(hit, labels, 1 - labels)]
            records.append(record(level, seed, labels, logits, ("accuracy",), cut))
    return records


@pytest.mark.parametrize("sims", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_luck_is_what_the_choice_adds_where_nothing_is_there(sims, record_property):
    """Equal levels and, beyond, collapsed ones: they are never chosen, and may not make the luck look greater."""
    rng, truth, told, centred = np.random.default_rng(0), [], [], []
    right = {level: 0.8 if level < 0.45 else -0.2 for level in LEVELS}
    for _ in range(sims):
        records = simulated(rng, right)
        x, y = (
            np.array([r.metrics[split]["score"] for r in records]).reshape(5, 9) for split in ("selection", "report")
        )
        best = 1 + x[:, 1:].argmax(axis=1)
        rows = np.arange(len(x))
        truth.append(100 * np.mean((x[rows, best] - x[:, 0]) - (y[rows, best] - y[:, 0])))
        told.append(luck_of_the_choice(records, n_resamples=50)["t"])
        residuals = (x - x.mean(axis=0)) * np.sqrt(5 / 4)
        centred.append(100 * np.mean(residuals[:, 1:].max(axis=1) - residuals[:, 0]))
    error = np.std(truth, ddof=1) / np.sqrt(sims)
    record_property("luck: true, told, centred", [np.mean(truth), np.mean(told), np.mean(centred)])
    assert np.mean(told) == pytest.approx(np.mean(truth), abs=3 * error)
    assert error < 0.35
    assert np.mean(centred) > np.mean(truth) + 4 * error  # the old way: collapsed levels competed


def test_luck_in_the_metrics_of_every_task():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 300)
    scores = rng.normal(size=300)
    for metrics, y, noisy in (
        (("accuracy", "f1"), labels, lambda: np.stack([-labels, labels], 1) + rng.normal(size=(300, 2))),
        (("mcc",), labels, lambda: np.stack([-labels, labels], 1) + rng.normal(size=(300, 2))),
        (("pearson", "spearman"), scores, lambda: scores[:, None] + rng.normal(size=(300, 1))),
    ):
        records = [record(level, seed, y, noisy(), metrics, 60) for seed in range(3) for level in LEVELS]
        assert 1 < luck_of_the_choice(records, 20)["t"] < 30  # raises if a metric were not the task's
        lacking = [r for r in records if not (r.spec.seed and r.spec.ticket.level == 0.3)]
        assert 1 < luck_of_the_choice(lacking, 20)["t"] < 30
    assert np.isnan(luck_of_the_choice(records[:2])["t"])


def test_optimism_shows_what_the_choice_promised(frame):
    row = optimism(frame).iloc[0]
    assert row["kept"] == pytest.approx(table1(frame).iloc[0]["gain"])
    assert "promised if nothing were there" not in row
    assert optimism(frame, {"entailment": 1.5}).iloc[0]["promised if nothing were there"] == 1.5
    lucky = frame.assign(selection_score=frame["selection_score"] + 0.1 * (frame["kind"] == "winning"))
    assert optimism(lucky).iloc[0]["promised"] == pytest.approx(row["promised"] + 10)
    few = frame.query("seed < 2")
    two = pd.concat([frame, few.assign(encoder="other", report_score=few["report_score"] / 2)])
    kept = 4 * row["kept"] + 2 * optimism(few).iloc[0]["kept"] / 2
    assert optimism(two).iloc[0]["kept"] == pytest.approx(kept / 6)  # each against its own full model
